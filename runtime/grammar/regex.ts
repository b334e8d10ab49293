/** Regular expressions as grammars: what ECMAScript and Python share of them; the whole text must match. */
import {
  GrammarError,
  type Ranges,
  complement,
  either,
  includes,
  literal,
  oneOf,
  ranges,
  repeated,
  sequence,
  without,
} from './ebnf.ts';

/** How characters stand in the text: as they are, or as JSON writes them between quotes. */
type Spelling = (set: Ranges) => string;

const control: Ranges = [[0, 31]];
const special: Ranges = [...control, [0x22, 0x22], [0x5c, 0x5c]];
const short: readonly (readonly [code: number, letter: string])[] = [
  [0x22, '"'],
  [0x5c, '\\'],
  [8, 'b'],
  [9, 't'],
  [10, 'n'],
  [12, 'f'],
  [13, 'r'],
];

/** A character inside a JSON string: quotes, backslashes and controls are escaped, nothing else is. */
export function inJson(set: Ranges): string {
  const bare = without(set, special);
  const escaped = short.filter(([code]) => includes(set, code)).map(([, letter]) => literal(`\\${letter}`));
  return either([...(bare.length ? [oneOf(bare)] : []), ...escaped]);
}

const code = (character: string): number => character.codePointAt(0)!;
const digits: Ranges = [[48, 57]];
const word: Ranges = [
  [48, 57],
  [65, 90],
  [95, 95],
  [97, 122],
];
const space: Ranges = [
  [9, 13],
  [32, 32],
];
/** As with Python's re.ASCII: what is beyond is no digit, no word and no space. */
const sets: Readonly<Record<string, Ranges>> = {
  d: digits,
  D: complement(digits),
  w: word,
  W: complement(word),
  s: space,
  S: complement(space),
};
const controls: Readonly<Record<string, number>> = { n: 10, t: 9, r: 13, f: 12, v: 11, 0: 0 };
const LINE_ENDS: Ranges = [
  [10, 10],
  [13, 13],
];

/** Most copies that a number in braces may ask for: each is a state of the grammar. */
export const MOST = 4096;

class Reader {
  private at = 0;
  private readonly characters: string[];

  constructor(
    pattern: string,
    private readonly spell: Spelling,
  ) {
    this.characters = [...pattern];
  }

  private fail(what: string, at = this.at): never {
    throw new GrammarError(`${what} at character ${at + 1} of the pattern`);
  }

  private get next(): string | undefined {
    return this.characters[this.at];
  }

  private ahead(text: string): boolean {
    return this.characters.slice(this.at, this.at + text.length).join('') === text;
  }

  private take(text: string): boolean {
    if (!this.ahead(text)) return false;
    this.at += text.length;
    return true;
  }

  /** The whole pattern; `open`: what may stand where it has no anchor. */
  whole(open: string): string {
    const alternatives: string[] = [];
    do {
      const anchored = this.take('^') || this.take('\\A');
      const body = this.sequence();
      const closed = this.take('$') || this.take('\\Z') || this.take('\\z');
      alternatives.push(sequence([...(anchored ? [] : [open]), body, ...(closed ? [] : [open])].filter(Boolean)));
    } while (this.take('|'));
    if (this.next !== undefined) this.fail(this.next === ')' ? 'a ) without its (' : `an anchor in the middle`);
    return either(alternatives);
  }

  private alternatives(): string {
    const list = [this.sequence()];
    while (this.take('|')) list.push(this.sequence());
    return either(list);
  }

  private sequence(): string {
    const list: string[] = [];
    while (this.next !== undefined && !['|', ')', '$'].includes(this.next) && !this.ahead('\\Z') && !this.ahead('\\z'))
      list.push(this.quantified());
    return sequence(list);
  }

  private quantified(): string {
    const item = this.item();
    const [min, max] = this.counts() ?? [1, 1];
    if (max !== undefined && max < min) this.fail(`a repetition of ${min} to ${max}`);
    if (Math.max(min, max ?? 0) > MOST) this.fail(`more than ${MOST} repetitions`);
    this.take('?'); // lazy: the same texts match
    if (this.next !== undefined && '*+?'.includes(this.next)) this.fail(`a repetition of a repetition`);
    return repeated(item, min, max);
  }

