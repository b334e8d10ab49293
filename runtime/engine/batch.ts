/** Writes a schedule into the memory that native code reads, and reads what it left. */
import { type Buffers, MAX_LOGPROBS, MAX_PARAMS, Row, Sampled, Sampler, type StepCounts } from '../contract/records.ts';
import type { Scheduled } from './scheduler.ts';
import type { Sequence } from './sequence.ts';
import type { TokenEvent } from './types.ts';

/** One draw of a step: which sequence gets the token. */
export interface Draw {
  readonly sequence: Sequence;
}

export class Batch {
  readonly draws: Draw[] = [];
  private history = 0;
  private biases = 0;
  private masks = 0;
  /** the f32 words of draws and of what they came to */
  private readonly samplerFloats: Float32Array;
  private readonly sampledFloats: Float32Array;

  constructor(
    private readonly buffers: Buffers,
    private readonly layers: number,
    private readonly maxSeqs: number,
    private readonly classes: () => Uint8Array,
  ) {
    this.samplerFloats = new Float32Array(buffers.sampler.buffer);
    this.sampledFloats = new Float32Array(buffers.sampled.buffer);
  }

  /** Fills rows, tokens and samplers. Rows keep their order; a sequence draws when its last known token is fed. */
  write(rows: readonly Scheduled[], copies: number): StepCounts {
    this.draws.length = 0;
    this.history = 0;
    this.biases = 0;
    this.masks = 0;
    let tokens = 0;
    const placed = rows.map((scheduled, r) => {
      tokens += scheduled.tokens;
      return { scheduled, r, token0: tokens - scheduled.tokens };
    });
    const reads = ({ scheduled }: (typeof placed)[number]) => scheduled.sequence.request.onLogits !== undefined;
    // the logits of the first draws alone can be read afterwards
    for (const { scheduled, r, token0 } of [...placed.filter(reads), ...placed.filter((each) => !reads(each))])
      this.row(r, scheduled, token0);
    return { rows: rows.length, tokens, samplers: this.draws.length, copies };
  }

  private row(r: number, { sequence, tokens, compacts, observe }: Scheduled, token0: number): void {
    const { buffers } = this;
    const { computed, prompt, rules, slot } = sequence;
    const length = computed + tokens;
    const window = rules.window(length);
    const at = r * Row.words;
    const row = buffers.row;
    row[at + Row.seq] = slot;
    row[at + Row.policy] = sequence.policy;
    row[at + Row.token0] = token0;
    row[at + Row.tokens] = tokens;
    row[at + Row.pos0] = computed;
    row[at + Row.prompt] = prompt;
    row[at + Row.observe0] = observe[0];
    row[at + Row.observe1] = observe[1];
    row[at + Row.observeLast] = rules.observeLast(prompt);
    row[at + Row.compact] = compacts ? 1 : 0;
    row[at + Row.windowFirst] = window.first;
    row[at + Row.windowLast] = window.last;
    row[at + Row.seedLo] = sequence.seed[0];
    row[at + Row.seedHi] = sequence.seed[1];
    if (compacts) sequence.budgets(length, buffers.budget.subarray(slot * this.layers, (slot + 1) * this.layers));
    buffers.param.set(rules.paramsAt(length, prompt), slot * MAX_PARAMS);
    const classes = rules.plan.reads.classes ? this.classes() : undefined;
    for (let i = 0; i < tokens; i++) {
      const token = sequence.tokens[computed + i];
      buffers.token[token0 + i] = token;
      buffers.position[token0 + i] = computed + i;
      if (classes) buffers.classes[token0 + i] = classes[token];
      const next = computed + i + 1;
      if (next < prompt) continue;
      // forced tokens are judged wherever they are fed; sampled ones only when all known tokens have been
      if (sequence.forced && next < sequence.known && next >= prompt + sequence.generated)
        this.draw(sequence, token0 + i, next, sequence.tokens[next]);
      else if (!sequence.forced && next === sequence.known) this.draw(sequence, token0 + i, next, -1);
    }
  }

