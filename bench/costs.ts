/**
 * What a policy costs and saves: its prompt beside the full cache's, and its decode steps beside those of as many slots
 * without a policy. A step lasts milliseconds and a shared machine's speed changes within seconds, so all subjects
 * generate at the same time in slices: one runs for SLICE while the others are stopped, in turn, and each is compared with
 * the base in its own round.
 */
import { setTimeout } from 'node:timers/promises';
import type { Child } from './child.ts';
import { interleave, median, quantile, spread } from './measure.ts';
import type { SkvWork, SkvWorked } from './peers/skv.ts';
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

const prompt = (length: number, count: number, tell = false): SkvWork => ({ prompts: [[0, length]], count, tell });

/** Sends work, and stops the subject again when it is done. */
async function alone<T>({ child }: Subject, work: SkvWork): Promise<T> {
  child.wake();
  const answer = await child.ask<T>(work);
  child.rest();
  return answer;
}

/** Median milliseconds from a step's end to the next one's, of those that lie in a slice; NaN of fewer than two. */
const stepOf = (ticks: readonly number[], [from, to]: [number, number]): number => {
  const inside = ticks.filter((tick) => tick >= from && tick <= to);
  return median(inside.slice(1).map((tick, i) => tick - inside[i]));
};

/** Steps of `count` tokens in slices: [subject][round], in milliseconds, of rounds in which all were generating. */
async function sliced(subjects: readonly Subject[], count: number): Promise<number[][]> {
  const left = new Set<Subject>(subjects);
  const done: Promise<SkvWorked>[] = [];
  for (const subject of subjects) {
    await alone(subject, prompt(subject.length, count, true));
    done.push(
      subject.child.hear<SkvWorked>().finally(() => {
        left.delete(subject);
      }),
    );
  }
  const rounds: [number, number][][] = [];
  while (left.size > 0) {
    const round: [number, number][] = [];
    for (const subject of subjects) {
      if (!left.has(subject)) continue;
      const from = Date.now();
      subject.child.wake();
      await Promise.race([setTimeout(SLICE), done[subjects.indexOf(subject)]]);
      subject.child.rest();
      round.push([from, Date.now()]);
    }
    if (left.size === subjects.length) rounds.push(round);
  }
  const worked = await Promise.all(done);
  return worked.map(({ ticks }, i) => rounds.map((round) => stepOf(ticks, round[i])));
}

/** Median and quartiles of a subject's rounds over the base's. */
function ratio(of: readonly number[], base: readonly number[]) {
  const each = of.map((value, i) => value / base[i]).filter(Number.isFinite);
  return { median: quantile(each, 0.5), low: quantile(each, 0.25), high: quantile(each, 0.75), n: each.length };
}

/**
 * `full` and `base` run without a policy, on the whole prompt and on a context as long as what `policies` keep. Runs
 * `runs` prompts each, in turns, then `runs` times `count` tokens in slices.
 */
export async function costs(
  full: Subject,
  base: Subject,
  policies: readonly Subject[],
  runs: number,
  count: number,
  progress: (line: string) => void,
): Promise<{ table: Table; data: unknown }> {
  const prompted = await interleave([full, ...policies], runs, (subject) =>
    alone<SkvWorked>(subject, prompt(subject.length, 1)),
  );
  const prefill = (subject: Subject) => prompted.get(subject)!.map(({ first }) => first[0] * 1000);
  const all = [base, full, ...policies];
  const steps = all.map((): number[] => []);
  // the base grows over the budget's length while it generates: half of it on either side
  const subjects = all.map((subject) =>
    subject === base ? { ...base, length: base.length - Math.floor(count / 2) } : subject,
  );
  for (let run = 0; run < runs; run++) (await sliced(subjects, count)).forEach((each, i) => steps[i].push(...each));
  const cost = ({ median, low, high, n }: ReturnType<typeof ratio>) =>
    `${percent(median - 1)} (${percent(low - 1)} … ${percent(high - 1)}), ${n}`;
  const rows = all.map((subject, i): Cell[] => {
    const times = spread(steps[i].filter(Number.isFinite));
    const over = ratio(steps[i], steps[0]);
    progress(`${subject.name}: ${figure(times.median)} ms a step`);
    return [
      subject.name,
      subject === base ? undefined : ranged(spread(prefill(subject))),
      policies.includes(subject) ? ratio(prefill(subject), prefill(full)).median : undefined,
      ranged(times),
      ratio(steps[1], steps[i]).median,
      policies.includes(subject) ? cost(over) : undefined,
      subject === base ? undefined : prefill(subject).length,
    ];
  });
  return {
    table: {
      title: `What a policy costs and saves, ${full.length} tokens of context, one sequence`,
      head: [
        '',
        'prefill, ms (range)',
        '÷ full cache',
        'decode step, ms (range)',
        'full cache ÷ this',
        `cost over ${base.length} slots without a policy (quartiles), n`,
        'n of prompts',
      ],
      rows,
    },
    data: all.map(({ name }, i) => ({ name, steps: steps[i], prefill: i ? prefill(all[i]) : undefined })),
  };
}
