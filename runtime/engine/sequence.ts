/** One request while it waits, runs, or has been preempted. */
import { MAX_PARAMS } from '../contract/records.ts';
import type { Drawable } from './drawable.ts';
import type { GenerationQueue } from './generation.ts';
import type { Rules } from './rules.ts';
import type { GenerateRequest } from './types.ts';

/** What a sequence's tables come to. */
export interface Extent {
  /** pages of all heads */
  pages: number;
  /** slots that fit into the pages of every head, those in `appended` taken off */
  room: number;
  /** slots that every head has got since its length was last looked at */
  appended: number;
  /** [layer] live slots of its heads when their lengths were last looked at; of layers without a window */
  readonly live: Int32Array;
}

export class Sequence {
  /** tokens known so far: prompt, then generated (or forced) ones */
  tokens: Int32Array;
  known: number;
  readonly prompt: number;
  /** logical tokens whose keys and values have been computed */
  computed = 0;
  /** row of the shared tables, -1 while not running */
  slot = -1;
  /** pages in the table of each (layer, KV head) */
  readonly held: Int32Array;
  /** pages that have left each of them at the front: window layers' */
  readonly gone: Int32Array;
  /** of all its tables, kept by BlockTables: a step must not go through every head again */
  readonly extent: Extent;
  /** leading pages of each head that may be shared or hashed: they are copied before they are written; window layers' never are */
  shared = 0;
  /** pages of this sequence that stand in the prefix cache, and the hash of the last */
  registered = 0;
  lastHash = '';
  /** its pages may be shared: no compaction has moved slots, no query has written states, so slot index = position */
  cacheable = true;
  /** how it counts when its owner ends it */
  aborted?: 'stop' | 'abort';
  generated = 0;
  preemptions = 0;
  compactions = 0;
  cachedTokens = 0;
  peakPages = 0;
  admittedAt?: number;
  firstTokenAt?: number;
  readonly submittedAt = performance.now();
  readonly stops: ReadonlySet<number>;
  /** [n]: tokens of protected classes among the first n, up to `summed` */
  private sums = new Int32Array(1);
  private summed = 0;
  /** the request's seed, of draws and of slot.random: low and high 32 bits */
  readonly seed: readonly [number, number];

  constructor(
    readonly id: number,
    readonly request: GenerateRequest,
    readonly policy: number,
    readonly rules: Rules,
    /** layers, and KV heads of each */
    { layers, kvHeads }: { layers: number; kvHeads: number },
    readonly out: GenerationQueue,
    /** [vocabulary] class bits of tokens, where the window protects classes and the budget does not count them */
    private readonly classes?: Uint8Array,
    /** what it may draw, where that is not every token */
    readonly drawable?: Drawable,
  ) {
    this.prompt = request.prompt.length;
    const forced = request.forced ?? [];
    this.tokens = new Int32Array(this.prompt + Math.max(forced.length, 64));
    this.tokens.set(request.prompt);
    this.tokens.set(forced, this.prompt);
    this.known = this.prompt + forced.length;
    this.held = new Int32Array(layers * kvHeads);
    this.gone = new Int32Array(layers * kvHeads);
    this.extent = { pages: 0, room: 0, appended: 0, live: new Int32Array(layers) };
    this.stops = new Set(request.stopTokens ?? []);
    const seed = BigInt.asUintN(64, BigInt(Math.trunc(request.sampling?.seed ?? id)));
    this.seed = [Number(BigInt.asIntN(32, seed)), Number(BigInt.asIntN(32, seed >> 32n))];
    if (rules.plan.params.length > MAX_PARAMS) throw new Error('too many parameters');
  }

  /** Slots of each layer to keep at a logical length, protected ones included. */
  budgets(length: number, out: Int32Array): void {
    this.rules.budgets(length, out, this.rules.besides ? this.protects(length) : 0);
  }

  /** Slots of a head that the window protects at a logical length. */
  protects(length: number): number {
    const { rules, prompt } = this;
    if (!this.classes) return rules.protects(prompt, length);
    const { head, tail } = rules.bounds(prompt, length);
    return head + this.classed(tail) - this.classed(head) + length - tail;
  }

  /** Tokens of protected classes among the first n. */
  private classed(n: number): number {
    if (this.sums.length <= n) {
      const larger = new Int32Array(this.tokens.length + 1);
      larger.set(this.sums);
      this.sums = larger;
    }
    for (; this.summed < n; this.summed++) {
      const counts = (this.classes![this.tokens[this.summed]] & this.rules.classBits) !== 0;
      this.sums[this.summed + 1] = this.sums[this.summed] + (counts ? 1 : 0);
    }
    return this.sums[n];
  }

  get priority(): number {
    return this.request.priority ?? 0;
  }

  /** What it may draw next is not known yet. */
  get late(): boolean {
    return this.drawable !== undefined && !this.drawable.known;
  }

  get forced(): boolean {
    return this.request.forced !== undefined;
  }

  /** Fed tokens are all known ones; the next is to be sampled. */
  get isDecoding(): boolean {
    return this.known - this.computed === 1 && this.computed >= this.prompt;
  }

  push(token: number): void {
    if (this.known === this.tokens.length) {
      const larger = new Int32Array(this.tokens.length * 2);
      larger.set(this.tokens);
      this.tokens = larger;
    }
    this.tokens[this.known++] = token;
  }

  /** Back to the start, to be computed again. */
  reset(): void {
    this.computed = 0;
    this.held.fill(0);
    this.gone.fill(0);
    this.shared = 0;
    this.registered = 0;
    this.lastHash = '';
    this.cacheable = true;
  }
}
