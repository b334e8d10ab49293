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
  private readonly maxCopies: number;

  constructor(
    private readonly buffers: Buffers,
    private readonly pool: BlockPool,
    private readonly prefix: PrefixCache,
    /** [layer · kv_head] of its layer, 0 where there is none */
    private readonly windows: readonly number[],
    private readonly kvHeads: number,
    private readonly stride: number,
  ) {
    this.heads = windows.length;
    this.maxCopies = this.heads * stride;
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

  /** A step has put `tokens` more slots into every head. */
  append({ extent }: Sequence, tokens: number): void {
    extent.appended += tokens;
    extent.room -= tokens;
  }

  /** Slots of a head over its budget, the worst layer's mean, of layers without a window. */
  overBudget({ extent: { live, appended } }: Sequence, budgets: Int32Array): number {
    let worst = Number.NEGATIVE_INFINITY;
    for (let layer = 0, head = 0; layer < live.length; layer++, head += this.kvHeads)
      if (this.windows[head] === 0) worst = Math.max(worst, live[layer] / this.kvHeads + appended - budgets[layer]);
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
    const { extent, held } = sequence;
    if (tokens > extent.room) {
      let room = this.stride * PAGE;
      for (let head = 0; head < this.heads; head++) {
        const length = this.length(sequence, head);
        const need = pagesFor(length + tokens);
        if (need > this.stride) throw new Error(`sequence ${sequence.id} outgrew its table of ${this.stride} pages`);
        while (held[head] < need) {
          const page = this.allocate();
          if (page === 0) return false;
          this.put(sequence, head, held[head]++, page);
          extent.pages++;
        }
        room = Math.min(room, held[head] * PAGE - length);
      }
      extent.room = room;
    }
    sequence.peakPages = Math.max(sequence.peakPages, extent.pages);
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
    this.trim(sequence);
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
      sequence.extent.pages -= leave;
      length[sequence.slot * this.heads + head] -= leave * PAGE;
    }
  }

  /** Gives back the pages behind the live slots and room for `tokens` more, and looks at every head's length. */
  trim(sequence: Sequence, tokens = 0): void {
    const { slot, held, extent } = sequence;
    const { length } = this.buffers;
    const { heads, kvHeads } = this;
    const { live } = extent;
    let pages = 0;
    let room = this.stride * PAGE;
    for (let layer = live.length - 1, head = heads - 1, at = slot * heads + head; layer >= 0; layer--) {
      let slots = 0;
      for (let i = 0; i < kvHeads; i++, head--, at--) {
        const here = length[at];
        if (held[head] * PAGE >= here + tokens + PAGE) this.giveBack(sequence, head, pagesFor(here + tokens));
        slots += here;
        pages += held[head];
        room = Math.min(room, held[head] * PAGE - here);
      }
      live[layer] = slots;
    }
    extent.pages = pages;
    extent.room = room;
    extent.appended = 0;
  }

  /** Pages of a head beyond its first `need`, the last first. */
  private giveBack(sequence: Sequence, head: number, need: number): void {
    const { table } = this.buffers;
    const at = this.at(sequence, head);
    while (sequence.held[head] > need) {
      const p = --sequence.held[head];
      this.pool.release(table[at + p]);
      table[at + p] = 0;
    }
  }

  /** Gives everything back. */
  free(sequence: Sequence): void {
    for (let head = 0; head < this.heads; head++) this.buffers.length[sequence.slot * this.heads + head] = 0;
    this.trim(sequence);
  }

  /** Live slots of the policy's heads. */
  slots({ extent: { live, appended } }: Sequence): number {
    let total = appended * this.ownHeads;
    for (let layer = 0, head = 0; layer < live.length; layer++, head += this.kvHeads)
      if (this.windows[head] === 0) total += live[layer];
    return total;
  }

  /** The rules that the policy's heads took, of a policy with a profile. */
  *profiles(sequence: Sequence): Generator<number> {
    for (let head = 0; head < this.heads; head++)
      if (this.windows[head] === 0) yield this.buffers.profile[sequence.slot * this.heads + head];
  }

  *heldBy(sequence: Sequence): Generator<number> {
    for (let head = 0; head < this.heads; head++)
      for (let p = 0; p < sequence.held[head]; p++) yield this.buffers.table[this.at(sequence, head) + p];
  }

  /** What is counted is what the tables come to; a head may have more room where no page was found for another. */
  private checkExtent(sequence: Sequence): void {
    const { extent, held } = sequence;
    const heads = Array.from(held, (_, head) => this.length(sequence, head));
    const own = heads.reduce((sum, length, head) => sum + (this.windows[head] ? 0 : length), 0);
    const pages = held.reduce((sum, each) => sum + each, 0);
    const room = Math.min(...heads.map((length, head) => held[head] * PAGE - length));
    if (extent.pages !== pages || extent.room > room || this.slots(sequence) !== own)
      throw new Error(
        `sequence ${sequence.id} counts ${extent.pages} pages, room for ${extent.room} slots and ${this.slots(sequence)} live ones, and has ${pages}, ${room} and ${own}`,
      );
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
    this.checkExtent(sequence);
  }
}
