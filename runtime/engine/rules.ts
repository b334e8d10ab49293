/** What a plan means for one sequence: its parameters, budgets, window, and when it compacts. */
import type { Size } from '../../codegen/ir/nodes.ts';
import type { Plan } from '../../codegen/plan/types.ts';
import { PAGE } from '../contract/records.ts';
import { RequestError } from './types.ts';

/** A size with its parameter's value in place: slots, or a fraction of the logical length. */
interface Amount {
  readonly value: number;
  readonly fraction: boolean;
}

/** A fraction is one slot at least. */
const amountAt = ({ value, fraction }: Amount, length: number): number =>
  fraction ? Math.max(1, Math.round(value * length)) : value;

export class Rules {
  /** [declared parameters] values of this request */
  readonly params: Float32Array;
  readonly evicts: boolean;
  private readonly observes?: Amount;
  private readonly keeps?: Amount;
  private readonly first: Amount;
  private readonly last: Amount;
  private readonly values = new Map<string, number>();
  private readonly chunk: number;
  private slack: number;
  private readonly endOnly: boolean;
  private everyN = 0;

  /** Throws RequestError for unknown parameters and values outside their range. */
  constructor(
    readonly plan: Plan,
    given: Readonly<Record<string, number>>,
    private readonly ratio: number | undefined,
    private readonly layers: number,
  ) {
    for (const name of Object.keys(given))
      if (!plan.params.some((param) => param.name === name))
        throw new RequestError(
          `${plan.name} has no parameter ${name}; it has ${plan.params.map((param) => param.name).join(', ') || 'none'}.`,
          name,
        );
    for (const { name, kind, default: fallback, min, max } of plan.params) {
      const value = given[name] ?? fallback;
      if (
        typeof value !== 'number' ||
        !(value >= min && value <= max) ||
        (kind === 'tokens' && !Number.isInteger(value))
      )
        throw new RequestError(
          `${name} must be ${kind === 'tokens' ? 'a whole number' : 'a number'} from ${min} to ${max}; it is ${value}.`,
          name,
        );
      this.values.set(name, value);
    }
    this.params = Float32Array.from(plan.params, (param) => this.values.get(param.name)!);
    this.evicts = plan.keep.kind !== 'all';
    this.keeps = 'budget' in plan.keep ? this.amount(plan.keep.budget) : undefined;
    this.first = this.amount(plan.window.first);
    this.last = this.amount(plan.window.last);
    const { prompt } = plan.observe;
    this.observes = typeof prompt === 'object' ? this.amount(prompt.last) : undefined;
    const trigger = <K extends string>(kind: K) =>
      plan.when.find((each) => each.kind === kind) as Extract<Plan['when'][number], { kind: K }> | undefined;
    this.chunk = trigger('promptChunk')?.n ?? 0;
    this.slack = trigger('over')?.slack ?? -1;
    this.endOnly = trigger('promptEnd') !== undefined;
    const every = trigger('every');
    if (every) this.everyN = every.n === 'auto' ? -1 : every.n;
    if (plan.keep.kind === 'above' && this.slack >= 0) {
      // a threshold has no budget to be over: it is asked once so many tokens have come
      this.everyN = this.everyN > 0 ? Math.min(this.everyN, this.slack + 1) : this.slack + 1;
      this.slack = -1;
    }
    const { first, last } = this.window(1 << 20);
    const budget = this.budget(1 << 20);
    if (this.evicts && ratio === undefined && this.keeps && first + last > budget)
      throw new RequestError(
        `The window of ${first + last} slots (${first} first, ${last} last) exceeds the budget of ${budget}. Ask for a budget of at least ${first + last}, or for a window of at most ${budget}.`,
        'budget',
      );
  }

  private amount(size: Size): Amount {
    if ('tokens' in size) return { value: size.tokens, fraction: false };
    const { kind } = this.plan.params.find((param) => param.name === size.param)!;
    return { value: this.values.get(size.param)!, fraction: kind === 'fraction' };
  }

  /** How many of a prompt's last queries are observed; 0 unless the policy says { last: w }. */
  observeLast(prompt: number): number {
    return this.observes ? amountAt(this.observes, prompt) : 0;
  }

