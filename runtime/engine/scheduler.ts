/**
 * Which sequences run in the next step, and with how many tokens.
 *
 * One token budget a step. Running sequences come first: those that generate, then those whose prompt is under way; then
 * waiting ones are admitted by priority and arrival. Admission counts what a sequence will really hold: a policy with a
 * bound reserves its peak, so that it is not preempted; without a bound what its known tokens take, and when the pool runs
 * dry the latest such sequence is preempted, to be computed again once its tokens fit.
 */
import { KEPT_LOGITS, PAGE } from '../contract/records.ts';
import type { BlockPool } from './blocks.ts';
import type { PrefixCache } from './prefix.ts';
import { pagesFor } from './rules.ts';
import type { Sequence } from './sequence.ts';
import type { StartSchedule } from './start-schedule.ts';
import type { BlockTables } from './block-tables.ts';
import { windowPages } from './windows.ts';

export interface Scheduled {
  readonly sequence: Sequence;
  readonly tokens: number;
  /** compact at the end of the step */
  readonly compacts: boolean;
  /** observed logical positions [from, to) */
  readonly observe: readonly [number, number];
  /** slots of the policy's heads once the tokens are appended; counted when the step compacts */
  readonly slots: number;
}

export interface SchedulerLimits {
  readonly maxTokens: number;
  readonly maxSeqs: number;
  readonly kvHeads: number;
  readonly layers: number;
}

/** Tokens that a sequence may be fed before one whose logits its request reads. */
const unread = ({ request, prompt, generated, computed }: Sequence): number =>
  request.onLogits ? Math.max(0, prompt + generated - 1 - computed) : Number.POSITIVE_INFINITY;
/** Logits that are read of a row. */
const readsOf = ({ sequence, tokens }: Scheduled): number => Math.max(0, tokens - unread(sequence));

export class Scheduler {
  readonly waiting: Sequence[] = [];
  readonly running: Sequence[] = [];
  preemptions = 0;
  /** tokens that the step being scheduled may still take */
  private room = 0;
  /** logits that requests may still read of it */
  private reads = 0;
  private readonly slots: number[];
  private readonly budgets: Int32Array;

  constructor(
    private readonly limits: SchedulerLimits,
    private readonly pool: BlockPool,
    private readonly prefix: PrefixCache,
    private readonly tables: BlockTables,
    private readonly salts: readonly string[],
    /** what the prefix cache keeps: pages of prompts alone where a token drawn has other bits than the same one read */
    private readonly keeps: 'nothing' | 'prompts' | 'everything',
    /** paces who begins; none: whoever fits */
    private readonly starts?: StartSchedule,
  ) {
    this.slots = Array.from({ length: limits.maxSeqs }, (_, i) => limits.maxSeqs - 1 - i);
    this.budgets = new Int32Array(limits.layers);
  }

  /** Those that run, then those that wait. */
  get sequences(): Sequence[] {
    return [...this.running, ...this.waiting];
  }

  add(sequence: Sequence): void {
    this.insert(this.waiting, sequence);
  }

  /** By priority, then arrival. */
  private insert(list: Sequence[], sequence: Sequence): void {
    let at = list.length;
    while (
      at > 0 &&
      (list[at - 1].priority > sequence.priority ||
        (list[at - 1].priority === sequence.priority && list[at - 1].id > sequence.id))
    )
      at--;
    list.splice(at, 0, sequence);
  }

  /** Takes a sequence out wherever it is, and its pages back. */
  remove(sequence: Sequence): void {
    const waiting = this.waiting.indexOf(sequence);
    if (waiting >= 0) this.waiting.splice(waiting, 1);
    const running = this.running.indexOf(sequence);
    if (running < 0) return;
    this.running.splice(running, 1);
    this.release(sequence);
    this.starts?.end(sequence.generated);
  }

  private release(sequence: Sequence): void {
    this.tables.free(sequence);
    this.slots.push(sequence.slot);
    sequence.slot = -1;
  }

  /** Most pages a sequence will hold: to its end where its policy has a bound, else for the tokens that are known. */
  private reserve(sequence: Sequence): number {
    const { known, prompt, request, rules } = sequence;
    const length = rules.bounded ? Math.max(known, prompt + request.maxTokens) : known;
    return Math.max(
      sequence.extent.pages,
      this.pages(sequence, length, sequence.computed < prompt, known - sequence.computed),
    );
  }

