/** How many slots a policy means for one sequence: its parameters, budget and window at a logical length. */
import type { Count, Size } from '../../codegen/ir/nodes.ts';
import { compactsLater } from '../../codegen/plan/advice.ts';
import type { Plan } from '../../codegen/plan/types.ts';
import { KEEP_ALL, TokenClass } from '../contract/records.ts';
import { checkRatio, valuesOf } from './params.ts';
import { RequestError } from './types.ts';

/** A size with its parameter's value in place: slots, or a fraction of the logical length. */
interface Amount {
  readonly value: number;
  readonly fraction: boolean;
  /** the parameter that says it */
  readonly param?: string;
}

/** A fraction is one slot at least. */
const amountAt = ({ value, fraction }: Amount, length: number): number =>
  fraction ? Math.max(1, Math.round(value * length)) : value;

/** A length that no sequence has: where fractions are larger than any number of tokens. */
const LONG = 1 << 20;

/** What of a model a policy's tables must fit. */
export interface TableShape {
  readonly layers: number;
  readonly kvHeads: number;
}

/** Throws RequestError when a policy's tables of constants are for another model. */
export function checkTables(plan: Plan, has: TableShape): void {
  checkLayers(plan, has.layers);
  for (const { name, layers, heads } of plan.tables ?? [])
    if (layers !== has.layers || (heads && heads !== has.kvHeads))
      throw new RequestError(
        `${plan.name}: ${name} is for ${layers} layers${heads ? ` of ${heads} KV heads` : ''}, the model has ${has.layers} layers of ${has.kvHeads}. Make a table for this model: skv table ${plan.name} --help.`,
        'policy',
      );
}

/** Throws RequestError when a policy's table of factors is for another number of layers than the model has. */
export function checkLayers({ name, layers }: Plan, has: number): void {
  if (layers.kind === 'table' && layers.factors.length !== has)
    throw new RequestError(
      `${name} has factors for ${layers.factors.length} layers, the model has ${has} layers: its table needs a factor for each.`,
      'policy',
    );
}

export class Budgets {
  /** The policy has a budget, and it counts the slots besides the protected ones. */
  readonly besides: boolean;
  private readonly values: ReadonlyMap<string, number>;
  private readonly observes?: Amount;
  private readonly keeps?: Amount;
  private readonly first: Amount;
  private readonly last: Amount;
  /** [declared parameters] as expressions read them; `params` keeps it current */
  private readonly read: Float32Array;
  /** layers that the policy thins: those without a window of their own */
  readonly layers: readonly number[];

  /**
   * `ratio` stands in for the budget; `windows` has the model's windows by layer, 0 where there is none. Throws RequestError
   * for what the policy, or a model of so many layers, cannot do.
   */
  constructor(
    readonly plan: Plan,
    given: Readonly<Record<string, number>>,
    protected readonly ratio: number | undefined,
    readonly windows: readonly number[],
  ) {
    checkRatio(plan, given, ratio);
    checkLayers(plan, windows.length);
    this.layers = windows.flatMap((window, layer) => (window ? [] : [layer]));
    this.values = valuesOf(plan, given);
    this.read = Float32Array.from(plan.params, (param) => this.values.get(param.name)!);
    this.keeps = 'budget' in plan.keep ? this.amount(plan.keep.budget) : undefined;
    this.besides = 'budget' in plan.keep && plan.keep.besides !== undefined;
    this.first = this.amount(plan.window.first);
    this.last = this.amount(plan.window.last);
    const { prompt } = plan.observe;
    this.observes = typeof prompt === 'object' ? this.amount(prompt.last) : undefined;
    const { first, last } = this.window(LONG);
    const budget = this.budget(LONG);
    this.checkBudget(budget);
    if (this.keeps && ratio === undefined && !this.besides && first + last > budget)
      throw new RequestError(
        `The window of ${first + last} slots (${first} first, ${last} last) exceeds the budget of ${budget}. Ask for a budget of at least ${first + last}, or for a window of at most ${budget}.`,
        this.keeps.param ?? 'budget',
      );
  }

  /** A budget, as the request has it, that keeps something. */
  private checkBudget(budget: number): void {
    const { keep, name } = this.plan;
    if (!this.keeps || this.ratio !== undefined) return;
    const param = this.keeps.param ?? 'budget';
    if (budget < 1 && !this.besides)
      throw new RequestError(`${name}: a budget of ${budget} keeps nothing. Ask for a budget of at least 1.`, param);
    if (keep.kind === 'chunks' && budget < keep.size)
      throw new RequestError(
        `${name} keeps whole chunks of ${keep.size} positions, and none fits into a budget of ${budget}. Ask for a budget of at least ${keep.size}.`,
        param,
      );
  }

  private amount(size: Size): Amount {
    if ('tokens' in size) return { value: size.tokens, fraction: false };
    const { kind } = this.plan.params.find((param) => param.name === size.param)!;
    return { value: this.values.get(size.param)!, fraction: kind === 'fraction', param: size.param };
  }

  /** A number of tokens that a trigger gives or names. */
  protected count(n: Count): number {
    return typeof n === 'number' ? n : this.values.get(n.param)!;
  }

