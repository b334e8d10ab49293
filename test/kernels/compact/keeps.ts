/** What stays other than the k best: whole chunks, what is above a threshold, what a rule of a profile names. */
import * as assert from 'uvu/assert';
import { check } from '../../../codegen/front/check.ts';
import { type HeadSlots, rulesTaken, select } from '../../../codegen/oracle/select.ts';
import { MAX_PARAMS } from '../../../runtime/contract/records.ts';
import { type ReadAnswer, type Step, floats } from '../driver.ts';
import { type Setting, base, carried, chunk, heads, positionsOf } from './setting.ts';

export function keepCases({ test, run, written }: Setting): void {
  test('chunks stay or leave whole, best mean first; classes and the prompt are protected', async () => {
    const shape = base('f32');
    const { library, plan } = await written(
      'byChunk',
      shape,
      `
import { chunks, definePolicy, norm, over } from 'skv';
export default definePolicy({
  name: 'by-chunk', score: (slot) => norm(slot.key), keep: chunks(5, 24), window: { last: 3, classes: ['special'] }, when: over(0),
});`,
    );
    assert.equal(plan.lanes, ['pos', 'class']);
    const step = chunk(shape, 9, 0, 61, { compact: true, window: [0, 3] }, 24);
    step.classes = Array.from({ length: 61 }, (_, i) => (i === 8 || i === 40 ? 1 : i % 7 === 0 ? 2 : 0));
    const { reads } = run(library, 2, shape, [step, ...heads(shape)]);
    reads.forEach((head, h) => {
      const score = (slot: number) =>
        Math.hypot(...step.layers[0].k.subarray((slot * 2 + h) * 64, (slot * 2 + h + 1) * 64));
      const always = [8, 40, 58, 59, 60];
      const groups = Array.from({ length: 12 }, (_, g) =>
        [0, 1, 2, 3, 4].map((i) => 5 * g + i).filter((slot) => !always.includes(slot)),
      );
      const mean = (group: number[]) => group.reduce((sum, slot) => sum + score(slot), 0) / group.length;
      const stay = [...always];
      for (const group of [...groups].sort((x, y) => mean(y) - mean(x))) {
        if (stay.length + group.length > 24) break;
        stay.push(...group);
      }
      assert.equal(
        Array.from(head.lanes[0]),
        stay.sort((x, y) => x - y),
      );
    });
  });

  test('above keeps what scores more than its threshold, the prompt and the first', async () => {
    const shape = base('f32');
    const { library } = await written(
      'loud',
      shape,
      `
import { above, definePolicy, norm, over } from 'skv';
export default definePolicy({ name: 'loud', score: (slot) => norm(slot.key), keep: above(7.8), window: { first: 2, prompt: true }, when: over(0) });`,
    );
    const row = { compact: true, prompt: 20, window: [2, 0] as [number, number] };
    const step = chunk(shape, 10, 0, 70, row);
    const { reads } = run(library, 1, shape, [step, ...heads(shape)]);
    reads.forEach((head, h) => {
      const stay = Array.from({ length: 70 }, (_, slot) => slot).filter(
        (slot) =>
          slot < 20 || Math.hypot(...step.layers[0].k.subarray((slot * 2 + h) * 64, (slot * 2 + h + 1) * 64)) > 7.8,
      );
      assert.ok(stay.length > 22 && stay.length < 68, `the threshold divides: ${stay.length}`);
      assert.equal(positionsOf(head), stay);
    });
  });

  test('a profile: each head takes the cheapest rule that keeps enough at the prompt’s end, and generates by it', async () => {
    const shape = base('f32', { kvHeads: 4 });
    const { library, plan, file } = await written(
      'profiled',
      shape,
      `
import { definePolicy, every, everything, fraction, number, profile, tokens } from 'skv';
export default definePolicy({
  name: 'profiled', params: { part: number(0.5, { min: 0, max: 1 }), best: fraction(0.2), recent: tokens(9) },
  observe: 'every', group: 'sum', accumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn } },
  score: (slot) => slot.mass / slot.seen, window: { first: 2 },
  keep: profile('part', 'mass', [
    { classes: ['special'] }, { classes: ['special', 'punctuation'] }, { classes: ['special', 'punctuation'], top: 'best' },
    { classes: ['special', 'punctuation'], top: 'best', last: 'recent' }, everything,
  ]), when: every(16),
});`,
    );
    const { policy } = check(file);
    const [prompt, length] = [75, 92];
    const classOf = (pos: number) => (pos % 11 === 5 ? 1 : pos % 7 === 3 ? 2 : 0);
    const met = new Set<number>();
    for (const part of [0, 0.3, 0.6, 0.8, 1]) {
      const params = Float32Array.from({ length: MAX_PARAMS }, (_, i) => [part, 0.2, 9][i] ?? 0);
      const step = (from: number, to: number, compact: boolean): Step => ({
        ...chunk(shape, from + 1, from, to, { prompt, observe: [from, to], window: [2, 0], compact }),
        classes: Array.from({ length: to - from }, (_, i) => classOf(from + i)),
        params,
      });
      /** The heads after the prompt, and after all tokens, with or without the compaction that is looked at. */
      const after = (compacted: number) => {
        const generated = Array.from({ length: length - prompt }, (_, i) =>
          step(prompt + i, prompt + i + 1, compacted > 1 && prompt + i + 1 === length),
        );
        const ops = [step(0, 40, false), step(40, prompt, compacted > 0), ...(compacted < 0 ? [] : generated)];
        return run(library, plan.lanes.length, shape, [...ops, ...heads(shape)]).reads;
      };
      const slotsOf = ({ lanes }: ReadAnswer, at: number): HeadSlots => {
        const mass = floats(lanes[plan.lanes.indexOf('mass')]);
        const positions = [...lanes[0]];
        return {
          positions,
          scores: mass.map((x, s) => x / (at - positions[s])),
          classes: positions.map(classOf),
          mass,
        };
      };
      const limits = { budget: 0, first: 2, last: 0, prompt, threshold: part, params: { best: 0.2, recent: 9 } };
      const begun = after(-1).map((head) => slotsOf(head, prompt));
      const rules = rulesTaken(policy, begun, { ...limits, length: prompt });
      const grown = after(1);
      const expected = select(
        policy,
        grown.map((head) => slotsOf(head, length)),
        { ...limits, length, rules },
      );
      after(2).forEach((head, h) => {
        const kept = expected[h].map((slot) => grown[h].lanes[0][slot]);
        assert.equal(
          positionsOf(head),
          kept.sort((a, b) => a - b),
          `${part}, head ${h}`,
        );
        if (part === 1) assert.is(head.live, length, 'all of it is everything');
        if (part === 0)
          assert.ok(
            kept.every((pos) => pos < 2 || classOf(pos) === 1),
            'none takes the cheapest rule',
          );
        carried(grown[h], head, shape.headDim, [1, 2]);
      });
      for (const rule of rules) met.add(rule);
    }
    assert.ok(met.size >= 4, `rules ${[...met]}`);
  });
}
