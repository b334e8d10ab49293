/**
 * The prefix cache: 16 prompt tokens of all layers and heads under a hash of everything before them. It holds one reference
 * to each page; such pages are never written.
 */
import { createHash } from 'node:crypto';
import type { BlockPool } from './blocks.ts';

interface Entry {
  readonly hash: string;
  readonly parent: string;
  /** [layer · kv_head] one page each */
  readonly pages: Int32Array;
  /** cached continuations of this prefix: leaves are evicted first */
  children: number;
}

export class PrefixCache {
  /** in order of last use, the oldest first */
  private readonly entries = new Map<string, Entry>();
  private readonly owner = new Map<number, Entry>();
  queries = 0;
  hits = 0;

  constructor(
    private readonly pool: BlockPool,
    private readonly pageTokens: number,
  ) {}

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

  /** The longest cached run of `hashes` from the start: the pages of each, retained for the caller. */
  lookUp(hashes: readonly string[]): Int32Array[] {
    this.queries += hashes.length;
    const found: Entry[] = [];
    for (const hash of hashes) {
      const entry = this.entries.get(hash);
      if (!entry) break;
      found.push(entry);
    }
    this.hits += found.length;
    // the root is touched last: a prefix is always younger than its continuations
    for (const entry of [...found].reverse()) {
      this.entries.delete(entry.hash);
      this.entries.set(entry.hash, entry);
    }
    for (const { pages } of found) for (const page of pages) this.pool.retain(page);
    return found.map((entry) => entry.pages);
  }

  /** Keeps pages under a hash; false when another sequence was first. */
  register(hash: string, parent: string, pages: Int32Array): boolean {
    if (this.entries.has(hash)) return false;
    const entry: Entry = { hash, parent, pages, children: 0 };
    this.entries.set(hash, entry);
    const above = this.entries.get(parent);
    if (above) above.children++;
    for (const page of pages) {
      this.pool.retainCached(page);
      this.owner.set(page, entry);
    }
    return true;
  }

  holds(page: number): boolean {
    return this.owner.has(page);
  }

  /** Forgets the hash that a page stands under, so that its sole holder may write it. */
  forget(page: number): void {
    const entry = this.owner.get(page);
    if (entry) this.remove(entry);
  }

  /** Frees the pages of the least recently used prefix that nobody runs with; false when there is none. */
  evict(): boolean {
    for (const entry of this.entries.values()) {
      if (entry.children > 0 || entry.pages.some((page) => this.pool.count(page) > 1)) continue;
      this.remove(entry);
      return true;
    }
    return false;
  }

  private remove(entry: Entry): void {
    this.entries.delete(entry.hash);
    const above = this.entries.get(entry.parent);
    if (above) above.children--;
    for (const page of entry.pages) {
      this.owner.delete(page);
      this.pool.releaseCached(page);
    }
  }

  /** Pages the cache holds, for the pool's audit. */
  *held(): Generator<number> {
    for (const { pages } of this.entries.values()) yield* pages;
  }

  clear(): void {
    for (const entry of [...this.entries.values()]) this.remove(entry);
  }
}
