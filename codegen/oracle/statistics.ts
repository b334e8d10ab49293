/** Statistics as JavaScript has them: the author's functions, and the language's words once more in plain loops. */
import type { HostPolicy, HostStatistic, OfSlot } from './host.ts';
import * as math from '../../dsl/math.ts';

/** A slot as the author's functions see it. */
interface View {
  readonly pos?: unknown;
  readonly params: unknown;
}

/** What each slot reads of the statistics, which see those above them. */
export function hostStatistics(
  { across = {}, partitions }: HostPolicy,
  views: readonly View[],
): Record<string, number | Float32Array>[] {
  const reads = views.map((): Record<string, number | Float32Array> => ({}));
  const numbers = views.map((view) => {
    const count = (n: number | string = 0) => (typeof n === 'string' ? (view.params as Record<string, number>)[n] : n);
    const from = (view.pos as number) - count(partitions?.first);
    return from < 0 ? -1 : Math.floor(from / Math.max(1, count(partitions?.size)));
  });
  for (const [name, each] of Object.entries(across)) {
    const { kind, of, next } = isRanked(each) ? { kind: 'nth', of: each.of, next: false } : formOf(each);
    if (kind === 'softmax' || kind === 'rank') {
      const values = views.map((view, s) => of(view, reads[s]) as number);
      for (const [s, read] of reads.entries()) read[name] = placeOf(kind, s, values, numbers);
    } else if (next) {
      for (const [s, read] of reads.entries()) {
        const following = views.filter((_, other) => numbers[other] === numbers[s] + 1);
        read[name] = following.length ? statisticOf(each, following) : ofNone(kind, of(views[s]));
      }
    } else {
      const value = statisticOf(each, views);
      for (const read of reads) read[name] = value;
    }
  }
  return reads;
}

/** Softmax or rank of slot s among those of its partition. */
function placeOf(kind: string, s: number, values: readonly number[], numbers: readonly number[]): number {
  const own = values.map((x, i) => (numbers[i] === numbers[s] ? x : undefined));
  if (kind === 'softmax') {
    const most = reduce(
      'max',
      own.filter((x) => x !== undefined),
    ) as number;
    const powers = own.map((x) => (x === undefined ? 0 : math.exp(Math.fround(x - most))));
    return Math.fround(powers[s] / (reduce('sum', powers) as number));
  }
  return own.filter((x, i) => x !== undefined && (larger(x, values[s]) || (same(x, values[s]) && i > s))).length;
}

/** NaN is lowest, and equals itself. */
const larger = (a: number, b: number): boolean => (Number.isNaN(b) ? !Number.isNaN(a) : a > b);
const same = (a: number, b: number): boolean => a === b || (Number.isNaN(a) && Number.isNaN(b));

/** An extreme of no slots, shaped like `example`. */
function ofNone(kind: string, example: number | Float32Array): number | Float32Array {
  const none = kind === 'max' ? -Infinity : Infinity;
  return typeof example === 'number' ? none : example.map(() => none);
}

/** The reduction of a statistic, its function, and whether it is of the next partition. */
function formOf(each: Exclude<HostStatistic, { nth: unknown }>): { kind: string; of: OfSlot; next: boolean } {
  const [kind, of] = Object.entries(each).find(([, value]) => typeof value === 'function')!;
  return { kind, of: of as OfSlot, next: each.partition === 'next' };
}

/** An author's statistic over the slots as JavaScript sees them. */
function statisticOf(each: HostStatistic, views: readonly View[]): number | Float32Array {
  if (!isRanked(each)) {
    const { kind, of } = formOf(each);
    return reduce(
      kind,
      views.map((view) => of(view)),
    );
  }
  const n = typeof each.nth === 'string' ? (views[0].params as Record<string, number>)[each.nth] : each.nth;
  if (n === 0) return Infinity;
  const lowestFirst = Float32Array.from(views, (view) => (each.of(view) as number) + 0).sort(); // NaN comes last
  const nans = lowestFirst.filter(Number.isNaN).length;
  const rank = Math.min(n, views.length);
  return rank > views.length - nans ? Number.NaN : lowestFirst[views.length - nans - rank];
}

const isRanked = (each: HostStatistic): each is Extract<HostStatistic, { of: unknown; nth: unknown }> => 'nth' in each;

/** A statistic once more, from the language's words: sixteen interleaved sums, then a tree; extremes without NaN and -0. */
function reduce(kind: string, values: (number | Float32Array)[]): number | Float32Array {
  if (typeof values[0] !== 'number') {
    const vectors = values as Float32Array[];
    return vectors[0].map(
      (_, d) =>
        reduce(
          kind,
          vectors.map((vector) => vector[d]),
        ) as number,
    );
  }
  const list = values as number[];
  const real = list.filter((x) => !Number.isNaN(x));
  if (kind === 'max') return real.reduce((a, b) => Math.max(a, b), -Infinity) + 0;
  if (kind === 'min') return real.reduce((a, b) => Math.min(a, b), Infinity) + 0;
  const parts = Array.from({ length: 16 }, (_, part) => {
    let sum = 0;
    for (let s = part; s < list.length; s += 16) sum = Math.fround(sum + list[s]);
    return sum;
  });
  for (const width of [8, 4, 2, 1]) for (let i = 0; i < width; i++) parts[i] = Math.fround(parts[i] + parts[i + width]);
  const [sum] = parts;
  return kind === 'mean' ? Math.fround(sum / list.length) : sum;
}
