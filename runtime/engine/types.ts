/** The engine as its users (server, CLI, benchmarks, tests) see it. */
import type { BuiltPolicy } from '../../codegen/plan/types.ts';
import type { LoadedModel } from '../model/types.ts';
import type { StepError } from '../native/index.ts';
import { type ApiAnswer, UserError } from '../../toolchain/errors.ts';

export interface EngineOptions {
  model: LoadedModel;
  /** the first is the default of requests that name none */
  policies: BuiltPolicy[];
  /** keep this fraction of a sequence's length instead of each policy's budget (--sparse-kv-cache-ratio) */
  ratio?: number;
  kvType?: 'bf16' | 'f32';
  /** path of the library that runs the model, of the target that policies were built for; default: the CPU's */
  backend?: string;
  /** where pages lie and attention runs: with the model, or in this machine's memory, on threads beside it; default: as policies say, else 'device' */
  place?: 'device' | 'host';
  /** what quantised weights are multiplied with; default int8. f32 is many times slower, and what int8 is judged by */
  activations?: 'int8' | 'f32';
  /** bytes of the pool; default: a quarter of the memory that is free here, at most what maxSeqs full sequences need */
  kvCacheBytes?: number;
  /** with a backend and without kvCacheBytes: of what its device has free beside weights and scratch; default 0.9 */
  poolFraction?: number;
  /** most tokens in one step (--max-num-batched-tokens) */
  maxBatchedTokens?: number;
  /** most running sequences (--max-num-seqs) */
  maxSeqs?: number;
  /** most logical tokens of a request; default the model's */
  maxModelLen?: number;
  prefixCache?: boolean;
  /** default: one per physical core, within the control group's quota */
  threads?: number;
  /** processors to pin to; default: physical cores first */
  cpus?: readonly number[];
  /** false: do not pin */
  pin?: boolean;
  /** told what the user should know, such as fewer threads than asked for */
  note?: (line: string) => void;
  /** audit every invariant after every step (tests) */
  check?: boolean;
  progress?: (done: number) => void;
}

export interface SamplingOptions {
  temperature?: number;
  topP?: number;
  topK?: number;
  minP?: number;
  repetitionPenalty?: number;
  presencePenalty?: number;
  frequencyPenalty?: number;
  logitBias?: ReadonlyMap<number, number>;
  seed?: number;
  /** alternatives per token, 0 … 20; undefined: no log-probabilities */
  logprobs?: number;
}

/**
 * Which tokens may be drawn next, of one request: it is told every token that is drawn, and answers when it knows. It may
 * answer later than the next step begins; then its sequence sits that step out, and others go on.
 */
export interface LogitMask {
  /** settles when `allowed` is right for the tokens accepted so far; undefined: it is */
  readonly pending: Promise<void> | undefined;
  /** [vocabulary / 32, rounded up] bits, 1 may be drawn, stop tokens included where the text may end; undefined: every token */
  readonly allowed: Int32Array | undefined;
  /** nothing but the end can follow: generation stops without drawing it */
  readonly complete: boolean;
  /** why it will never know again */
  readonly failure: Error | undefined;
  accept(token: number): void;
  /** The sequence has ended. */
  close(): void;
}

export interface GenerateRequest {
  /** by which it is looked at; of several with one name, the first that runs */
  name?: string;
  prompt: ArrayLike<number>;
  maxTokens: number;
  minTokens?: number;
  sampling?: SamplingOptions;
  /** tokens that end generation; they are reported, and are not part of the text */
  stopTokens?: readonly number[];
  /** what may be drawn at each position; the engine closes it when the request has ended, even one that never began */
  mask?: LogitMask;
  /** no other tokens are drawn, stop tokens included */
  allowedTokens?: readonly number[];
  /** sequences of tokens that are not generated */
  badWords?: readonly ArrayLike<number>[];
  /** lower runs first; equal: arrival order */
  priority?: number;
  policy?: string;
  /** declared parameters of the policy by name, checked against their ranges */
  params?: Readonly<Record<string, number>>;
  /** keep this fraction of the sequence's length instead of the policy's budget; default the engine's */
  ratio?: number;
  /** these tokens are fed instead of sampled ones, and their log-probabilities reported (teacher forcing) */
  forced?: ArrayLike<number>;
  /** call back after every compaction with what was kept (skv trace); `state` reads during the call alone */
  onCompaction?: (event: CompactionEvent, state: ReadState) => void;
  /** call back with the raw logits [vocab] of every token that is drawn or fed, before penalties */
  onLogits?: (logits: Float32Array) => void;
}

export interface CompactionEvent {
  /** logical length when it happened */
  at: number;
  /** [layer][kv_head] ascending logical positions */
  kept: number[][][];
  /** the policy's parameters as its expressions read them then */
  params: Readonly<Record<string, number>>;
  /** [layer][kv_head] of a policy with a profile: the rule that the head took; '' where the model's layer has a window */
  rules?: string[][];
}

/** A rule of a profile, and how many heads took it, once for each request. */
export interface RuleCount {
  readonly rule: string;
  heads: number;
}

/** A state of a head's slots that stayed, in slot order. */
export type ReadState = (layer: number, head: number, name: string) => Float32Array;

