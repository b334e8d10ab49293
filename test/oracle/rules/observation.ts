/** Rules that look at what the last queries of the prompt attend to: SnapKV and its kin. */
import type { Cache, Entry, Kept, Rule } from '../forward.ts';
import { best, byPosition, each, mean, split, sum } from './decision.ts';
import { capacityOf } from './progression.ts';

interface Snap {
  budget: number;
  window: number;
  pool: { kind: 'mean' | 'max'; width: number };
}

/** Zero padding for the mean (it always divides by the width), none for the maximum. */
function pooled(scores: number[], { kind, width }: Snap['pool']): number[] {
  const half = (width - 1) / 2;
  return scores.map((_, i) => {
    const near = scores.slice(Math.max(0, i - half), i + half + 1);
    return kind === 'max' ? Math.max(...near) : sum(near) / width;
  });
}

/** The last `window` prompt queries' mass on the keys before them, group mean, pooled. */
function snapScores(entries: Entry[], snap: Snap, length: number) {
  const { old, always } = split(entries, snap.window, length);
  const scores = pooled(
    old.map((entry) => entry.mass),
    snap.pool,
  );
  return { candidates: old.map((entry, i) => ({ pos: entry.pos, score: scores[i] })), always };
}

/** Watches the last `window` prompt queries, and decides once, when the prompt ends. */
const atPromptEnd = (window: number, decide: (cache: Cache, length: number) => Kept): Rule => ({
  observe: (entries, p, { pos, prompt }) => {
    if (pos < prompt - window || pos >= prompt) return;
    entries.forEach((entry, j) => (entry.mass += mean(p[j])));
  },
  keep: (cache, { length, generated }) => (generated !== 0 ? undefined : decide(cache, length)),
});

export function snapkv(snap: Snap): Rule {
  return atPromptEnd(snap.window, (cache, length) =>
    each(cache, (entries) => {
      const { candidates, always } = snapScores(entries, snap, length);
      return best(candidates, snap.budget - always.length, always);
    }),
  );
}

/** SnapKV's mass, averaged over the layer's heads and over chunks of `size` positions: whole chunks, until one does not fit. */
export function chunkkv({ budget, window, size }: { budget: number; window: number; size: number }): Rule {
  return atPromptEnd(window, (cache, length) =>
    cache.map((heads) => {
      const { old, always } = split(heads[0], window, length);
      const scores = old.map((_, j) => mean(heads.map((entries) => entries[j].mass)));
      const numbers = [...new Set(old.map(({ pos }) => Math.floor(pos / size)))];
      const chunks = numbers.map((pos) => {
        const members = scores.filter((_, j) => Math.floor(old[j].pos / size) === pos);
        return { pos, score: mean(members), members: members.length };
      });
      const ranked = [...chunks].sort((a, b) => b.score - a.score || b.pos - a.pos);
      let room = budget - always.length;
      const fits = ranked.findIndex(({ members }) => (room -= members) < 0);
      const chosen = best(chunks, fits < 0 ? ranked.length : fits, []);
      const stay = old.map(({ pos }) => pos).filter((pos) => chosen.positions.includes(Math.floor(pos / size)));
      const margin = new Map(old.map(({ pos }) => [pos, chosen.margin.get(Math.floor(pos / size))!]));
      return heads.map(() => ({ positions: [...stay, ...always].sort(byPosition), margin }));
    }),
  );
}

/** SnapKV with an arithmetic progression of budgets, most in the lowest layer. */
export function pyramidkv(snap: Snap & { beta: number; layers: number }): Rule {
  return atPromptEnd(snap.window, (cache, length) =>
    each(cache, (entries, layer) => {
      const { candidates, always } = snapScores(entries, snap, length);
      return best(candidates, capacityOf(snap, length, layer), always);
    }),
  );
}

/** SnapKV scores; heads of a layer share H · capacity slots by what wins in the flattened list, with a floor. */
export function adakv(snap: Snap & { alpha: number }): Rule {
  return atPromptEnd(snap.window, (cache, length) =>
    cache.map((heads) => {
      const scored = heads.map((entries) => snapScores(entries, snap, length));
      const capacity = snap.budget - scored[0].always.length;
      const flat = scored
        .flatMap(({ candidates }, head) => candidates.map((entry) => ({ ...entry, head })))
        .sort((a, b) => b.score - a.score || b.pos - a.pos)
        .slice(0, heads.length * capacity);
      return scored.map(({ candidates, always }, head) => {
        const wins = flat.filter((entry) => entry.head === head).length;
        return best(candidates, Math.floor((1 - snap.alpha) * wins + snap.alpha * capacity + 0.5), always);
      });
    }),
  );
}

/** SnapKV scores; each head's best, a part of its budget with the window, are safe, the others of all heads compete. */
export function adasnapkv(snap: Snap & { guaranteed: number }): Rule {
  return atPromptEnd(snap.window, (cache, length) =>
    cache.map((heads) => {
      const scored = heads.map((entries) => snapScores(entries, snap, length));
      const capacity = snap.budget - scored[0].always.length;
      const safe = Math.floor(snap.guaranteed * snap.budget) - scored[0].always.length;
      const flat = scored
        .flatMap(({ candidates }, head) =>
          [...candidates]
            .sort((a, b) => b.score - a.score || b.pos - a.pos)
            .map((entry, rank) => ({ ...entry, head, lifted: rank < safe ? 1 : 0 })),
        )
        .sort((a, b) => b.lifted - a.lifted || b.score - a.score || b.pos - a.pos)
        .slice(0, heads.length * capacity);
      return scored.map(({ candidates, always }, head) =>
        best(candidates, flat.filter((entry) => entry.head === head).length, always),
      );
    }),
  );
}
