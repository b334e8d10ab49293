/**
 * Which slots of a layer stay: pool, heads, window and keep in plain loops, the living definition beside interpret.ts.
 * Scores are f32 and every sum runs in the order written here, as in the kernels.
 */
import { TokenClass } from '../../runtime/contract/records.ts';
import { reduced } from '../ir/interpret.ts';
import type { Policy, Profile, Rule, Size } from '../ir/nodes.ts';

/** One KV head's slots in slot order; all arrays have one entry a slot. */
export interface HeadSlots {
  readonly positions: ArrayLike<number>;
  /** what the policy's score gave, before pool and heads */
  readonly scores: ArrayLike<number>;
  /** bits of TokenClass; absent: none */
  readonly classes?: ArrayLike<number>;
  /** the state that a profile counts */
  readonly mass?: ArrayLike<number>;
}

/** What the engine resolved for one row and layer. */
export interface Limits {
  /** slots to keep per KV head, protected ones included unless the policy keeps it besides them */
  readonly budget: number;
  readonly first: number;
  readonly last: number;
  /** logical length of the sequence, and of its prompt */
  readonly length: number;
  readonly prompt: number;
  /** of keep above, or what a rule of a profile must reach */
  readonly threshold?: number;
  /** parameters that the sizes of a profile name */
  readonly params?: Readonly<Record<string, number>>;
  /** the rules that heads took at their prompt's end; absent: this is it */
  readonly rules?: readonly number[];
}

/** A head while it is decided. `candidates`: slots that compete, in slot order; `score` is theirs. */
interface Contest {
  readonly head: HeadSlots;
  readonly candidates: readonly number[];
  score: Float32Array;
}

const f = Math.fround;

/** Slots of each head that stay, ascending. */
export function select(policy: Policy, heads: readonly HeadSlots[], limits: Limits): number[][] {
  if (policy.keep.kind === 'all') return heads.map((head) => Array.from(head.positions, (_, slot) => slot));
  const contests = heads.map((head) => contestOf(policy, head, limits));
  if (policy.heads.kind === 'shared') sharedScores(contests);
  if (policy.keep.kind === 'profile') {
    const taken = limits.rules ?? rulesTaken(policy, heads, limits);
    const { rules } = policy.keep;
    return contests.map((contest, h) => keptBy(policy, rules[taken[h]], contest, limits));
  }
  const won = policy.heads.kind === 'pooled' ? winners(policy, contests, limits.budget) : [];
  return contests.map((contest, h) => {
    const stay = new Set(keep(policy, contest, limits, won[h]));
    const lost = new Set(contest.candidates.filter((_, i) => !stay.has(i)));
    return Array.from(contest.head.positions, (_, slot) => slot).filter((slot) => !lost.has(slot));
  });
}

function contestOf(policy: Policy, head: HeadSlots, limits: Limits): Contest {
  const candidates = Array.from(head.positions, (_, slot) => slot).filter(
    (slot) => !isProtected(policy, head, slot, limits),
  );
  const score = Float32Array.from(candidates, (slot) => head.scores[slot]);
  return { head, candidates, score: policy.pool ? pool(score, policy.pool) : score };
}

/** The window: never evicted, whatever the score. */
function isProtected({ window }: Policy, head: HeadSlots, slot: number, limits: Limits): boolean {
  const pos = head.positions[slot];
  if (pos < limits.first || pos >= limits.length - limits.last) return true;
  if (window.prompt && pos < limits.prompt) return true;
  const bits = window.classes.reduce((sum, name) => sum | TokenClass[name], 0);
  return ((head.classes?.[slot] ?? 0) & bits) !== 0;
}

/** Over neighbouring candidates: the mean counts 0 beyond the ends and divides by the width; the maximum leaves them out. */
function pool(score: Float32Array, { kind, width }: NonNullable<Policy['pool']>): Float32Array {
  const half = (width - 1) / 2;
  return score.map((_, i) => {
    const near = score.subarray(Math.max(0, i - half), i + half + 1);
    const value = near.reduce((a, b) => (kind === 'mean' ? f(a + b) : b > a ? b : a));
    return kind === 'mean' ? f(value / width) : value;
  });
}

/** heads: 'shared': every head takes the mean of the heads' scores. Heads that share hold the same slots. */
function sharedScores(contests: readonly Contest[]): void {
  const mean = contests[0].score.map((first, i) => {
    const sum = contests.slice(1).reduce((total, contest) => f(total + contest.score[i]), first);
    return f(sum / contests.length);
  });
  for (const contest of contests) contest.score = mean;
}

/** Negative when a leaves before b: by score, NaN first, -0 equal to 0; then the older. */
function before(aScore: number, aPos: number, bScore: number, bPos: number): number {
  const [aNaN, bNaN] = [Number.isNaN(aScore), Number.isNaN(bScore)];
  if (aNaN || bNaN) return aNaN && bNaN ? aPos - bPos : aNaN ? -1 : 1;
  return aScore === bScore ? aPos - bPos : aScore < bScore ? -1 : 1;
}

/**
 * heads: pooled: how many of a layer's best candidates each head holds, of as many as the heads have places together. Those that
 * are guaranteed to a head come before all.
 */