  private counts(): [number, number | undefined] | undefined {
    if (this.take('*')) return [0, undefined];
    if (this.take('+')) return [1, undefined];
    if (this.take('?')) return [0, 1];
    const found = /^\{(\d+)(,?)(\d*)\}/.exec(this.characters.slice(this.at, this.at + 24).join(''));
    if (!found) return undefined;
    this.at += found[0].length;
    const min = Number(found[1]);
    return [min, found[2] ? (found[3] ? Number(found[3]) : undefined) : min];
  }

  private item(): string {
    const start = this.at;
    const character = this.characters[this.at++];
    if (character === '(') return this.group(start);
    if (character === '[') return this.spell(this.set(start));
    if (character === '.') return this.spell(complement(LINE_ENDS));
    if (character === '\\') return this.spell(this.escape(start));
    if (character === '^') this.fail('an anchor in the middle', start);
    if ('*+?'.includes(character)) this.fail('a repetition of nothing', start);
    return this.spell([[code(character), code(character)]]);
  }

  private group(start: number): string {
    if (this.take('?')) {
      const named = /^P?<[A-Za-z_]\w*>/.exec(this.characters.slice(this.at, this.at + 80).join(''));
      if (named) this.at += named[0].length;
      else if (!this.take(':')) this.fail('a group that looks around or sets flags (not supported)', start);
    }
    const body = this.alternatives();
    if (!this.take(')')) this.fail('a ( without its )', start);
    return body;
  }

  private escape(start: number): Ranges {
    const letter = this.characters[this.at++];
    if (letter === undefined) this.fail('a \\ with nothing after it', start);
    if (Object.hasOwn(sets, letter)) return sets[letter];
    if (Object.hasOwn(controls, letter)) return [[controls[letter], controls[letter]]];
    const hex = { x: 2, u: 4 }[letter];
    if (hex) {
      const text = this.characters.slice(this.at, this.at + hex).join('');
      if (!new RegExp(`^[0-9a-fA-F]{${hex}}$`).test(text))
        this.fail(`\\${letter} without ${hex} hexadecimal digits`, start);
      this.at += hex;
      const value = Number.parseInt(text, 16);
      return [[value, value]];
    }
    if (/[A-Za-z1-9]/.test(letter)) this.fail(`\\${letter} (not supported)`, start);
    return [[code(letter), code(letter)]];
  }

  private set(start: number): Ranges {
    const negated = this.take('^');
    const list: [number, number][] = [];
    for (let first = true; first || !this.take(']'); first = false) {
      if (this.next === undefined) this.fail('a [ without its ]', start);
      if (first && this.take(']')) {
        if (!negated) this.fail('a set without characters', start);
        break;
      }
      const from = this.inSet();
      const isRange =
        this.next === '-' && this.characters[this.at + 1] !== ']' && this.characters[this.at + 1] !== undefined;
      if (!isRange || from.length !== 1 || from[0][0] !== from[0][1]) {
        list.push(...from.map(([a, b]): [number, number] => [a, b]));
        continue;
      }
      this.at++;
      const to = this.inSet();
      if (to.length !== 1 || to[0][0] !== to[0][1] || to[0][0] < from[0][0])
        this.fail('a range that has no order', start);
      list.push([from[0][0], to[0][0]]);
    }
    return negated ? complement(ranges(list)) : ranges(list);
  }

  private inSet(): Ranges {
    const start = this.at;
    const character = this.characters[this.at++];
    if (character !== '\\') return [[code(character), code(character)]];
    if (this.take('b')) return [[8, 8]];
    return this.escape(start);
  }
}

/** The texts that a pattern matches from end to end. Throws a GrammarError that says where it cannot be read. */
export const fromRegex = (pattern: string): string => new Reader(pattern, oneOf).whole('');

/** The inside of JSON strings whose value a pattern is found in, as JSON Schema asks: anchors say where it must stand. */
export const fromPattern = (pattern: string): string =>
  new Reader(pattern, inJson).whole(repeated(inJson(complement([])), 0, undefined));
