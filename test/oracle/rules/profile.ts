/** The rule that picks a rule for each head: FastGen. */
import type { Entry, Rule } from '../forward.ts';
import { best, each, mean, sum } from './decision.ts';

interface FastGen {
  recovers: number;
  frequent: number;
  recent: number;
  sinks: number;
  /** of the token at a position */
  classOf: (pos: number) => number;
}

/** At the prompt's end the first of five sets that has `recovers` of its queries' attention; then that set's rule. */
export function fastgen({ recovers, frequent, recent, sinks, classOf }: FastGen): Rule {
  const taken = new Map<string, number>();
  /** what rules 0 … 3 keep of some entries */
  const sets = (entries: Entry[], length: number) => {
    const slots = (part: number) => Math.max(1, Math.round(part * length));
    const set = (bits: number, top: number, last: number) => {
      const always = ({ pos }: Entry) => pos < sinks || (classOf(pos) & bits) !== 0 || pos >= length - last;
      return best(
        entries.filter((entry) => !always(entry)).map(({ pos, seen }) => ({ pos, score: mean(seen!) })),
        top,
        entries.filter(always).map(({ pos }) => pos),
      );
    };
    return [set(1, 0, 0), set(3, 0, 0), set(3, slots(frequent), 0), set(3, slots(frequent), slots(recent))];
  };
  const everything = (entries: Entry[]) => ({ positions: entries.map(({ pos }) => pos), margin: new Map() });
  return {
    observe: (entries, p) => entries.forEach((entry, j) => (entry.seen ??= []).push(sum(p[j]))),
    keep: (cache, { length, generated }) =>
      generated < 0 || generated % 16 !== 0
        ? undefined
        : each(cache, (entries, layer, head) => {
            const mass = (positions: number[]) =>
              sum(entries.filter(({ pos }) => positions.includes(pos)).map(({ seen }) => sum(seen!)));
            const all = mass(entries.map(({ pos }) => pos));
            const kept = sets(entries, length);
            const enough = kept.findIndex(({ positions }) => mass(positions) >= recovers * all);
            if (generated === 0) taken.set(`${layer} ${head}`, enough);
            return kept[taken.get(`${layer} ${head}`)!] ?? everything(entries);
          }),
  };
}
