/** How many slots each head keeps: heads that decide alone, that share one set, and between which budgets flow. */
import * as assert from 'uvu/assert';
import { type Row, floats } from '../driver.ts';
import { type Setting, base, carried, chunk, heads, positionsOf, ranked } from './setting.ts';

export function headCases({ test, run, both, written }: Setting): void {
  test('more heads than can decide together are refused in words; heads that decide alone are not', async () => {
    const shape = base('f32', { kvHeads: 65, group: 1, maxTokens: 32, maxSlots: 32 });
    await both('adakv', shape, 24, { observe: [20, 24], observeLast: 4, window: [0, 4] }, 10).then(
      () => assert.unreachable('65 heads decide together'),
      (error: Error) => assert.match(error.message, /more KV heads than can decide together/),
    );
    const { after } = await both('knorm', shape, 24, {}, 10);
    assert.equal(
      after.reads.map(({ live }) => live),
      Array(65).fill(10),
    );
  });

  test('where budgets flow, slots of the least rank in several heads: the higher head keeps its own', async () => {
    const shape = base('f32');
    const { library } = await written(
      'flowing',
      shape,
      `
import { definePolicy, over, pooled, sqrt, topK } from 'skv';
export default definePolicy({
  name: 'flowing',
  score: (slot) => slot.pos > 0 ? slot.pos + (slot.head < 1 ? 2 : 0) : slot.length < 11 ? 1000000 : sqrt(-1),
  heads: pooled(0.5), keep: topK(5), when: over(0),
});`,
    );
    const row = { compact: true, prompt: 10 };
    // lengths 6 and 5; then 7 and 6 candidates for two budgets of 6, and in both heads position 0 has no number for a score
    const ops = [chunk(shape, 3, 0, 10, row, 5), chunk(shape, 4, 10, 11, row, 6)];
    const { reads } = run(library, 1, shape, [ops[0], ...heads(shape), ops[1], ...heads(shape)]);
    assert.equal(
      reads.map(({ live }) => live),
      [6, 5, 6, 6],
    );
    assert.equal([...reads[2].lanes[0]].includes(0), false);
    assert.equal([...reads[3].lanes[0]].includes(0), true);
  });

  test('tova keeps one set for the layer, snapkv a pooled one for each head, adakv lets budgets flow', async () => {
    const shape = base('bf16', { kvHeads: 3 });
    const length = 90;
    const mean = (xs: number[]) => xs.reduce((sum, x) => Math.fround(sum + x), 0) / xs.length;
    const tova = await both('tova', shape, length, { observe: [length - 1, length], observeLast: 1 }, 20);
    const shared = Array.from({ length }, (_, slot) =>
      Math.fround(mean(tova.before.reads.map((head) => floats(head.lanes[1])[slot]))),
    );
    const stay = ranked(
      shared,
      Array.from({ length }, (_, slot) => slot),
    )
      .slice(length - 20)
      .sort((a, b) => a - b);
    for (const head of tova.after.reads) assert.equal(positionsOf(head), stay);

    const window = 6;
    const candidates = Array.from({ length: length - window }, (_, slot) => slot);
    const last = Array.from({ length: window }, (_, k) => length - window + k);
    const watched: Partial<Row> = { observe: [length - window, length], observeLast: window, window: [0, window] };
    const snap = await both('snapkv', shape, length, watched, 25);
    snap.before.reads.forEach((head, i) => {
      const mass = floats(head.lanes[1]);
      const pooled = candidates.map((slot) => {
        let sum = mass[Math.max(0, slot - 2)];
        for (let k = Math.max(0, slot - 2) + 1; k <= Math.min(candidates.length - 1, slot + 2); k++)
          sum = Math.fround(sum + mass[k]);
        return Math.fround(sum / 5);
      });
      const best = ranked(pooled, candidates)
        .slice(candidates.length - 19)
        .sort((a, b) => a - b);
      assert.equal(Array.from(snap.after.reads[i].lanes[0]), [...best, ...last]);
      carried(head, snap.after.reads[i], shape.headDim, [1]);
    });

    const ada = await both('adakv', shape, length, watched, 25);
    const scores = ada.before.reads.map((head) =>
      candidates.map((slot) =>
        Math.max(...floats(head.lanes[1]).subarray(Math.max(0, slot - 3), Math.min(candidates.length, slot + 4))),
      ),
    );
    const flat = scores
      .flatMap((head, h) => head.map((score, slot) => ({ score, slot, h })))
      .sort((a, b) => b.score - a.score || b.slot - a.slot || b.h - a.h);
    scores.forEach((head, h) => {
      const wins = flat.slice(0, 3 * 19).filter((each) => each.h === h).length;
      const count = Math.floor(0.5 * wins + 0.5 * 19 + 0.5);
      const best = ranked(head, candidates)
        .slice(candidates.length - count)
        .sort((a, b) => a - b);
      assert.equal(Array.from(ada.after.reads[h].lanes[0]), [...best, ...last], `head ${h}: ${wins} wins`);
    });
  });
}
