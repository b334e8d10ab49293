/**
 * The pool's pages: reference counts and a free list. A page belongs to one layer and one KV head; page 0 is the null page.
 *
 *   free ──allocate──▶ held (references ≥ 1) ──release──▶ free
 *
 * Invariants (`check`): free + held = pages - 1; a free page has no reference; no page is free twice.
 */
export class BlockPool {
  /** references of each page: sequences that have it in a table, plus one for the prefix cache */
  private readonly references: Int32Array;
  /** 1: the prefix cache has one of them */
  private readonly isCached: Uint8Array;
  private readonly freeList: Int32Array;
  private freeCount: number;
  private cachedCount = 0;

  constructor(readonly pages: number) {
    this.references = new Int32Array(pages);
    this.isCached = new Uint8Array(pages);
    this.freeList = new Int32Array(pages);
    // low numbers are handed out first: a small working set stays small in memory
    this.freeCount = pages - 1;
    for (let i = 0; i < this.freeCount; i++) this.freeList[i] = pages - 1 - i;
  }

  get free(): number {
    return this.freeCount;
  }

  get used(): number {
    return this.pages - 1 - this.freeCount;
  }

  /** Pages that the prefix cache alone holds. */
  get cached(): number {
    return this.cachedCount;
  }

  /** A page with one reference, or 0 when none is free. */
  allocate(): number {
    if (this.freeCount === 0) return 0;
    const page = this.freeList[--this.freeCount];
    this.references[page] = 1;
    return page;
  }

  retain(page: number): void {
    if (this.references[page] < 1) throw new Error(`page ${page} is retained while free`);
    if (this.references[page]++ === 1) this.cachedCount -= this.isCached[page];
  }

  release(page: number): void {
    if (this.references[page] < 1) throw new Error(`page ${page} is released while free`);
    const remaining = --this.references[page];
    if (remaining === 1) this.cachedCount += this.isCached[page];
    if (remaining === 0) this.freeList[this.freeCount++] = page;
  }

  /** The prefix cache's own retain and release, of pages that somebody holds. */
  retainCached(page: number): void {
    this.retain(page);
    this.isCached[page] = 1;
  }

  releaseCached(page: number): void {
    if (this.references[page] === 1) this.cachedCount -= this.isCached[page];
    this.isCached[page] = 0;
    this.release(page);
  }

  count(page: number): number {
    return this.references[page];
  }

  /** Audits the counts against `holders`: every reference that somebody has, page by page. Throws on the first lie. */
  check(holders: Iterable<number>): void {
    const expected = new Int32Array(this.pages);
    for (const page of holders) {
      if (page < 1 || page >= this.pages) throw new Error(`somebody holds page ${page} of ${this.pages}`);
      expected[page]++;
    }
    let free = 0;
    let cached = 0;
    for (let page = 1; page < this.pages; page++) {
      if (expected[page] !== this.references[page])
        throw new Error(`page ${page} has ${this.references[page]} references, ${expected[page]} holders`);
      if (this.references[page] === 0) free++;
      if (this.references[page] === 1) cached += this.isCached[page];
    }
    if (free !== this.freeCount)
      throw new Error(`${free} pages have no reference, the free list has ${this.freeCount}`);
    if (cached !== this.cachedCount)
      throw new Error(`${cached} pages are the prefix cache's alone, counted are ${this.cachedCount}`);
    for (const page of this.freeList.subarray(0, this.freeCount))
      if (expected[page]++ > 0) throw new Error(`page ${page} is free twice, or somebody holds it`);
  }
}
