/**
 * The hand-written types of skv.node, and the one place that loads it. `abi.h` and `backend.h` are the other half of
 * this contract: a record below has the words of the C struct of the same name, in order.
 */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { ensureNative } from './ensure.ts';

export const PAGE = 16;
export const MAX_PARAMS = 16;
export const MAX_LOGPROBS = 20;

export const KvType = { bf16: 0, f32: 1, f16: 2 } as const;
export const WeightType = { F32: 0, F16: 1, Q4_0: 2, Q4_1: 3, Q8_0: 8, BF16: 30 } as const;
export const TokenClass = { special: 1, punctuation: 2 } as const;

/** Words of `skv_row`, for `buffers.row[i * Row.words + Row.field]`. */
export const Row = {
  seq: 0,
  policy: 1,
  token0: 2,
  tokens: 3,
  pos0: 4,
  prompt: 5,
  observe0: 6,
  observe1: 7,
  observeLast: 8,
  compact: 9,
  windowFirst: 10,
  windowLast: 11,
  words: 12,
} as const;

/** Words of `skv_sampler`; the first six are f32, the rest i32 (two views of one buffer). */
export const Sampler = {
  temperature: 0,
  topP: 1,
  minP: 2,
  repetition: 3,
  presence: 4,
  frequency: 5,
  topK: 6,
  seedLo: 7,
  seedHi: 8,
  position: 9,
  history0: 10,
  history1: 11,
  generated0: 12,
  bias0: 13,
  bias1: 14,
  logprobs: 15,
  target: 16,
  source: 17,
  words: 18,
} as const;

/** Words of `skv_sampled`. */
export const Sampled = {
  token: 0,
  logprob: 1,
  alternatives: 2,
  alternativeLogprobs: 2 + MAX_LOGPROBS,
  words: 2 + 2 * MAX_LOGPROBS,
} as const;

/** Roles of tensors, as backend.h's SKV_T_…. */
export const Role = {
  embed: 0,
  outputNorm: 1,
  output: 2,
  attnNorm: 3,
  q: 4,
  k: 5,
  v: 6,
  o: 7,
  ffnNorm: 8,
  gate: 9,
  up: 10,
  down: 11,
} as const;
export type RoleName = keyof typeof Role;

/** One weight tensor of a model file. `rows` = outputs, `cols` = inputs, row-major; `offset` and `bytes` within `file`. */
export interface TensorRef {
  role: RoleName;
  layer: number;
  type: number;
  rows: number;
  cols: number;
  file: number;
  offset: number;
  bytes: number;
}

/** What the dense model needs to know; read from GGUF or safetensors by runtime/model. */
export interface ModelSpec {
  layers: number;
  width: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  ffn: number;
  vocab: number;
  normEps: number;
  ropeInterleaved: boolean;
  /** [headDim / 2], radians per position, scaling applied */
  invFreq: Float32Array;
  tensors: TensorRef[];
  files: string[];
}

export interface EngineConfig {
  backend: string;
  model: ModelSpec;
  kvType: number;
  /** pages of the pool, the null page included */
  pages: number;
  tableStride: number;
  maxSeqs: number;
  maxRows: number;
  maxTokens: number;
  maxCopies: number;
  /** paths of policy libraries; a row's `policy` indexes them */
  policies: string[];
  threads: number;
  /** processors to pin to, `threads` of them; empty: unpinned */
  cpus: number[];
}

/** Memory shared with native code for the life of an engine; shapes as in backend.h. */
export interface Buffers {
  token: Int32Array;
  position: Int32Array;
  classes: Int32Array;
  row: Int32Array;
  table: Int32Array;
  length: Int32Array;
  budget: Int32Array;
  param: Float32Array;
  sampler: Int32Array;
  samplerF: Float32Array;
  sampled: Int32Array;
  sampledF: Float32Array;
  history: Int32Array;
  biasToken: Int32Array;
  biasValue: Float32Array;
  copy: Int32Array;
}

export interface StepCounts {
  rows: number;
  tokens: number;
  samplers: number;
  copies: number;
}

export interface NativeEngine {
  readonly buffers: Buffers;
  /** Runs one step on the engine's own pinned threads; one at a time. Rejects with the native message. */
  step(counts: StepCounts): Promise<void>;
  /** Opens one more policy library; returns its index. */
  addPolicy(path: string): number;
  /** One lane of a sequence's live slots: lane 0 is the logical position. Not while a step runs. */
  readLane(seq: number, layer: number, head: number, lane: number): Int32Array;
  /** A copy of the raw logits [vocab] of draw i of the last step, which must have had at most 32 draws. */
  logits(sampler: number): Float32Array;
  describe(): {
    isa: string;
    threads: number;
    weightBytes: number;
    poolBytes: number;
    pageBytes: number;
    lanes: number;
  };
  close(): void;
}

/** Arguments of a probe of a policy library's expressions; arrays as in abi.h's skv_probe. */
export interface Probe {
  slots: number;
  headDim: number;
  layer: number;
  layers: number;
  head: number;
  heads: number;
  length: number;
  queryPos: number;
  params: Float32Array;
  pos?: Float32Array;
  seen?: Float32Array;
  attn?: Float32Array;
  classes?: Int32Array;
  keys?: Float32Array;
  values?: Float32Array;
  states?: Float32Array;
  scores: Float32Array;
}

export interface Native {
  /** Opens a backend library, loads the model and reserves the pool, off the event loop. */
  open(config: EngineConfig, progress?: (done: number) => void): Promise<NativeEngine>;
  /** What a policy library says of itself; throws with the reason when it cannot be opened or its ABI differs. */
  policyInfo(path: string): {
    name: string;
    hash: string;
    target: string;
    lanes: number;
    states: number;
    kvTypes: number;
  };
  /** Every state's `next`, once per slot, in place. */
  probeNext(path: string, probe: Probe): void;
  /** across, then score, before pool and heads. */
  probeScore(path: string, probe: Probe): void;
  /** One dense product of a backend on one instruction-set path, for tests: out[tokens][rows] = x[tokens][cols] · Wᵀ. */
  testMatmul(
    backend: string,
    isa: string,
    type: number,
    rows: number,
    cols: number,
    weights: Uint8Array,
    tokens: number,
    x: Float32Array,
  ): Float32Array;
  /** Instruction-set paths of a backend that this machine can run, best first: "avx512vnni", "avx2", "generic". */
  isas(backend: string): string[];
}

let loaded: Native | undefined;

/** Loads skv.node, building it first when it is missing or older than its sources (and saying so on stderr). */
export function native(): Native {
  loaded ??= createRequire(import.meta.url)(ensureNative()) as Native;
  return loaded;
}

/** Path of the CPU backend, built beside skv.node. */
export const cpuBackend = (): string => join(dirname(ensureNative()), 'skv_cpu.so');
