/** Numbers between bounds, as grammars of their digits. */
import { GrammarError, either, literal, repeated, sequence } from './ebnf.ts';

export interface Bound {
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
}

/** Digits before the point: whole numbers of as many are exact. */
const DIGITS = 15;
const LIMIT = 10 ** DIGITS - 1;
const FRACTION = `("." [0-9]{1,${DIGITS}})`;
const EXPONENT = '([eE] [+-]? [0-9] [0-9]?)';

const digit = (from: number, to: number): string => (from === to ? literal(String(from)) : `[${from}-${to}]`);

/** Whole numbers from `from` to `to` of the same number of digits, digit by digit. */
function sameLength(from: string, to: string): string {
  if (from === '') return '""';
  const [a, b] = [Number(from[0]), Number(to[0])];
  const n = from.length - 1;
  const rest = n ? [repeated('[0-9]', n, n)] : [];
  if (/^0*$/.test(from.slice(1)) && /^9*$/.test(to.slice(1))) return sequence([digit(a, b), ...rest]);
  if (a === b) return sequence([digit(a, a), sameLength(from.slice(1), to.slice(1))]);
  const low = sequence([digit(a, a), sameLength(from.slice(1), '9'.repeat(n))]);
  const high = sequence([digit(b, b), sameLength('0'.repeat(n), to.slice(1))]);
  return either([low, ...(b - a > 1 ? [sequence([digit(a + 1, b - 1), ...rest])] : []), high]);
}

/** Whole numbers 0 ≤ from ≤ to. */
function natural(from: number, to: number): string {
  const list: string[] = [];
  for (let low = from; low <= to; ) {
    const high = Math.min(to, 10 ** String(low).length - 1);
    list.push(sameLength(String(low), String(high)));
    low = high + 1;
  }
  return either(list);
}

/** Whole numbers from `from` to `to`. */
const whole = (from: number, to: number): string =>
  either([
    ...(from < 0 ? [sequence([literal('-'), natural(Math.max(1, -to), -from)])] : []),
    ...(to >= 0 ? [natural(Math.max(0, from), to)] : []),
  ]);

interface Ends {
  readonly from: number;
  readonly to: number;
}

/** The whole numbers within the bounds. */
function endsOf({ minimum, maximum, exclusiveMinimum, exclusiveMaximum }: Bound): Ends {
  const from = Math.max(
    -LIMIT,
    minimum === undefined ? -LIMIT : Math.ceil(minimum),
    exclusiveMinimum === undefined ? -LIMIT : Math.floor(exclusiveMinimum) + 1,
  );
  const to = Math.min(
    LIMIT,
    maximum === undefined ? LIMIT : Math.floor(maximum),
    exclusiveMaximum === undefined ? LIMIT : Math.ceil(exclusiveMaximum) - 1,
  );
  if (from > to) throw new GrammarError('its bounds leave no whole number (up to 15 digits) between them; widen them');
  return { from, to };
}

/** JSON integers within the bounds. Throws a GrammarError where there are none. */
export function integers(bound: Bound): string {
  if (Object.keys(bound).length === 0) return `"-"? ("0" | [1-9] [0-9]{0,${DIGITS - 1}})`;
  const { from, to } = endsOf(bound);
  return whole(from, to);
}

/** JSON numbers within the bounds: whole ones, and decimals that lie between two whole ones that are inside. */
export function numbers(bound: Bound): string {
  if (Object.keys(bound).length === 0) return `"-"? ("0" | [1-9] [0-9]{0,${DIGITS - 1}}) ${FRACTION}? ${EXPONENT}?`;
  const { from, to } = endsOf(bound);
  return either([
    whole(from, to),
    ...(to > 0 ? fraction('', Math.max(0, from), to - 1) : []),
    ...(from < 0 ? fraction('-', Math.max(0, -to), -from - 1) : []),
  ]);
}

/** k.… for whole k from `from` to `to`. */
const fraction = (sign: string, from: number, to: number): string[] =>
  from > to ? [] : [sequence([...(sign ? [literal(sign)] : []), natural(from, to), FRACTION])];
