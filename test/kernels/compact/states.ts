/** States that move along: of heads that are not combined, and numbers that are computed once. */
import * as assert from 'uvu/assert';
import { onHost } from '../../../codegen/ir/builtins.ts';
import { type Shape, type Step, floats } from '../driver.ts';
import { type Setting, base, chunk, heads } from './setting.ts';

export function stateCases({ test, run, written }: Setting): void {
  test('heads that are not combined: next runs once for each of them, in order', async () => {
    const text = (group: string) => `
import { definePolicy, every, topK } from 'skv';
export default definePolicy({
  name: 'apart-${group}', observe: 'every', group: '${group}',
  accumulate: {
    low: { init: 0, next: (low, slot) => low + (slot.attn < 1 / slot.live ? 1 : 0) },
    lately: { last: 16, sum: (slot) => (slot.attn < 1 / slot.live ? 1 : 0) },
    newest: { init: 0, next: (_, slot) => slot.attn },
  },
  score: (slot) => slot.low + slot.lately + slot.newest, keep: topK(500), when: every(1),
});`;
    const shape = base('f32', { kvHeads: 1, group: 3 });
    const built = (group: string) => written(`apart-${group}`, shape, text(group));
    const [apart, alone] = await Promise.all(['none', 'sum'].map(built));
    const cuts = [0, 25, 40, 41, 42, 43, 44, 45];
    const steps = cuts.slice(1).map((to, i) => chunk(shape, i, cuts[i], to, { prompt: 40, observe: [cuts[i], to] }));
    const states = (library: string, of: Shape, ops: Step[]) =>
      run(library, apart.plan.lanes.length, of, [...ops, ...heads(of)])
        .reads[0].lanes.slice(1)
        .map(floats);
    const together = states(apart.library, shape, steps);
    /** Each query head as the only one of its group. */
    const single = Array.from({ length: 3 }, (_, g) => {
      const own = (q: Float32Array) => q.filter((_, i) => Math.floor(i / shape.headDim) % 3 === g);
      const ops = steps.map((step) => ({ ...step, layers: step.layers.map((each) => ({ ...each, q: own(each.q) })) }));
      return states(alone.library, { ...shape, group: 1 }, ops);
    });
    const newest = together.length - 1;
    together.forEach((lane, l) =>
      assert.equal(
        [...lane],
        l === newest
          ? [...single[2][l]]
          : Array.from(lane, (_, s) => single.reduce((sum, each) => sum + each[l][s], 0)),
        apart.plan.lanes[l + 1],
      ),
    );
    assert.ok(
      together[0].some((count) => count % 3 !== 0),
      'heads differ',
    );
  });

  test('a number computed once is of the key and value as the page has them, whoever stored them, and moves along', async () => {
    const text = `
import { definePolicy, every, norm, norm1, topK } from 'skv';
export default definePolicy({
  name: 'once', observe: 'every',
  accumulate: {
    paid: { init: 0.5, next: (paid, slot) => paid + slot.attn },
    size: { once: (slot) => norm1(slot.value) * 0.25 + norm(slot.key) + slot.pos },
  },
  score: (slot) => slot.paid * slot.size, keep: topK(30), when: every(1),
});`;
    const f = Math.fround;
    const [norm, norm1] = [onHost('norm'), onHost('norm1')] as ((x: Float32Array) => number)[];
    for (const kvType of ['bf16', 'f32'] as const) {
      const shape = base(kvType);
      const { library, plan } = await written('once', shape, text);
      const cuts = [0, 21, 40, 41, 42, 43, 44];
      const steps = cuts.slice(1).map((to, i) => {
        const row = { prompt: 40, observe: [cuts[i], to] as [number, number], compact: i === 3 };
        return chunk(shape, i, cuts[i], to, row, 30);
      });
      for (const { live, keys, values, lanes } of run(library, plan.lanes.length, shape, [...steps, ...heads(shape)])
        .reads) {
        assert.is(live, 32);
        const of = (x: Float32Array, s: number) => x.subarray(s * shape.headDim, (s + 1) * shape.headDim);
        const sizes = Float32Array.from(lanes[0], (pos, s) =>
          f(f(f(norm1(of(values, s)) * 0.25) + norm(of(keys, s))) + pos),
        );
        assert.equal([...floats(lanes[2])], [...sizes]);
        assert.ok(floats(lanes[1]).every((paid) => paid > 0.5));
      }
    }
  });
}
