/** Sequences' block tables in the memory that native code reads: giving pages, making them writable, taking them back. */
import { type Buffers, PAGE } from '../contract/records.ts';
import type { BlockPool } from './blocks.ts';
import type { PrefixCache } from './prefix.ts';
import { pagesFor } from './rules.ts';
import type { Sequence } from './sequence.ts';
import { pagesGone } from './windows.ts';

export class BlockTables {
  /** page pairs (from, to) to copy before the next step */
  copies = 0;
  /** heads that a policy thins: those of layers without a window */
  readonly ownHeads: number;
  private readonly heads: number;

  constructor(
    private readonly buffers: Buffers,
    private readonly pool: BlockPool,
    private readonly prefix: PrefixCache,
    /** [layer · kv_head] of its layer, 0 where there is none */
    private readonly windows: readonly number[],
    private readonly stride: number,
    private readonly maxCopies: number,
  ) {
    this.heads = windows.length;
    this.ownHeads = windows.filter((window) => window === 0).length;
  }

  private at(sequence: Sequence, head: number): number {
    return (sequence.slot * this.heads + head) * this.stride;
  }

  /** Writes entry p of a head's table. */
  private put(sequence: Sequence, head: number, p: number, page: number): void {
    const { table, changed } = this.buffers;
    const index = sequence.slot * this.heads + head;
    table[index * this.stride + p] = page;
    changed[index] = Math.min(changed[index], p);
  }

  length(sequence: Sequence, head: number): number {
    return this.buffers.length[sequence.slot * this.heads + head];
  }

  /** Slots of a head over its budget, the worst layer's mean. */
  overBudget(slot: number, kvHeads: number, budgets: Int32Array): number {
    const { length } = this.buffers;
    let worst = Number.NEGATIVE_INFINITY;
    for (let layer = 0, at = slot * this.heads; layer < budgets.length; layer++) {
      let live = 0;
      for (let i = 0; i < kvHeads; i++) live += length[at++];
      worst = Math.max(worst, live / kvHeads - budgets[layer]);
    }
    return worst;
  }

  /** A free page, from the prefix cache if need be; 0 when there is none. */
  private allocate(): number {
    let page = this.pool.allocate();
    while (page === 0 && this.prefix.evict()) page = this.pool.allocate();
    return page;
  }

  /** Makes room for `tokens` more slots in every head. False, with nothing changed but what was already given, when the pool is full. */
  extend(sequence: Sequence, tokens: number): boolean {
    let total = 0;
    for (let head = 0; head < this.heads; head++) {
      const need = pagesFor(this.length(sequence, head) + tokens);
      if (need > this.stride) throw new Error(`sequence ${sequence.id} outgrew its table of ${this.stride} pages`);
      while (sequence.held[head] < need) {
        const page = this.allocate();
        if (page === 0) return false;
        this.put(sequence, head, sequence.held[head]++, page);
      }
      total += sequence.held[head];
    }
    sequence.peakPages = Math.max(sequence.peakPages, total);
    return true;
  }

  /** Gives the sequence pages of its own from page `from` on: what others or the prefix cache hold is copied, or, when no page is free, forgotten by the cache. False when neither is possible. */
  makeWritable(sequence: Sequence, from: number): boolean {
    for (let head = 0; head < this.heads; head++) {
      if (this.windows[head]) continue; // no policy writes there
      const table = this.at(sequence, head);
      for (let p = from; p < Math.min(sequence.shared, sequence.held[head]); p++) {
        const old = this.buffers.table[table + p];
        if (this.pool.count(old) === 1) continue;
        const fresh = this.copies < this.maxCopies ? this.allocate() : 0;
        if (this.pool.count(old) === 1) {
          // the search for a page evicted the very prefix
          if (fresh) this.pool.release(fresh);
          continue;
        }
        if (fresh) {
          this.buffers.copy[2 * this.copies] = old;
          this.buffers.copy[2 * this.copies + 1] = fresh;
          this.copies++;
          this.pool.release(old);
          this.put(sequence, head, p, fresh);
        } else {
          this.prefix.forget(old);
          if (this.pool.count(old) !== 1) return false;
        }
      }
    }
    sequence.shared = Math.min(sequence.shared, from);
    return true;
  }