  private draw(sequence: Sequence, source: number, position: number, target: number): void {
    const { samplerFloats: floats } = this;
    const { sampler: ints } = this.buffers;
    const options = sequence.request.sampling ?? {};
    const at = this.draws.length * Sampler.words;
    floats[at + Sampler.temperature] = options.temperature ?? 0;
    floats[at + Sampler.topP] = options.topP ?? 1;
    floats[at + Sampler.minP] = options.minP ?? 0;
    floats[at + Sampler.repetition] = options.repetitionPenalty ?? 1;
    floats[at + Sampler.presence] = options.presencePenalty ?? 0;
    floats[at + Sampler.frequency] = options.frequencyPenalty ?? 0;
    ints[at + Sampler.topK] = options.topK ?? 0;
    ints[at + Sampler.seedLo] = sequence.seed[0];
    ints[at + Sampler.seedHi] = sequence.seed[1];
    ints[at + Sampler.position] = position;
    ints[at + Sampler.target] = target;
    ints[at + Sampler.source] = source;
    ints[at + Sampler.logprobs] = options.logprobs ?? (target >= 0 ? 0 : -1);
    this.penalties(sequence, at, target);
    ints[at + Sampler.bias0] = this.biases;
    if (target < 0) {
      if (options.logitBias) for (const [token, value] of options.logitBias) this.bias(token, value);
      if (sequence.generated < (sequence.request.minTokens ?? 0))
        for (const token of sequence.stops) this.bias(token, Number.NEGATIVE_INFINITY);
    }
    ints[at + Sampler.bias1] = this.biases;
    ints[at + Sampler.mask] = target < 0 ? this.mask(sequence) : -1;
    this.draws.push({ sequence });
  }

  /** Copies what a sequence may draw; -1 where that is every token. */
  private mask({ drawable }: Sequence): number {
    if (!drawable) return -1;
    this.buffers.mask.set(drawable.set, this.masks * drawable.set.length);
    return this.masks++;
  }

  private bias(token: number, value: number): void {
    this.buffers.biasToken[this.biases] = token;
    this.buffers.biasValue[this.biases++] = value;
  }

  /** Tokens so far, when a penalty counts them: the newest of them, if a sequence's part of the array does not hold all. */
  private penalties(sequence: Sequence, at: number, target: number): void {
    const { sampler: ints, history } = this.buffers;
    const { repetitionPenalty = 1, presencePenalty = 0, frequencyPenalty = 0 } = sequence.request.sampling ?? {};
    ints[at + Sampler.history0] = ints[at + Sampler.history1] = ints[at + Sampler.generated0] = this.history;
    if (target >= 0 || (repetitionPenalty === 1 && presencePenalty === 0 && frequencyPenalty === 0)) return;
    const from = Math.max(0, sequence.known - Math.floor(history.length / this.maxSeqs));
    history.set(sequence.tokens.subarray(from, sequence.known), this.history);
    ints[at + Sampler.generated0] = this.history + Math.max(0, sequence.prompt - from);
    this.history += sequence.known - from;
    ints[at + Sampler.history1] = this.history;
  }

  /** The i-th draw's token, with log-probabilities when they were asked for. */
  result(i: number): TokenEvent {
    const { sampledFloats: floats } = this;
    const { sampled: ints } = this.buffers;
    const at = i * Sampled.words;
    const { sequence } = this.draws[i];
    const wanted = sequence.request.sampling?.logprobs ?? (sequence.forced ? 0 : undefined);
    const event: TokenEvent = { token: ints[at + Sampled.token] };
    if (wanted === undefined) return event;
    event.logprob = floats[at + Sampled.logprob];
    event.alternatives = Array.from({ length: Math.min(wanted, MAX_LOGPROBS) }, (_, k) => ({
      token: ints[at + Sampled.alternatives + k],
      logprob: floats[at + Sampled.alternativeLogprobs + k],
    })).filter(({ token }) => token >= 0);
    return event;
  }
}