/** One head: its positions in bins of equal width. */
export interface HeadView {
  readonly slots: number;
  /** [bin] slots that it holds there */
  readonly kept: number[];
  /** [state][bin] the largest value of a slot there; 0 where none is kept */
  readonly states: number[][];
}

/** What one request holds: small enough to send several times a second, whatever its length. */
export interface CacheView {
  readonly policy: string;
  readonly prompt: number;
  /** logical tokens so far */
  readonly length: number;
  readonly compactions: number;
  /** positions of a bin */
  readonly width: number;
  /** names of the policy's states */
  readonly states: readonly string[];
  /** [layer][kv_head] */
  readonly heads: readonly (readonly HeadView[])[];
}

/** A request of an engine as a list shows it. */
export interface RequestView {
  readonly policy: string;
  readonly running: boolean;
  readonly prompt: number;
  /** tokens that have been computed, of the prompt and generated */
  readonly computed: number;
  readonly generated: number;
  readonly pages: number;
  readonly compactions: number;
}

export interface TokenEvent {
  token: number;
  logprob?: number;
  alternatives?: { token: number; logprob: number }[];
}

export type FinishReason = 'stop' | 'length' | 'abort' | 'error';

export interface Finished {
  reason: FinishReason;
  /** the stop token, when one ended it */
  stopToken?: number;
  error?: Error;
  promptTokens: number;
  generatedTokens: number;
  cachedTokens: number;
  /** seconds from submission until it first ran, or ended without */
  queueSeconds: number;
  preemptions: number;
  compactions: number;
  /** seconds since submission */
  firstTokenSeconds?: number;
  totalSeconds: number;
  /** most and last bytes of KV pages held */
  peakCacheBytes: number;
  cacheBytes: number;
}

export interface Generation extends AsyncIterable<TokenEvent> {
  readonly id: number;
  /** when it first runs, or ends without */
  readonly admitted: Promise<void>;
  readonly finished: Promise<Finished>;
  /** Frees the pages in the next step. Safe to call twice. `reason`: how it counts as finished; default 'abort'. */
  abort(reason?: 'stop' | 'abort'): void;
}

export interface EngineStats {
  running: number;
  waiting: number;
  pagesTotal: number;
  pagesUsed: number;
  /** pages held by the prefix cache alone */
  pagesCached: number;
  pageBytes: number;
  preemptions: number;
  prefixQueries: number;
  prefixHits: number;
  promptTokens: number;
  generatedTokens: number;
  steps: number;
  /** seconds inside native steps, and between one's end and the next one's start while there was work */
  nativeSeconds: number;
  betweenSeconds: number;
  policies: {
    name: string;
    requests: number;
    compactions: number;
    slotsEvicted: number;
    slotsSeen: number;
    /** of a policy with a profile, from the cheapest rule to everything */
    profile?: readonly RuleCount[];
  }[];
}

export interface EngineApi {
  readonly model: LoadedModel;
  readonly policies: readonly BuiltPolicy[];
  readonly maxModelLen: number;
  /** full pages of prompts are kept for later requests */
  readonly prefixCaching: boolean;
  /** why it has stopped for good: a step failed, and every request fails from now on */
  readonly broken?: EngineStopped;
  /** Throws RequestError at once for a request that can never run. */
  submit(request: GenerateRequest): Generation;
  /** Compiled policy added while running (per-request policies by name must be known). */
  addPolicy(policy: BuiltPolicy): void;
  stats(): EngineStats;
  /** What a running request of this name holds now; undefined where none has begun. */
  look(name: string): Promise<CacheView | undefined>;
  /** Running requests, then waiting ones. */
  requests(): RequestView[];
  /** Events for metrics: called synchronously, must not throw. */
  onStep?: (step: { seconds: number; tokens: number; running: number }) => void;
  onFinish?: (finished: Finished) => void;
  /** Called once, when it has broken and every request has ended with the error. */
  onBroken?: (error: EngineStopped) => void;
  /** Stops admitting, lets running requests end (or aborts them), frees native memory. */
  close(options?: { drain?: boolean }): Promise<void>;
}

/** A request that cannot be served: the caller's mistake, with the field at fault. */
export class RequestError extends UserError {
  override name = 'RequestError';
  override readonly api: ApiAnswer;

  constructor(message: string, param?: string, code: RequestCode = 'invalid_value') {
    super(message);
    this.api = { status: 400, code, param };
  }
}

/** A device that an engine cannot be opened on, in its backend's words. */
export class DeviceError extends UserError {
  override name = 'DeviceError';
}

type RequestCode = 'invalid_value' | 'context_length_exceeded';

/** A request that came after the engine began to close. */
export class ShuttingDown extends UserError {
  override name = 'ShuttingDown';
  override readonly api = { status: 503, code: 'service_unavailable' };

  constructor() {
    super('The engine is shutting down.');
  }
}

/** The engine broke in a step and serves nothing any more; the cause is the native error. */
export class EngineStopped extends Error {
  override name = 'EngineStopped';
  /** the device answers nothing any more, to this process: another one may start again */
  readonly lost: boolean;

  constructor(cause: Error & Partial<StepError>) {
    super(`The engine has stopped: ${cause.message}`, { cause });
    this.lost = cause.lost === true;
  }
}