  /** How many of a prompt's last queries are observed; 0 unless the policy says { last: w }. */
  observeLast(prompt: number): number {
    return this.observes ? amountAt(this.observes, prompt) : 0;
  }

  /** The budget of one KV head at a logical length, before layers are shaped; the length itself where there is none. */
  budget(length: number): number {
    if (!this.keeps) return length;
    return this.ratio === undefined ? amountAt(this.keeps, length) : Math.max(1, Math.round(this.ratio * length));
  }

  /** Protected slots; with a ratio the recent ones take at most half of a budget that counts them. */
  window(length: number): { first: number; last: number } {
    const first = amountAt(this.first, length);
    const last = amountAt(this.last, length);
    const cut = this.ratio !== undefined && !this.besides;
    return { first, last: cut ? Math.min(last, Math.floor(this.budget(length) / 2)) : last };
  }

  /** The window as positions: those before `head` are protected, and those from `tail` on. */
  bounds(prompt: number, length: number): { head: number; tail: number } {
    const { first, last } = this.window(length);
    const head = Math.min(length, this.plan.window.prompt ? Math.max(first, prompt) : first);
    return { head, tail: Math.max(head, length - last) };
  }

  /** Slots that the window protects at a logical length, those of token classes left out. */
  protects(prompt: number, length: number): number {
    const { head, tail } = this.bounds(prompt, length);
    return head + length - tail;
  }

  /** Slots that each rule of a profile keeps besides the window and token classes; everything has no number. */
  ruleSlots(length: number): number[] {
    if (this.plan.keep.kind !== 'profile') return [];
    const slots = (size: Size) => amountAt(this.amount(size), length);
    return this.plan.keep.rules.map(({ top, last }) => Math.min(length, slots(top) + slots(last)));
  }

  /** Token classes that the window protects, as bits: how many slots they have depends on the text. */
  get classBits(): number {
    return this.plan.window.classes.reduce((bits, name) => bits | TokenClass[name], 0);
  }

  /** What to say of a request whose window, `window` slots at its prompt's end, leaves its budget nothing to choose. */
  swallowed(window: number, prompt: number, end: number): string | undefined {
    const { plan, besides } = this;
    const budget = this.budget(end);
    const asked = this.keeps && !besides && (compactsLater(plan) || !plan.window.prompt);
    if (!asked || end <= budget || window < budget) return undefined;
    return `${plan.name}: the window protects ${window} slots of a prompt of ${prompt} tokens and the budget is ${budget}, so nothing else is kept. Raise the budget, or let it count the other slots alone: topK(…, { besides: 'protected' }).`;
  }

  /**
   * Slots of one KV head to keep at a logical length by layer, protected ones included. `apart`: how many are protected,
   * where the budget counts the others alone. PyramidKV: an arithmetic progression around the budget. Layers with a window
   * keep what it shows.
   */
  budgets(length: number, out: Int32Array, apart = 0): void {
    const budget = this.budget(length);
    const { layers } = this;
    const shape = this.plan.layers;
    out.fill(KEEP_ALL, 0, this.windows.length);
    if (shape.kind === 'table')
      for (const l of layers) out[l] = apart + Math.max(1, Math.round(budget * shape.factors[l]));
    else if (shape.kind === 'uniform' || layers.length === 1 || length - apart <= budget)
      for (const l of layers) out[l] = apart + budget;
    else {
      const { first, last } = this.window(length);
      const window = this.besides ? apart : Math.min(first + last, length);
      const capacity = this.besides ? budget : Math.max(0, budget - window);
      let low = Math.floor(capacity / shape.beta);
      let high = 2 * capacity - low; // the first layer's; lower than the last's where they rise
      const most = length - window;
      if (high >= most) {
        high = most;
        low = 2 * capacity - high;
      } else if (low >= most) high = 2 * capacity - most;
      const step = Math.trunc((high - Math.min(low, most)) / (layers.length - 1));
      layers.forEach((l, i) => (out[l] = window + high - i * step));
    }
  }

  /** Whether no layer's budget falls from a logical length on: those of a progression move until no term is cut. */
  protected settled(length: number, prompt: number): boolean {
    if (this.plan.layers.kind !== 'pyramid') return true;
    const fixed = this.ratio === undefined && !this.keeps?.fraction;
    return fixed && length >= 2 * this.budget(length) + this.protects(prompt, length);
  }

  /**
   * [declared parameters] as expressions read them at a logical length. Where a ratio stands in for the budget, the
   * budget's parameter is what is kept then, and the one of the window's end what is protected; not where `observe` counts
   * queries by it as well. The array is used again.
   */
  params(length: number): Float32Array {
    if (this.ratio === undefined) return this.read;
    this.plan.params.forEach(({ name, kind }, i) => {
      if (name === this.keeps?.param) this.read[i] = kind === 'fraction' ? this.ratio! : this.budget(length);
      else if (name === this.last.param && kind === 'tokens' && name !== this.observes?.param)
        this.read[i] = this.window(length).last;
    });
    return this.read;
  }

  /** Whether `next` reads a parameter that a ratio moves with the length. */
  get moving(): boolean {
    const moves = [this.keeps?.param, this.last.param];
    return this.ratio !== undefined && (this.plan.nextParams ?? []).some((name) => moves.includes(name));
  }
}
