/**
 * Characters → tokens by merging neighbours, the best pair first, until no pair has a rank: the inner loop of byte pair
 * encoding and of SentencePiece's variant of it. A heap of pairs makes it n log n in the length of the text.
 */

/** The lower the better; undefined: the two do not merge. Of text[start, middle) and text[middle, end). */
export type Rank = (start: number, middle: number, end: number) => number | undefined;

/** Where the parts of a text end, in order. Of pairs with equal ranks the leftmost merges first. */
export function merge(text: string, rank: Rank): number[] {
  const ends: number[] = [];
  for (let at = 0; at < text.length; ) {
    at += text.codePointAt(at)! > 0xffff ? 2 : 1;
    ends.push(at);
  }
  if (ends.length < 2) return ends;
  const parts = new Parts(ends);
  const pairs = new Pairs();
  const offer = (left: number) => {
    const right = left < 0 ? parts.none : parts.next[left];
    if (right === parts.none) return;
    const value = rank(parts.start[left], parts.start[right], parts.end[right]);
    if (value !== undefined) pairs.push({ rank: value, left, end: parts.end[right] });
  };
  for (let left = 0; left < ends.length - 1; left++) offer(left);
  for (let best = pairs.pop(); best; best = pairs.pop()) {
    const { left, end } = best;
    const right = parts.next[left];
    // another merge has changed one of the two since the pair was offered
    if (parts.gone[left] || right === parts.none || parts.end[right] !== end) continue;
    parts.join(left, right);
    offer(parts.before[left]);
    offer(left);
  }
  return parts.all();
}

/** A doubly linked list over the characters: a part is named by its first. */
class Parts {
  readonly none: number;
  readonly start: Int32Array;
  readonly end: Int32Array;
  readonly next: Int32Array;
  readonly before: Int32Array;
  readonly gone: Uint8Array;

  constructor(ends: readonly number[]) {
    this.none = ends.length;
    this.end = Int32Array.from(ends);
    this.start = Int32Array.from(ends, (_, i) => (i === 0 ? 0 : ends[i - 1]));
    this.next = Int32Array.from(ends, (_, i) => i + 1);
    this.before = Int32Array.from(ends, (_, i) => i - 1);
    this.gone = new Uint8Array(ends.length);
  }

  join(left: number, right: number): void {
    const after = this.next[right];
    this.end[left] = this.end[right];
    this.next[left] = after;
    if (after !== this.none) this.before[after] = left;
    this.gone[right] = 1;
  }

  all(): number[] {
    const ends: number[] = [];
    for (let part = 0; part !== this.none; part = this.next[part]) ends.push(this.end[part]);
    return ends;
  }
}

interface Pair {
  readonly rank: number;
  /** its first part, and where its second ends */
  readonly left: number;
  readonly end: number;
}

const sooner = (a: Pair, b: Pair): boolean => a.rank < b.rank || (a.rank === b.rank && a.left < b.left);

/** A binary heap, the best pair on top. */
class Pairs {
  private readonly heap: Pair[] = [];

  push(pair: Pair): void {
    const { heap } = this;
    let at = heap.length;
    heap.push(pair);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!sooner(pair, heap[parent])) break;
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = pair;
  }

  pop(): Pair | undefined {
    const { heap } = this;
    const top = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && sooner(heap[child + 1], heap[child])) child++;
      if (!sooner(heap[child], last)) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = last;
    return top;
  }
}