function winners(policy: Policy, contests: readonly Contest[], budget: number): number[] {
  const all = contests.flatMap((contest, h) => {
    const { head, candidates, score } = contest;
    return candidates
      .map((slot, i) => ({ h, pos: head.positions[slot], score: score[i] }))
      .sort((a, b) => before(b.score, b.pos, a.score, a.pos))
      .map((each, rank) => ({ ...each, own: rank < guaranteed(policy, contest, budget) }));
  });
  all.sort((a, b) => Number(b.own) - Number(a.own) || before(b.score, b.pos, a.score, a.pos) || b.h - a.h); // best first
  const total = contests.reduce((sum, contest) => sum + places(policy, contest, budget), 0);
  const best = all.slice(0, total);
  return contests.map((_, h) => best.filter((each) => each.h === h).length);
}

/** Candidates that stay whatever other heads have: a part of the head's budget, in which its protected slots count. */
function guaranteed({ keep, heads }: Policy, { head, candidates }: Contest, budget: number): number {
  if (heads.kind !== 'pooled' || !heads.guaranteed) return 0;
  const spared = head.positions.length - candidates.length;
  const all = 'budget' in keep && keep.besides ? budget + spared : budget;
  return Math.floor(heads.alpha * all) - spared;
}

/** Places a head has for its candidates. */
function places({ keep }: Policy, { head, candidates }: Contest, budget: number): number {
  const besides = 'budget' in keep && keep.besides !== undefined;
  return besides ? budget : Math.max(0, budget - (head.positions.length - candidates.length));
}

/** Indices of the candidates that stay. */
function keep(policy: Policy, contest: Contest, limits: Limits, won: number): number[] {
  const { head, candidates, score } = contest;
  const positions = candidates.map((slot) => head.positions[slot]);
  const indices = candidates.map((_, i) => i);
  let count = places(policy, contest, limits.budget);
  switch (policy.keep.kind) {
    case 'all':
    case 'profile': // its own way, above
      return indices;
    case 'above':
      return indices.filter((i) => score[i] > limits.threshold!);
    case 'chunks':
      return count >= indices.length ? indices : keepChunks(positions, score, policy.keep.size, count);
    case 'topK':
      if (policy.heads.kind === 'pooled')
        count = policy.heads.guaranteed
          ? won
          : Math.floor((1 - policy.heads.alpha) * won + policy.heads.alpha * count + 0.5);
      return indices.sort((a, b) => before(score[b], positions[b], score[a], positions[a])).slice(0, count);
  }
}

/** Whole chunks of `size` positions, best mean first, until one does not fit. Ties: the newer chunk stays. */
function keepChunks(positions: readonly number[], score: Float32Array, size: number, count: number): number[] {
  const found = new Map<number, number[]>();
  positions.forEach((pos, i) => {
    const chunk = Math.floor(pos / size);
    found.set(chunk, [...(found.get(chunk) ?? []), i]);
  });
  const ranked = [...found.values()]
    .map((members) => ({ members, mean: f(members.reduce((sum, i) => f(sum + score[i]), 0) / members.length) }))
    .sort((a, b) => before(b.mean, b.members[0], a.mean, a.members[0]));
  const stay: number[] = [];
  for (const { members } of ranked) {
    if (stay.length + members.length > count) break;
    stay.push(...members);
  }
  return stay;
}

/** A size as slots: a fraction of the length is one at least. */
function slotsOf({ params }: Policy, size: Size, { length, params: given = {} }: Limits): number {
  if ('tokens' in size) return size.tokens;
  const value = given[size.param];
  const { kind } = params.find(({ name }) => name === size.param)!;
  return kind === 'fraction' ? Math.max(1, Math.floor(f(value) * length + 0.5)) : value;
}

/** Slots that a rule of a profile keeps, ascending; without a rule, everything. */
function keptBy(
  policy: Policy,
  rule: Rule | undefined,
  { head, candidates, score }: Contest,
  limits: Limits,
): number[] {
  const all = Array.from(head.positions, (_, slot) => slot);
  if (!rule) return all;
  const bits = rule.classes.reduce((sum, name) => sum | TokenClass[name], 0);
  const recent = limits.length - slotsOf(policy, rule.last, limits);
  const others = candidates
    .map((slot, i) => ({ slot, pos: head.positions[slot], score: score[i] }))
    .filter(({ slot, pos }) => ((head.classes?.[slot] ?? 0) & bits) === 0 && pos < recent);
  others.sort((a, b) => before(b.score, b.pos, a.score, a.pos)); // best first
  const lost = new Set(others.slice(slotsOf(policy, rule.top, limits)).map(({ slot }) => slot));
  return all.filter((slot) => !lost.has(slot));
}

/** The mass of some slots, summed as a statistic over the head's, others absent. */
const massOf = ({ positions, mass }: HeadSlots, counts: (slot: number) => boolean): number =>
  reduced(
    'sum',
    Array.from(positions, (_, slot) => (counts(slot) ? mass![slot] : 0)),
  );

/** The number of the rule that each head takes: the first that loses little enough of its mass; the last is everything. */
export function rulesTaken(policy: Policy, heads: readonly HeadSlots[], limits: Limits): number[] {
  const { rules } = policy.keep as Profile;
  const part = f(limits.threshold!);
  return heads.map((head) => {
    const contest = contestOf(policy, head, limits);
    const most = f(f(1 - part) * massOf(head, () => true));
    const found = rules.findIndex((rule) => {
      const kept = new Set(keptBy(policy, rule, contest, limits));
      return part < 1 && massOf(head, (slot) => !kept.has(slot)) <= most;
    });
    return found < 0 ? rules.length : found;
  });
}