  /** Slots of one KV head to keep at a logical length, protected ones included, before layers are shaped. */
  budget(length: number): number {
    if (!this.keeps) return length;
    return this.ratio === undefined ? amountAt(this.keeps, length) : Math.max(1, Math.round(this.ratio * length));
  }

  /** Protected slots; with a ratio the recent ones take at most half of the budget. */
  window(length: number): { first: number; last: number } {
    const first = amountAt(this.first, length);
    const last = amountAt(this.last, length);
    return { first, last: this.ratio === undefined ? last : Math.min(last, Math.floor(this.budget(length) / 2)) };
  }

  /** Budgets by layer at a logical length. PyramidKV: an arithmetic progression around the budget. */
  budgets(length: number, out: Int32Array): void {
    const budget = this.budget(length);
    const shape = this.plan.layers;
    if (shape.kind === 'table')
      for (let l = 0; l < this.layers; l++) out[l] = Math.max(1, Math.round(budget * (shape.factors[l] ?? 1)));
    else if (shape.kind === 'uniform' || this.layers === 1 || length <= budget) out.fill(budget, 0, this.layers);
    else {
      const { first, last } = this.window(length);
      const window = Math.min(first + last, length);
      const capacity = Math.max(0, budget - window);
      let low = Math.floor(capacity / shape.beta);
      let high = 2 * capacity - low;
      if (high >= length - window) {
        high = length - window;
        low = 2 * capacity - high;
      }
      const step = Math.floor((high - low) / (this.layers - 1));
      for (let l = 0; l < this.layers; l++) out[l] = window + high - l * step;
    }
  }

  /** n of every(n); 'auto' makes each compaction keep the ratio of what is live. */
  private everyAt(length: number): number {
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

  /** Most tokens that may follow `length` without passing a possible compaction. `over`: as in compacts, now. */
  until(length: number, prompt: number, over: number): number {
    if (length < prompt)
      return Math.min(prompt - length, this.chunk ? this.chunk - (length % this.chunk) : Number.POSITIVE_INFINITY);
    let tokens = Number.POSITIVE_INFINITY;
    if (!this.evicts) return tokens;
    if (this.slack >= 0) tokens = Math.max(1, Math.floor(this.slack + 1 - over)); // a mean over heads may be no whole number
    if (this.everyN !== 0) {
      const n = this.everyAt(length);
      tokens = Math.min(tokens, n - ((length - prompt) % n));
    }
    return tokens;
  }

  /** Whether what is held stays below a bound while tokens are generated, however many. */
  get bounded(): boolean {
    return isBounded(this.plan);
  }

  /** Whether the prompt's own cache stays bounded while it is read. */
  get boundedPrompt(): boolean {
    return this.bounded && this.chunk > 0;
  }

  /** Most slots of a head, on average over a layer's heads: while the prompt is read, and until `length` tokens are known. */
  peaks(prompt: number, length: number): { prompt: number; decode: number } {
    if (!this.evicts || this.plan.keep.kind === 'above') return { prompt, decode: length };
    const { first, last } = this.window(length);
    const { layers } = this.plan;
    const largest = layers.kind === 'table' ? Math.max(1, ...layers.factors) : layers.kind === 'pyramid' ? 2 : 1;
    const most = Math.ceil(largest * Math.max(this.budget(length), first + last));
    const extra = this.bounded
      ? Math.max(1, this.slack >= 0 ? this.slack + 1 : 0, this.everyN !== 0 ? this.everyAt(length) : 0)
      : length - prompt;
    return {
      prompt: this.boundedPrompt ? Math.min(prompt, most + this.chunk) : prompt,
      decode: Math.min(length, most + extra),
    };
  }
}

/** Whether a policy evicts while tokens are generated, to a number of slots. */
export const isBounded = ({ keep, when }: Pick<Plan, 'keep' | 'when'>): boolean =>
  keep.kind !== 'all' && keep.kind !== 'above' && when.some(({ kind }) => kind === 'over' || kind === 'every');

export const pagesFor = (slots: number): number => Math.ceil(slots / PAGE);
