/** When a policy compacts one sequence, and what that bounds. */
import { compactsLater } from '../../codegen/plan/advice.ts';
import type { Plan } from '../../codegen/plan/types.ts';
import { PAGE } from '../contract/records.ts';
import { Budgets } from './budgets.ts';

export class Rules extends Budgets {
  readonly evicts: boolean;
  private readonly chunk: number;
  private readonly slack: number;
  private readonly endOnly: boolean;
  /** tokens between compactions; 0: not by their number, -1: as many as the ratio says */
  private readonly everyN: number;

  constructor(
    plan: Plan,
    given: Readonly<Record<string, number>>,
    ratio: number | undefined,
    windows: readonly number[],
  ) {
    super(plan, given, ratio, windows);
    const trigger = <K extends string>(kind: K) =>
      plan.when.find((each) => each.kind === kind) as Extract<Plan['when'][number], { kind: K }> | undefined;
    this.evicts = plan.keep.kind !== 'all' && this.layers.length > 0;
    this.chunk = this.count(trigger('promptChunk')?.n ?? 0);
    this.endOnly = trigger('promptEnd') !== undefined;
    const every = trigger('every')?.n ?? 0;
    const n = every === 'auto' ? -1 : every;
    const slack = this.count(trigger('over')?.slack ?? -1);
    // a threshold or a profile has no budget to be over: it is asked once so many tokens have come
    const counts = !('budget' in plan.keep) && slack >= 0;
    this.slack = counts ? -1 : slack;
    this.everyN = !counts ? n : n > 0 ? Math.min(n, slack + 1) : slack + 1;
  }

  /** n of every(n), 0 without it; 'auto' makes each compaction keep the ratio of what is live. */
  everyAt(length: number): number {
    if (this.everyN >= 0) return this.everyN;
    const r = this.ratio ?? 0.8;
    return Math.max(1, Math.round((this.budget(length) * (1 - r)) / r));
  }

  /** Whether to compact when the logical length becomes `length`, a layer's heads then holding `over` slots more than theirs. */
  compacts(length: number, prompt: number, over: number): boolean {
    if (!this.evicts) return false;
    if (length < prompt) return this.chunk > 0 && length % this.chunk === 0;
    if (this.slack >= 0 && over > this.slack) return true;
    if (length === prompt) return this.endOnly || this.chunk > 0 || this.everyN !== 0;
    return this.everyN !== 0 && (length - prompt) % this.everyAt(length) === 0;
  }

  /** Where the next compaction of a prompt that is being read may be. */
  private boundary(length: number, prompt: number): number {
    return this.chunk ? Math.min(prompt, Math.ceil(length / this.chunk) * this.chunk) : prompt;
  }

  /** [declared parameters] that a row reads which ends at `length`; the same however the prompt was cut. */
  paramsAt(length: number, prompt: number): Float32Array {
    return this.params(length < prompt ? this.boundary(length, prompt) : length);
  }

  /** Most tokens that may follow `length` without passing a possible compaction. `over`: as in compacts, now. */
  until(length: number, prompt: number, over: number): number {
    if (length < prompt) return this.boundary(length + 1, prompt) - length;
    if (this.moving) return 1; // each query reads the parameters of its own length
    let tokens = Number.POSITIVE_INFINITY;
    if (!this.evicts) return tokens;
    if (this.slack > 0 && !this.settled(length, prompt)) return 1; // a layer may come to be over by more than what is new
    if (this.slack >= 0) tokens = Math.max(1, Math.floor(this.slack + 1 - over)); // a mean over heads may be no whole number
    if (this.everyN !== 0) {
      const n = this.everyAt(length);
      tokens = Math.min(tokens, n - ((length - prompt) % n));
    }
    return tokens;
  }

  /** Whether what is held stays below a bound while tokens are generated, however many. */
  get bounded(): boolean {
    return this.layers.length === 0 || isBounded(this.plan);
  }

  /** Whether the prompt's own cache stays bounded while it is read. */
  get boundedPrompt(): boolean {
    return this.bounded && this.chunk > 0 && !this.plan.window.prompt;
  }

  /** Most slots of a head that come between two compactions, where its policy is bounded. */
  between(length: number): number {
    return Math.max(1, this.slack + 1, this.everyN !== 0 ? this.everyAt(length) : 0);
  }

  /** Most slots of a head of a layer without a window, on average over its heads: while the prompt is read, and until `length` tokens are known. */
  peaks(prompt: number, length: number): { prompt: number; decode: number } {
    if (!this.evicts || !('budget' in this.plan.keep) || this.classBits) return { prompt, decode: length };
    const window = this.protects(prompt, length);
    const { layers } = this.plan;
    const largest = layers.kind === 'table' ? Math.max(1, ...layers.factors) : layers.kind === 'pyramid' ? 2 : 1;
    const budget = Math.ceil(largest * this.budget(length));
    const most = this.besides ? window + budget : Math.max(window, budget);
    const extra = this.bounded ? this.between(length) : length - prompt;
    return {
      prompt: this.boundedPrompt ? Math.min(prompt, most + this.chunk) : prompt,
      decode: Math.min(length, most + extra),
    };
  }
}

/** Whether a policy evicts while tokens are generated, to a number of slots that is known beforehand. */
export const isBounded = (plan: Pick<Plan, 'keep' | 'when' | 'window'>): boolean =>
  'budget' in plan.keep && plan.window.classes.length === 0 && compactsLater(plan);

export const pagesFor = (slots: number): number => Math.ceil(slots / PAGE);
