/** Which slots leave: by a drawn score, by a statistic of the head, of equals the older, and what is no number first. */
import * as assert from 'uvu/assert';
import { chance } from '../../../codegen/ir/chance.ts';
import { type Setting, base, chunk, heads, positionsOf, ranked, vector } from './setting.ts';

export function rankCases({ test, run, policy, written }: Setting): void {
  test('slot.random: of the seed, the layer, the head, the query and the position', async () => {
    const shape = base('bf16', { layers: 2, seqs: 2 });
    const { library } = await written(
      'drawn',
      shape,
      `
import { definePolicy, over, topK } from 'skv';
export default definePolicy({ name: 'drawn', score: (slot) => slot.random, keep: topK(9), when: over(0) });`,
    );
    const seeds: [number, number][] = [
      [7, 0],
      [-7, 123],
    ];
    const places = [0, 1].flatMap((seq) =>
      [0, 1].flatMap((layer) => [0, 1].map((head) => ({ seq, layer, head, seed: seeds[seq] }))),
    );
    const drawn = ({ layer, head, seed }: (typeof places)[number], query: number) =>
      ranked(
        Array.from({ length: query + 1 }, (_, pos) => chance(seed, { layer, head, query, pos })),
        Array.from({ length: query + 1 }, (_, pos) => pos),
      ).slice(-9);
    const steps = seeds.map((seed, seq) => {
      const step = chunk(shape, seq, 0, 40, { compact: true, seed, seq }, 9);
      return { ...step, budgets: Array(4).fill(9) };
    });
    const { reads } = run(library, 1, shape, [...steps, ...places]);
    const kept = reads.map(positionsOf);
    assert.equal(
      kept,
      places.map((place) => drawn(place, 39).sort((a, b) => a - b)),
    );
    assert.is(new Set(kept.map(String)).size, 8, 'all differ');
  });

  test('nth: so many of the highest are at least the statistic, of any number of slots', async () => {
    const shape = base('f32');
    const { library } = await written(
      'nth',
      shape,
      `
import { above, definePolicy, highest, lowest, over } from 'skv';
export default definePolicy({
  name: 'nth',
  across: {
    most: { nth: 5, of: (slot) => highest(slot.value) },
    none: { nth: 0, of: (slot) => slot.pos },
    more: { nth: 1000, of: (slot) => lowest(slot.key) },
  },
  score: (slot, across) =>
    highest(slot.value) >= across.most || slot.pos >= across.none || lowest(slot.key) < across.more ? 1 : 0,
  keep: above(0), when: over(0),
});`,
    );
    for (const length of [3, 5, 16, 100, 256]) {
      const ops = (compact: boolean) => [chunk(shape, length, 0, length, { compact }, 0), ...heads(shape)];
      const [before, after] = [run(library, 1, shape, ops(false)), run(library, 1, shape, ops(true))];
      before.reads.forEach((head, i) => {
        const highest = Array.from({ length }, (_, slot) => Math.max(...vector(head.values, slot, shape.headDim)));
        const slots = Array.from({ length }, (_, slot) => slot);
        assert.equal(
          positionsOf(after.reads[i]),
          ranked(highest, slots)
            .slice(-5)
            .sort((a, b) => a - b),
          `length ${length}`,
        );
      });
    }
  });

  test('equal scores: the older leaves first', async () => {
    const shape = base('f32');
    const { library, plan } = await policy('knorm', shape);
    const step = chunk(shape, 3, 0, 30, { compact: true }, 12);
    step.layers[0].k.fill(0.5);
    const { reads } = run(library, plan.lanes.length, shape, [step, ...heads(shape)]);
    for (const head of reads)
      assert.equal(
        positionsOf(head),
        Array.from({ length: 12 }, (_, i) => 18 + i),
      );
  });

  test('NaN scores leave before any other', async () => {
    const shape = base('f32');
    const { library, plan } = await policy('knorm', shape);
    const step = chunk(shape, 4, 0, 30, { compact: true }, 27);
    for (const slot of [4, 11, 29])
      step.layers[0].k.fill(NaN, slot * shape.kvHeads * shape.headDim, (slot + 1) * shape.kvHeads * shape.headDim);
    const { reads } = run(library, plan.lanes.length, shape, [step, ...heads(shape)]);
    for (const head of reads)
      assert.equal(
        positionsOf(head),
        Array.from({ length: 30 }, (_, i) => i).filter((i) => ![4, 11, 29].includes(i)),
      );
  });
}
