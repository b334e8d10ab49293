/**
 * Numbered texts, such as a vocabulary or its merges, in memory that threads share, and found there by a part of a longer
 * text. As strings and a map of them they would take several times as much, in every thread again.
 */

/** What texts read, by number: an array of strings, or Texts. */
export interface TextList {
  readonly length: number;
  at(index: number): string | undefined;
  indexOf(text: string): number;
}

/** A copy that structured clones do not copy again. */
export function sharedFloats(values: Float32Array): Float32Array {
  const copy = new Float32Array(new SharedArrayBuffer(values.byteLength));
  copy.set(values);
  return copy;
}

/** What of Texts another thread is sent. */
export type TextsData = Pick<Texts, 'units' | 'ends'>;

export class Texts implements TextList {
  /** `units`: UTF-16, one text behind the other; `ends`: where each ends. */
  constructor(
    readonly units: Uint16Array,
    readonly ends: Uint32Array,
  ) {}

  /** next: called once for each number, in order. */
  static of(count: number, next: (index: number) => string): Texts {
    const ends = new Uint32Array(new SharedArrayBuffer(4 * count));
    let units = new Uint16Array(4 * count);
    let end = 0;
    for (let i = 0; i < count; i++) {
      const text = next(i);
      if (end + text.length > units.length) {
        const larger = new Uint16Array(2 * (end + text.length));
        larger.set(units);
        units = larger;
      }
      for (let k = 0; k < text.length; k++) units[end++] = text.charCodeAt(k);
      ends[i] = end;
    }
    const exact = new Uint16Array(new SharedArrayBuffer(2 * end));
    exact.set(units.subarray(0, end));
    return new Texts(exact, ends);
  }

  get length(): number {
    return this.ends.length;
  }

  start(index: number): number {
    return index > 0 ? this.ends[index - 1] : 0;
  }

  at(index: number): string | undefined {
    if (!(index >= 0 && index < this.length)) return undefined;
    const { buffer, byteOffset } = this.units;
    const start = this.start(index);
    return Buffer.from(buffer, byteOffset + 2 * start, 2 * (this.ends[index] - start)).toString('utf16le');
  }

  /** The first that reads so, -1 without one; it looks at all of them. */
  indexOf(text: string): number {
    for (let i = 0; i < this.length; i++)
      if (this.ends[i] - this.start(i) === text.length && this.reads(i, text, 0, text.length, text.length)) return i;
    return -1;
  }

  /** Whether one that is as long reads as [start, end) of a text, with a space put in at `middle`. */
  reads(index: number, text: string, start: number, end: number, middle: number): boolean {
    let at = this.start(index);
    for (let i = start; i < end; i++) {
      if (i === middle && this.units[at++] !== SPACE) return false;
      if (this.units[at++] !== text.charCodeAt(i)) return false;
    }
    return true;
  }
}

const SPACE = 32;
const NONE = -1;

const hashed = (hash: number, unit: number): number => Math.imul(hash ^ unit, 0x01000193);
/** The low bits are of all units. */
const mixed = (hash: number): number => (hash ^ (hash >>> 15) ^ (hash >>> 23)) >>> 0;

/** What of a TextIndex another thread is sent. */
export interface TextIndexData {
  readonly texts: TextsData;
  readonly table: Int32Array;
}

/** Finds the number of a text; of equal ones the first. */
export class TextIndex {
  /** `table`: open addressing with twice as many places as texts, or more. */
  private constructor(
    readonly texts: Texts,
    readonly table: Int32Array,
  ) {}

  /** Of those texts for which `has` is true. */
  static of(texts: Texts, has: (index: number) => boolean = () => true): TextIndex {
    let places = 16;
    while (places < 2 * texts.length) places *= 2;
    const index = new TextIndex(texts, new Int32Array(new SharedArrayBuffer(4 * places)).fill(NONE));
    for (let i = 0; i < texts.length; i++) if (has(i)) index.add(i);
    return index;
  }

  /** What another thread, or this one, has made. */
  static from({ texts: { units, ends }, table }: TextIndexData): TextIndex {
    return new TextIndex(new Texts(units, ends), table);
  }

  private add(index: number): void {
    const { units, ends } = this.texts;
    const start = this.texts.start(index);
    const end = ends[index];
    let hash = end - start;
    for (let i = start; i < end; i++) hash = hashed(hash, units[i]);
    let place = mixed(hash) & (this.table.length - 1);
    for (; this.table[place] !== NONE; place = (place + 1) & (this.table.length - 1))
      if (this.same(this.table[place], index)) return;
    this.table[place] = index;
  }

  private same(one: number, other: number): boolean {
    const { units, ends } = this.texts;
    const [a, b] = [this.texts.start(one), this.texts.start(other)];
    const length = ends[one] - a;
    if (ends[other] - b !== length) return false;
    for (let i = 0; i < length; i++) if (units[a + i] !== units[b + i]) return false;
    return true;
  }

  /** Number of what [start, end) of a text reads, with a space put in at `middle` where that lies inside. */
  find(text: string, start = 0, end = text.length, middle = end): number | undefined {
    const { texts, table } = this;
    const length = end - start + (middle < end ? 1 : 0);
    let hash = length;
    for (let i = start; i < end; i++) {
      if (i === middle) hash = hashed(hash, SPACE);
      hash = hashed(hash, text.charCodeAt(i));
    }
    let place = mixed(hash) & (table.length - 1);
    for (; table[place] !== NONE; place = (place + 1) & (table.length - 1)) {
      const index = table[place];
      if (texts.ends[index] - texts.start(index) === length && texts.reads(index, text, start, end, middle))
        return index;
    }
    return undefined;
  }

  *[Symbol.iterator](): Generator<string> {
    for (const index of this.table) if (index !== NONE) yield this.texts.at(index)!;
  }
}