  /** Shares the pages of a cached prefix; of window layers, those that the next token sees. */
  adopt(sequence: Sequence, blocks: readonly Int32Array[]): void {
    for (let head = 0; head < this.heads; head++) {
      const gone = this.windows[head] && pagesGone(this.windows[head], blocks.length * PAGE);
      for (let p = gone; p < blocks.length; p++) {
        this.put(sequence, head, p - gone, blocks[p][head]);
        this.pool.retain(blocks[p][head]);
      }
      sequence.gone[head] = gone;
      sequence.held[head] = blocks.length - gone;
      this.buffers.length[sequence.slot * this.heads + head] = sequence.held[head] * PAGE;
    }
    sequence.shared = blocks.length;
  }

  /** The page of every head that holds the p-th 16 positions, while slots lie by position; 0 where it is gone. */
  pagesAt(sequence: Sequence, p: number): Int32Array {
    return Int32Array.from({ length: this.heads }, (_, head) => {
      const at = p - sequence.gone[head];
      return at < 0 ? 0 : this.buffers.table[this.at(sequence, head) + at];
    });
  }

  /** Gives back the pages of window layers that the token at position `pos`, the next one, does not see. */
  leaveWindows(sequence: Sequence, pos: number): void {
    if (this.ownHeads === this.heads) return;
    const { table, changed, length } = this.buffers;
    for (let head = 0; head < this.heads; head++) {
      const leave = this.windows[head] && pagesGone(this.windows[head], pos) - sequence.gone[head];
      if (leave === 0) continue;
      const at = this.at(sequence, head);
      for (let p = 0; p < leave; p++) this.pool.release(table[at + p]);
      table.copyWithin(at, at + leave, at + sequence.held[head]);
      table.fill(0, at + sequence.held[head] - leave, at + sequence.held[head]);
      changed[sequence.slot * this.heads + head] = 0;
      sequence.gone[head] += leave;
      sequence.held[head] -= leave;
      length[sequence.slot * this.heads + head] -= leave * PAGE;
    }
  }

  /**
   * Gives back the pages behind the live slots and room for `tokens` more, the last first; returns how many slots of the
   * policy's heads are live.
   */
  trim(sequence: Sequence, tokens = 0): number {
    let live = 0;
    for (let head = this.heads - 1; head >= 0; head--) {
      const length = this.length(sequence, head);
      if (this.windows[head] === 0) live += length;
      const table = this.at(sequence, head);
      while (sequence.held[head] > pagesFor(length + tokens)) {
        const p = --sequence.held[head];
        this.pool.release(this.buffers.table[table + p]);
        this.buffers.table[table + p] = 0;
      }
    }
    return live;
  }

  /** Gives everything back. */
  free(sequence: Sequence): void {
    for (let head = 0; head < this.heads; head++) this.buffers.length[sequence.slot * this.heads + head] = 0;
    this.trim(sequence);
  }

  /** Live slots of the policy's heads. */
  slots(sequence: Sequence): number {
    let total = 0;
    for (let head = 0; head < this.heads; head++) if (this.windows[head] === 0) total += this.length(sequence, head);
    return total;
  }

  /** The rules that the policy's heads took, of a policy with a profile. */
  *profiles(sequence: Sequence): Generator<number> {
    for (let head = 0; head < this.heads; head++)
      if (this.windows[head] === 0) yield this.buffers.profile[sequence.slot * this.heads + head];
  }

  pages(sequence: Sequence): number {
    let total = 0;
    for (let head = 0; head < this.heads; head++) total += sequence.held[head];
    return total;
  }

  *heldBy(sequence: Sequence): Generator<number> {
    for (let head = 0; head < this.heads; head++)
      for (let p = 0; p < sequence.held[head]; p++) yield this.buffers.table[this.at(sequence, head) + p];
  }

  /** Audits one sequence: lengths fit pages, nothing outside is left in the table, what it may write is its own. */
  check(sequence: Sequence): void {
    for (let head = 0; head < this.heads; head++) {
      const length = this.length(sequence, head);
      if (pagesFor(length) > sequence.held[head])
        throw new Error(`sequence ${sequence.id} has ${length} slots in ${sequence.held[head]} pages`);
      for (let p = 0; p < sequence.held[head]; p++) {
        const page = this.buffers.table[this.at(sequence, head) + p];
        // pages of window layers stay shared, for nothing writes them
        const shared = this.windows[head] ? sequence.registered - sequence.gone[head] : sequence.shared;
        if (p >= shared && this.pool.count(page) !== 1)
          throw new Error(`page ${page} of sequence ${sequence.id} is shared and counts as its own`);
      }
    }
  }
}
