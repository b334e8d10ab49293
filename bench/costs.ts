/**
 * What a policy costs and saves: its prompt beside the full cache's, and its decode steps beside those of as many slots
 * without a policy. A shared machine's speed changes within seconds, so all subjects work at the same time and in turns,
 * the others stopped: first chunk by chunk of their prompts, then generating, a slice of time each, and every slice is
 * compared with the base's of the same round.
 */
import { setTimeout } from 'node:timers/promises';
import type { Child } from './child.ts';
import { median, quantile, spread } from './measure.ts';
import type { SkvTold, SkvWork, SkvWorked } from './peers/skv.ts';
import { type Cell, type Table, figure, percent, ranged } from './report.ts';

/** An engine in a process of its own. */
export interface Subject {
  name: string;
  child: Child;
  /** tokens of its prompt */
  length: number;
}

/** Milliseconds that a subject runs before the next one does. */
const SLICE = 50;

/** From waking a subject to stopping it, in milliseconds of the wall clock. */
type Turn = [number, number];

const now = () => performance.timeOrigin + performance.now();

/** Lets a subject run until a promise has settled. */
async function turn<T>({ child }: Subject, until: Promise<T>): Promise<[T, Turn]> {
  const from = now();
  return [await child.until(until), [from, now()]];
}

/** Milliseconds that a subject ran until a moment. */
const ran = (turns: readonly Turn[], until: number): number =>
  turns.reduce((sum, [from, to]) => sum + Math.max(0, Math.min(to, until) - from), 0);

/** Median milliseconds from a step's end to the next one's, of those that lie in a turn; NaN of fewer than two. */
const stepOf = (ticks: readonly number[], [from, to]: Turn): number => {
  const inside = ticks.filter((tick) => tick >= from && tick <= to);
  return median(inside.slice(1).map((tick, i) => tick - inside[i]));
};

/** What a subject did in its turns, in milliseconds. */
interface Timed {
  prompt: number;
  /** of a step, in every round */
  steps: number[];
  /** of all rounds together, and the steps that ended in them: rare long steps count */
  total: number;
  ended: number;
  /** of a head's pages in use, as a median of the steps */
  slots: number;
}

/** One prompt and `count` tokens of each subject. */
async function inTurns(subjects: readonly Subject[], count: number): Promise<Timed[]> {
  const turns = subjects.map((): Turn[] => []);
  const told = subjects.map(({ child, length }) => {
    const work: SkvWork = { prompts: [[0, length]], count, tell: true };
    return child.ask<SkvTold>(work);
  });
  const begun = subjects.map(() => false);
  while (begun.includes(false))
    for (const [i, subject] of subjects.entries()) {
      if (begun[i]) continue;
      const [answer, span] = await turn(subject, told[i]);
      turns[i].push(span);
      begun[i] = answer.begun;
      if (!begun[i]) told[i] = subject.child.hear();
    }
  const prompted = turns.map(({ length }) => length);
  let left = subjects.length;
  const done = subjects.map(async ({ child }) => {
    const worked = await child.hear<SkvWorked>();
    left--;
    return worked;
  });
  let rounds = 0; // in which all generated
  for (; left === subjects.length; rounds++)
    for (const [i, subject] of subjects.entries())
      turns[i].push((await turn(subject, Promise.race([setTimeout(SLICE), done[i]])))[1]);
  for (const { child } of subjects) child.wake();
  const worked = await Promise.all(done);
  for (const { child } of subjects) child.rest();
  return worked.map(({ ticks, promptSteps, slots = Number.NaN }, i) => {
    const generating = turns[i].slice(prompted[i], prompted[i] + rounds - 1); // somebody ended in the last one
    return {
      prompt: ran(turns[i], ticks[promptSteps - 1]),
      steps: generating.map((each) => stepOf(ticks, each)),
      total: ran(generating, Infinity),
      ended: ticks.filter((tick) => generating.some(([from, to]) => tick >= from && tick <= to)).length,
      slots,
    };
  });
}

/** Median and quartiles of a subject's rounds over the base's. */
function ratio(of: readonly number[], base: readonly number[]) {
  const each = of.map((value, i) => value / base[i]).filter(Number.isFinite);
  return { median: quantile(each, 0.5), low: quantile(each, 0.25), high: quantile(each, 0.75), n: each.length };
}

/**
 * `full` and `base` run without a policy, on the whole prompt and on a context as long as what `policies` keep. Each
 * subject reads `runs` prompts and generates `count` tokens after each.
 */
export async function costs(
  full: Subject,
  base: Subject,
  policies: readonly Subject[],
  runs: number,
  count: number,
  progress: (line: string) => void,
): Promise<{ table: Table; data: unknown }> {
  const all = [base, full, ...policies];
  // the base grows over the budget's length while it generates: half of it on either side
  const subjects = all.map((subject) =>
    subject === base ? { ...base, length: base.length - Math.floor(count / 2) } : subject,
  );
  const steps = all.map((): number[] => []);
  const prompts = all.map((): number[] => []);
  const slots = all.map((): number[] => []);
  const whole = all.map(() => ({ total: 0, ended: 0 }));
  for (let run = 0; run < runs; run++)
    for (const [i, each] of (await inTurns(subjects, count)).entries()) {
      steps[i].push(...each.steps);
      prompts[i].push(each.prompt);
      slots[i].push(each.slots);
      whole[i].total += each.total;
      whole[i].ended += each.ended;
    }
  const means = whole.map(({ total, ended }) => total / ended);
  const cost = ({ median, low, high, n }: ReturnType<typeof ratio>) =>
    `${percent(median - 1)} (${percent(low - 1)} … ${percent(high - 1)}), ${n}`;
  const rows = all.map((subject, i): Cell[] => {
    const times = spread(steps[i].filter(Number.isFinite));
    progress(`${subject.name}: ${figure(times.median)} ms a step`);
    return [
      subject.name,
      subject === base ? undefined : ranged(spread(prompts[i])),
      policies.includes(subject) && subject.length === full.length ? cost(ratio(prompts[i], prompts[1])) : undefined,
      Math.round(median(slots[i])),
      ranged(times),
      ratio(steps[1], steps[i]).median,
      policies.includes(subject) ? cost(ratio(steps[i], steps[0])) : undefined,
      policies.includes(subject) ? percent(means[i] / means[0] - 1) : undefined,
    ];
  });
  return {
    table: {
      title: `What a policy costs and saves, ${full.length} tokens of context, one sequence`,
      head: [
        '',
        'prompt, ms (range)',
        'cost over the full cache (quartiles), n',
        'slots of a head’s pages',
        'decode step, ms (range)',
        'full cache ÷ this',
        `cost over ${base.length} slots without a policy (quartiles), n`,
        'of the mean step, rare compactions included',
      ],
      rows,
    },
    data: all.map(({ name }, i) => ({ name, prompts: prompts[i], steps: steps[i], mean: means[i] })),
  };
}
