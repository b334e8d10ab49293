/** Where slots move with everything that belongs to them, and which slot fills a hole; and where nothing leaves. */
import * as assert from 'uvu/assert';
import { KEEP_ALL } from '../../../runtime/contract/records.ts';
import { floats } from '../driver.ts';
import { type Setting, base, carried, chunk, heads, invFreq, ranked } from './setting.ts';

export function moveCases({ test, run, both, policy, written }: Setting): void {
  test('h2o keeps the heaviest and the window, with everything they carry, and the last of them fill the holes', async () => {
    for (const kvType of ['bf16', 'f32'] as const)
      for (const [length, budget, recent] of [
        [40, 16, 5],
        [17, 16, 8],
        [100, 99, 3],
        [256, 33, 33],
        [50, 50, 4],
        [60, 10, 20],
      ]) {
        const shape = base(kvType, { headDim: 80, invFreq: invFreq(80) });
        const { before, after } = await both(
          'h2o',
          shape,
          length,
          { observe: [0, length], window: [0, recent] },
          budget,
        );
        before.reads.forEach((head, i) => {
          const old = Array.from({ length: length - recent }, (_, slot) => slot);
          const count = Math.max(0, budget - recent);
          const stay = new Set([
            ...ranked(floats(head.lanes[1]), old).slice(Math.max(0, old.length - count)),
            ...Array.from({ length: recent }, (_, k) => length - 1 - k),
          ]);
          const kept = Array.from(after.reads[i].lanes[0]);
          assert.equal(
            [...kept].sort((a, b) => a - b),
            [...stay].sort((a, b) => a - b),
            `length ${length}, budget ${budget}`,
          );
          // whose slot is among the first so many keep it; the others fill the holes, in order
          const end = kept.length;
          const others = [...stay].filter((slot) => slot >= end).sort((a, b) => a - b);
          assert.equal(
            kept,
            Array.from({ length: end }, (_, slot) => (stay.has(slot) ? slot : others.shift())),
          );
          carried(head, after.reads[i], shape.headDim, [1]);
        });
      }
  });

  test('when one slot leaves, the newest fills its hole', async () => {
    const shape = base('bf16');
    const { before, after } = await both('h2o', shape, 50, { observe: [0, 50], window: [0, 10] }, 49);
    before.reads.forEach((head, i) => {
      const loser = ranked(
        floats(head.lanes[1]),
        Array.from({ length: 40 }, (_, slot) => slot),
      )[0];
      const expected = Array.from({ length: 49 }, (_, slot) => (slot === loser ? 49 : slot));
      assert.equal(Array.from(after.reads[i].lanes[0]), expected);
    });
  });

  for (const [name, ordered, fields] of [
    [
      'sums over slots, in whatever order',
      false,
      'across: { all: { sum: (slot) => scale(slot.value, 0.5) } }, score: (slot, { all }) => norm(slot.key) > 0 ? norm(all) : 0',
    ],
    [
      'partitions, which lie in order',
      true,
      "partitions: { size: 16 }, across: { all: { max: (slot) => norm(slot.value), partition: 'next' } }, score: (slot, { all }) => norm(slot.key) > 0 ? (all > 0 ? 2 : 1) : 0",
    ],
  ] as const)
    test(`${name}: when one slot leaves, ${ordered ? 'all above it move down' : 'the newest fills its hole'}`, async () => {
      const text = `
import { definePolicy, norm, over, scale, topK } from 'skv';
export default definePolicy({ name: 'zero', ${fields}, keep: topK(9), when: over(0) });`;
      for (const kvType of ['bf16', 'f32'] as const) {
        const shape = base(kvType);
        const { library } = await written(ordered ? 'partitioned' : 'summed', shape, text);
        for (const [length, loser] of [
          [17, 0],
          [18, 15],
          [33, 32],
          [40, 33],
          [48, 6],
          [50, 31],
        ]) {
          const step = (compact: boolean) => {
            const made = chunk(shape, length, 0, length, { compact, prompt: length }, length - 1);
            const size = shape.kvHeads * shape.headDim;
            made.layers[0].k.fill(0, loser * size, (loser + 1) * size);
            return made;
          };
          const after = chunk(shape, 7, length, length + 1, { prompt: length }, KEEP_ALL);
          const before = run(library, 1, shape, [step(false), ...heads(shape)]);
          const { reads, steps } = run(library, 1, shape, [step(true), ...heads(shape), after]);
          const kept = Array.from({ length: length - 1 }, (_, slot) => {
            if (ordered) return slot + Number(slot >= loser);
            return slot === loser ? length - 1 : slot;
          });
          reads.forEach((read, i) => {
            assert.equal(Array.from(read.lanes[0]), kept, `${loser} of ${length}`);
            carried(before.reads[i], read, shape.headDim, []);
          });
          assert.ok(steps[1].layers[0].out.every(Number.isFinite), 'nothing lies in wait');
        }
      }
    });

  test('of a layer with a window nothing is observed, and nothing leaves by a policy', async () => {
    const shape = base('bf16', { window: 30 });
    const above = await written(
      'above',
      shape,
      "import { above, definePolicy, over } from 'skv';\nexport default definePolicy({ name: 'above', score: (slot) => slot.pos, keep: above(1000), when: over(0) });",
    );
    const short = await written(
      'short',
      shape,
      "import { definePolicy, norm, over, topK } from 'skv';\nexport default definePolicy({ name: 'short', score: (slot) => -norm(slot.key), keep: topK(20), when: over(0) });",
    );
    const policies = await Promise.all(['h2o', 'adakv', 'streaming'].map((name) => policy(name, shape)));
    for (const { library, plan } of [...policies, above, short]) {
      const row = { compact: true, observe: [40, 60] as [number, number], prompt: 60, observeLast: 20 };
      const ops = [
        chunk(shape, 3, 0, 60, row, KEEP_ALL),
        ...heads(shape),
        chunk(shape, 4, 60, 61, { ...row, observe: [60, 61] }, KEEP_ALL),
        ...heads(shape),
      ];
      const { reads } = run(library, plan.lanes.length, shape, ops);
      // the page of positions 16 … 31 is the first that position 60 sees
      for (const [i, from, to] of [
        [0, 0, 60],
        [2, 16, 61],
      ])
        for (const read of reads.slice(i, i + 2)) {
          assert.equal(
            [...read.lanes[0]],
            Array.from({ length: to - from }, (_, s) => from + s),
            plan.name,
          );
          for (let state = 1; state <= plan.states.length; state++)
            assert.ok(
              floats(read.lanes.at(-state)!).every((mass) => mass === 0),
              `${plan.name}: states as they began`,
            );
        }
    }
  });
}
