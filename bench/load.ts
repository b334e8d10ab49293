/** An open-loop load: arrivals do not wait for answers, as users do not. */
import { random } from '../codegen/oracle/random.ts';

/** Lengths of prompts or answers: fixed, uniform over a range, or log-normal around a median. */
export type Lengths =
  | { kind: 'fixed'; value: number }
  | { kind: 'uniform'; low: number; high: number }
  | { kind: 'lognormal'; median: number; sigma: number; most: number };

export interface LoadSpec {
  /** requests a second */
  rate: number;
  requests: number;
  prompt: Lengths;
  output: Lengths;
  /** policy and weight; each request draws one */
  policies: { name: string; params?: Record<string, number>; weight: number }[];
  seed: number;
}

export interface Arrival {
  /** seconds after the start */
  at: number;
  prompt: number;
  output: number;
  /** index into the policies */
  policy: number;
  /** where in the text its prompt begins, as a fraction */
  from: number;
}

/** `512`, `128-2048`, or `lognormal:512,0.8,4096` (median, sigma of the logarithm, most). Throws with what is possible. */
export function parseLengths(flag: string, text: string): Lengths {
  const whole = (part: string | undefined) =>
    part !== undefined && /^[1-9]\d*$/.test(part) ? Number(part) : undefined;
  const fixed = whole(text);
  if (fixed) return { kind: 'fixed', value: fixed };
  const [low, high] = text.split('-').map(whole);
  if (low && high && low <= high && text.split('-').length === 2) return { kind: 'uniform', low, high };
  const [, median, sigma, most] = text.match(/^lognormal:(\d+),([\d.]+),(\d+)$/) ?? [];
  if (whole(median) && Number(sigma) > 0 && whole(most))
    return { kind: 'lognormal', median: Number(median), sigma: Number(sigma), most: Number(most) };
  throw new RangeError(`--${flag} ${text}: write 512, 128-2048, or lognormal:512,0.8,4096 (median, sigma, most).`);
}

export function draw(lengths: Lengths, next: () => number): number {
  switch (lengths.kind) {
    case 'fixed':
      return lengths.value;
    case 'uniform':
      return lengths.low + Math.floor(next() * (lengths.high - lengths.low + 1));
    case 'lognormal': {
      const normal = Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
      return Math.max(1, Math.min(lengths.most, Math.round(lengths.median * Math.exp(lengths.sigma * normal))));
    }
  }
}

/** A Poisson process: gaps are exponential with mean 1 / rate. The same seed gives the same requests at every rate, at other times. */
export function arrivals({ rate, requests, prompt, output, policies, seed }: LoadSpec): Arrival[] {
  const [gaps, sizes] = [random(seed), random(seed ^ 0x5bd1e995)];
  const total = policies.reduce((sum, { weight }) => sum + weight, 0);
  let at = 0;
  return Array.from({ length: requests }, () => {
    at += -Math.log(1 - gaps()) / rate;
    const [promptLength, outputLength, from] = [draw(prompt, sizes), draw(output, sizes), sizes()];
    let left = sizes() * total;
    let policy = policies.findIndex(({ weight }) => (left -= weight) < 0);
    if (policy < 0) policy = policies.length - 1;
    return { at, prompt: promptLength, output: outputLength, policy, from };
  });
}
