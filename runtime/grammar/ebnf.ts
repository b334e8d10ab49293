/** Grammars as text: the EBNF that xgrammar reads. */

/** What of a grammar cannot be, and where in what the client sent. */
export class GrammarError extends Error {
  override name = 'GrammarError';

  constructor(
    message: string,
    /** of a schema: the keyword at fault */
    readonly path: readonly (string | number)[] = [],
  ) {
    super(message);
  }
}

/** Code points [first, last], ascending, with gaps between them. */
export type Ranges = readonly (readonly [first: number, last: number])[];

const LAST = 0x10ffff;

/** In order, neighbours joined, without surrogates: no text has them. */
export function ranges(list: Ranges): Ranges {
  const out: [number, number][] = [];
  for (const [first, last] of [...list].sort((a, b) => a[0] - b[0])) {
    const before = out.at(-1);
    if (before && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else out.push([first, last]);
  }
  return without(out, [[0xd800, 0xdfff]]);
}

/** What of one list is not in the other. */
export function without(list: Ranges, other: Ranges): Ranges {
  let left: [number, number][] = list.map(([first, last]) => [first, last]);
  for (const [from, to] of other)
    left = left.flatMap(([first, last]): [number, number][] =>
      to < first || from > last
        ? [[first, last]]
        : [
            ...(first < from ? [[first, from - 1] as [number, number]] : []),
            ...(last > to ? [[to + 1, last] as [number, number]] : []),
          ],
    );
  return left;
}

export const complement = (list: Ranges): Ranges => ranges(without([[0, LAST]], list));
export const includes = (list: Ranges, code: number): boolean =>
  list.some(([first, last]) => first <= code && code <= last);

const coded = (code: number): string =>
  code > 0xffff ? `\\U${code.toString(16).padStart(8, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
const plain = /[A-Za-z0-9 _:,.{}<>/|=+;!?@#$%&*()-]/;
const shown = (character: string, safe: RegExp): string =>
  safe.test(character) ? character : coded(character.codePointAt(0)!);

/** A text as it stands. */
export const literal = (text: string): string => `"${[...text].map((each) => shown(each, plain)).join('')}"`;

const ASCII = 0x7f;
/** Characters beyond ASCII that a set may name one by one. */
const NAMED = 512;

/**
 * One character of a set. xgrammar reads ranges beyond ASCII wrongly, so a set has all of these characters, or names them.
 * Throws for the empty set, which no text matches, and for one that has too many and not all.
 */
export function oneOf(set: Ranges): string {
  const end = (code: number) => shown(String.fromCodePoint(code), /[A-Za-z0-9]/);
  const inside = (list: Ranges) =>
    list.map(([first, last]) => (first === last ? end(first) : `${end(first)}-${end(last)}`)).join('');
  const ascii = without(set, [[ASCII + 1, LAST]]);
  const beyond = without(set, [[0, ASCII]]);
  if (without(complement([[0, ASCII]]), beyond).length === 0) {
    const left = without([[0, ASCII]], ascii);
    return `[^${inside(left)}]`;
  }
  const named = beyond.reduce((sum, [first, last]) => sum + last - first + 1, 0);
  if (named > NAMED)
    throw new GrammarError(`has a set of ${named} characters beyond ASCII; a set may have all of them, or ${NAMED}`);
  const codes = beyond.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, i) => first + i));
  const list = [
    ...(ascii.length ? [`[${inside(ascii)}]`] : []),
    ...codes.map((code) => literal(String.fromCodePoint(code))),
  ];
  if (list.length === 0) throw new GrammarError('has a set without characters');
  return either(list);
}

export const either = (list: readonly string[]): string => (list.length === 1 ? list[0] : `(${list.join(' | ')})`);
export const sequence = (list: readonly string[]): string => (list.length ? `(${list.join(' ')})` : '""');

/** `max` undefined: without end. */
export function repeated(item: string, min: number, max: number | undefined): string {
  if (max === 0) return '""';
  if (min === 1 && max === 1) return item;
  if (max === undefined && min < 2) return `(${item})${min ? '+' : '*'}`;
  if (min === 0 && max === 1) return `(${item})?`;
  return `(${item}){${min},${max ?? ''}}`;
}

/** Rules by name; `root` is where a text begins. */
export class Rules {
  private readonly bodies = new Map<string, string>();

  constructor(private readonly prefix = 'r') {}

  /** A name for what is written later: a rule may name itself. */
  reserve(): string {
    const name = `${this.prefix}${this.bodies.size}`;
    this.bodies.set(name, '');
    return name;
  }

  set(name: string, body: string): string {
    this.bodies.set(name, body);
    return name;
  }

  add(body: string): string {
    return this.set(this.reserve(), body);
  }

  /**
   * Any text that does not have `mark`, with a state for each character of the mark that has been read, as Knuth, Morris and
   * Pratt have them. It begins with none of the characters of `unlike`.
   */
  textWithout(mark: string, unlike = ''): string {
    const letters = [...mark];
    const names = letters.map(() => this.reserve());
    /** characters of the mark that the text ends with, once this one has come */
    const next = (read: number, letter: string): number => {
      const text = [...letters.slice(0, read), letter].join('');
      let n = read + 1;
      while (n > 0 && !text.endsWith(letters.slice(0, n).join(''))) n--;
      return n;
    };
    const alphabet = [...new Set(letters)];
    const all = (list: readonly string[]) => ranges(list.map((each) => [each.codePointAt(0)!, each.codePointAt(0)!]));
    const body = (read: number, not: string): string => {
      const steps = alphabet.filter((letter) => next(read, letter) < letters.length && !not.includes(letter));
      const marked = steps.map((letter) => `${literal(letter)} ${names[next(read, letter)]}`);
      return ['""', `${oneOf(complement(all([...alphabet, ...not])))} ${names[0]}`, ...marked].join(' | ');
    };
    names.forEach((name, read) => this.set(name, body(read, '')));
    return unlike ? this.add(body(0, unlike)) : names[0];
  }

  text(root: string): string {
    const lines = [...this.bodies].map(([name, body]) => `${name} ::= ${body}`);
    return `root ::= ${root}\n${lines.join('\n')}\n`;
  }
}