  /** Pages a sequence needs when nothing else runs; more than the pool means that it can never run. */
  peak(sequence: Sequence): number {
    const length = sequence.prompt + sequence.request.maxTokens;
    return this.pages(sequence, length, true, length);
  }

  /** Most pages until `length` tokens are known; `reading`: the prompt is still to be read; `most` tokens may be fed at once. */
  private pages({ rules, prompt }: Sequence, length: number, reading: boolean, most: number): number {
    const { kvHeads, maxTokens } = this.limits;
    const chunk = Math.max(1, Math.min(maxTokens, most));
    const peaks = rules.peaks(prompt, length);
    // ragged heads share a layer's slots, each with a last page of its own
    const slack = rules.plan.heads.kind === 'pooled' ? 1 : 0;
    const own = Math.max(reading ? pagesFor(peaks.prompt) : 0, pagesFor(peaks.decode) + slack);
    const pages = rules.windows.reduce((sum, window) => sum + (window ? windowPages(window, length, chunk) : own), 0);
    return pages * kvHeads;
  }

  /** Chooses the rows of the next step and allocates their pages. Sequences it had to preempt wait again. */
  schedule(): Scheduled[] {
    this.tables.copies = 0;
    const chosen: Scheduled[] = [];
    this.room = this.limits.maxTokens;
    this.reads = KEPT_LOGITS;
    this.starts?.tick();
    const { preemptions } = this;
    const decoding = this.running.filter((sequence) => sequence.isDecoding && !sequence.late);
    const reading = this.running.filter((sequence) => !sequence.isDecoding);
    for (const sequence of [...decoding, ...reading]) {
      if (this.room === 0) break;
      if (sequence.slot < 0) continue; // preempted a moment ago
      const row = this.scheduleRow(sequence, chosen);
      if (!row) continue;
      this.take(row, chosen);
    }
    // what was preempted does not come back at once: it would take the pages it has just given
    if (this.waiting.length === 0 || this.preemptions > preemptions) return chosen;
    if (this.room === 0 || this.running.length === this.limits.maxSeqs) return chosen;
    let reserved = this.running.reduce((sum, sequence) => sum + this.reserve(sequence), 0);
    while (this.room > 0 && this.running.length < this.limits.maxSeqs) {
      const sequence = this.waiting.find((each) => !each.late);
      if (!sequence || this.starts?.allows(this.running.length, this.waiting.length) === false) break;
      const need = this.reserve(sequence);
      if (this.running.length > 0 && reserved + need > this.pool.pages - 1) break;
      this.waiting.splice(this.waiting.indexOf(sequence), 1);
      this.admit(sequence);
      const row = this.scheduleRow(sequence, chosen, false);
      if (!row) {
        this.running.splice(this.running.indexOf(sequence), 1);
        this.release(sequence);
        sequence.reset();
        this.insert(this.waiting, sequence);
        break;
      }
      reserved += need;
      this.starts?.begin(sequence.request.maxTokens - sequence.generated);
      this.take(row, chosen);
    }
    return chosen;
  }

  private take(row: Scheduled, chosen: Scheduled[]): void {
    chosen.push(row);
    this.room -= row.tokens;
    this.reads -= readsOf(row);
  }

  private giveBack(row: Scheduled): void {
    this.room += row.tokens;
    this.reads += readsOf(row);
  }

  private admit(sequence: Sequence): void {
    sequence.slot = this.slots.pop()!;
    sequence.admittedAt ??= performance.now();
    sequence.out.admit();
    this.insert(this.running, sequence);
    if (this.keeps === 'nothing' || !sequence.rules.plan.shareable) return;
    // the last token is always computed, and so are the prompt's observed queries
    const most = Math.floor(
      Math.max(0, sequence.prompt - Math.max(1, sequence.rules.observeLast(sequence.prompt))) / PAGE,
    );
    const hashes = this.prefix.hashes(this.salts[sequence.policy], sequence.tokens, 0, '', most);
    const blocks = this.prefix.lookUp(hashes);
    if (blocks.length === 0) return;
    this.tables.adopt(sequence, blocks);
    sequence.computed = blocks.length * PAGE;
    sequence.cachedTokens = sequence.preemptions === 0 ? sequence.computed : sequence.cachedTokens;
    sequence.registered = blocks.length;
    sequence.lastHash = hashes[blocks.length - 1];
  }

