/** Statistics of repeated measurements, and the order in which subjects take turns. */

/** What is printed of a sample: never a mean, which one bad moment of a shared machine moves. */
export interface Spread {
  n: number;
  median: number;
  min: number;
  max: number;
}

/** The q-th quantile (0 … 1) with linear interpolation; NaN of nothing. */
export function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) return Number.NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const low = Math.floor(at);
  return sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

export function spread(values: readonly number[]): Spread {
  return { n: values.length, median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/**
 * Every subject once a round, in an order that turns by one each round: slow minutes of the machine fall on all of them,
 * and nobody always follows the same neighbour. Returns the values by subject.
 */
export async function interleave<S, V>(
  subjects: readonly S[],
  runs: number,
  run: (subject: S, round: number) => Promise<V> | V,
): Promise<Map<S, V[]>> {
  const seen = new Map<S, V[]>(subjects.map((subject) => [subject, []]));
  for (let round = 0; round < runs; round++)
    for (let i = 0; i < subjects.length; i++) {
      const subject = subjects[(i + round) % subjects.length];
      seen.get(subject)!.push(await run(subject, round));
    }
  return seen;
}
