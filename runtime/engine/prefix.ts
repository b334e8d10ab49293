/**
 * The prefix cache: 16 prompt tokens of all layers and heads under a hash of everything before them. It holds one reference
 * to each page; such pages are never written. When memory is short, a prefix in use gives its window layers' pages alone: it
 * can then be gone on from where they are still there for a window's length.
 */
import { createHash } from 'node:crypto';
import type { BlockPool } from './blocks.ts';
import { pagesGone } from './windows.ts';

interface Entry {
  readonly hash: string;
  readonly parent: string;
  /** [layer · kv_head] one page each; 0 where a window layer's has been given away */
  readonly pages: Int32Array;
  /** cached continuations of this prefix: leaves are evicted first */
  children: number;
}

export class PrefixCache {
  /** in order of last use, the oldest first */
  private readonly entries = new Map<string, Entry>();
  private readonly owner = new Map<number, Entry>();
  private readonly widest: number;
  queries = 0;
  hits = 0;

  constructor(
    private readonly pool: BlockPool,
    private readonly pageTokens: number,
    /** [layer · kv_head] of its layer, 0 where there is none */
    private readonly windows: readonly number[],
  ) {
    this.widest = Math.max(0, ...windows);
  }

  /** Hashes of the full pages of `tokens`, each covering all before it. */
  hashes(salt: string, tokens: Int32Array, from: number, previous: string, count: number): string[] {
    const out: string[] = [];
    let parent = previous || salt;
    for (let i = from; i < count; i++) {
      const bytes = new Uint8Array(tokens.buffer, tokens.byteOffset + i * this.pageTokens * 4, this.pageTokens * 4);
      parent = createHash('sha1').update(parent).update(bytes).digest('base64');
      out.push(parent);
    }
    return out;
  }

  /** The longest cached run of `hashes` from the start that can be gone on from: the pages of each. */
  lookUp(hashes: readonly string[]): Int32Array[] {
    this.queries += hashes.length;
    const found: Entry[] = [];
    for (const hash of hashes) {
      const entry = this.entries.get(hash);
      if (!entry) break;
      found.push(entry);
    }
    found.length = this.usable(found);
    this.hits += found.length;
    // the root is touched last: a prefix is always younger than its continuations
    for (const entry of [...found].reverse()) {
      this.entries.delete(entry.hash);
      this.entries.set(entry.hash, entry);
    }
    return found.map((entry) => entry.pages);
  }

  /** How many leading entries the next token can follow: window layers have all pages that it sees. */
  private usable(found: readonly Entry[]): number {
    let usable = 0;
    let broken = -1; // the last entry without its window layers' pages
    found.forEach(({ pages }, i) => {
      if (pages.includes(0)) broken = i;
      if (broken < pagesGone(this.widest, (i + 1) * this.pageTokens)) usable = i + 1;
    });
    return this.widest ? usable : found.length;
  }

  /** Keeps pages under a hash; where another sequence was first, only those that its entry has given away. */
  register(hash: string, parent: string, pages: Int32Array): void {
    const known = this.entries.get(hash);
    if (known) {
      for (let head = 0; head < pages.length; head++)
        if (known.pages[head] === 0 && pages[head] !== 0) this.keep(known, head, pages[head]);
      return;
    }
    const entry: Entry = { hash, parent, pages, children: 0 };
    this.entries.set(hash, entry);
    const above = this.entries.get(parent);
    if (above) above.children++;
    pages.forEach((page, head) => page && this.keep(entry, head, page));
  }

  private keep(entry: Entry, head: number, page: number): void {
    entry.pages[head] = page;
    this.pool.retainCached(page);
    this.owner.set(page, entry);
  }

  private give(entry: Entry, head: number): void {
    const page = entry.pages[head];
    if (page === 0) return;
    entry.pages[head] = 0;
    this.owner.delete(page);
    this.pool.releaseCached(page);
  }

  holds(page: number): boolean {
    return this.owner.has(page);
  }

  /** Forgets the hash that a page stands under, so that its sole holder may write it. */
  forget(page: number): void {
    const entry = this.owner.get(page);
    if (entry) this.remove(entry);
  }

  /**
   * Frees the pages of the least recently used prefix that nobody runs with; where all are in use, those of its window layers
   * that nobody sees. False when there are none.
   */
  evict(): boolean {
    for (const entry of this.entries.values()) {
      if (entry.children > 0 || entry.pages.some((page) => this.pool.count(page) > 1)) continue;
      this.remove(entry);
      return true;
    }
    if (this.widest) for (const entry of this.entries.values()) if (this.giveWindows(entry)) return true;
    return false;
  }

  private giveWindows(entry: Entry): boolean {
    let gave = false;
    entry.pages.forEach((page, head) => {
      if (this.windows[head] === 0 || this.pool.count(page) !== 1) return;
      this.give(entry, head);
      gave = true;
    });
    return gave;
  }

  private remove(entry: Entry): void {
    this.entries.delete(entry.hash);
    const above = this.entries.get(entry.parent);
    if (above) above.children--;
    entry.pages.forEach((_, head) => this.give(entry, head));
  }

  /** Pages the cache holds, for the pool's audit. */
  *held(): Generator<number> {
    for (const { pages } of this.entries.values()) yield* pages.filter((page) => page !== 0);
  }

  clear(): void {
    for (const entry of [...this.entries.values()]) this.remove(entry);
  }
}