  /** Cuts a sequence's next tokens at its next possible compaction and allocates their pages, preempting later sequences if it must. */
  private scheduleRow(sequence: Sequence, chosen: Scheduled[], mayPreempt = true): Scheduled | undefined {
    const { rules, computed, prompt } = sequence;
    const until = rules.until(computed, prompt, this.overBudget(sequence, computed, 0));
    let tokens = Math.min(this.room, sequence.known - computed, until, unread(sequence) + this.reads);
    if (tokens <= 0) return undefined;
    const length = computed + tokens;
    const compacts = rules.compacts(length, prompt, this.overBudget(sequence, length, tokens));
    const observe = this.observed(sequence, computed, length);
    const writes =
      observe[1] > observe[0] ? 0 : compacts ? Math.floor(rules.window(length).first / PAGE) : Number.POSITIVE_INFINITY;
    while (
      !this.tables.extend(sequence, tokens) ||
      (writes < sequence.shared && !this.tables.makeWritable(sequence, writes))
    ) {
      const victim = mayPreempt ? this.victimOf(sequence) : undefined;
      if (victim === undefined) return undefined;
      const taken = chosen.findIndex((row) => row.sequence === victim);
      if (taken >= 0) this.giveBack(chosen.splice(taken, 1)[0]);
      this.preempt(victim);
      if (victim === sequence) return undefined;
      tokens = Math.min(tokens, sequence.known - sequence.computed);
    }
    return {
      sequence,
      tokens,
      compacts,
      observe,
      slots: compacts ? this.tables.slots(sequence) + tokens * this.tables.ownHeads : 0,
    };
  }

  /** Who gives its pages: the latest that has no bound, or a lower priority. */
  private victimOf(sequence: Sequence): Sequence {
    const gives = (each: Sequence) => !each.rules.bounded || each.priority > sequence.priority;
    return this.running.filter(gives).at(-1) ?? this.running.at(-1)!;
  }

  /** Slots of a head over its budget at a logical length, the worst layer's mean, when `tokens` more have been appended. */
  private overBudget(sequence: Sequence, length: number, tokens: number): number {
    if (!sequence.rules.evicts) return Number.NEGATIVE_INFINITY;
    sequence.budgets(length, this.budgets);
    return this.tables.overBudget(sequence, this.budgets) + tokens;
  }

  private observed(sequence: Sequence, from: number, to: number): [number, number] {
    const { observe } = sequence.rules.plan;
    if (sequence.rules.layers.length === 0) return [from, from];
    if (from >= sequence.prompt) return observe.decode ? [from, to] : [from, from];
    if (observe.prompt === 'none') return [from, from];
    const first =
      observe.prompt === 'every' ? from : Math.max(from, sequence.prompt - sequence.rules.observeLast(sequence.prompt));
    return first < to ? [first, to] : [from, from];
  }

  private preempt(sequence: Sequence): void {
    this.running.splice(this.running.indexOf(sequence), 1);
    this.release(sequence);
    sequence.reset();
    sequence.preemptions++;
    this.preemptions++;
    this.insert(this.waiting, sequence);
  }

  /** After a step: registers pages that have become full and are still as attention left them. */
  register(sequence: Sequence, length: number): void {
    if (this.keeps === 'nothing' || !sequence.rules.plan.shareable || !sequence.cacheable) return;
    const full = Math.floor((this.keeps === 'prompts' ? Math.min(length, sequence.prompt) : length) / PAGE);
    if (full <= sequence.registered) return;
    const hashes = this.prefix.hashes(
      this.salts[sequence.policy],
      sequence.tokens,
      sequence.registered,
      sequence.lastHash,
      full,
    );
    hashes.forEach((hash, i) => {
      this.prefix.register(
        hash,
        sequence.lastHash || this.salts[sequence.policy],
        this.tables.pagesAt(sequence, sequence.registered + i),
      );
      sequence.lastHash = hash;
    });
    sequence.registered = full;
    sequence.shared = Math.max(sequence.shared, full);
  }

  /** Audits pool, tables and prefix cache. Throws on the first broken invariant. */
  check(): void {
    const { tables, running, prefix } = this;
    this.pool.check(
      (function* () {
        for (const sequence of running) yield* tables.heldBy(sequence);
        yield* prefix.held();
      })(),
    );
    for (const sequence of running) tables.check(sequence);
    if (this.slots.length + running.length !== this.limits.maxSeqs) throw new Error('a row of the tables is lost');
    if (new Set([...this.slots, ...running.map((sequence) => sequence.slot)]).size !== this.limits.maxSeqs)
      throw new Error('a row of the tables is held twice');
  }
}
