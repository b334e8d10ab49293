/** Tables of constants: of another model they are refused; duo's is what plain loops measure. */
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import { far, ranked } from '../../eval/far.ts';
import { root } from '../../toolchain/folders.mjs';
import { duoWith, randomGates } from '../oracle/duo.ts';
import { run } from '../oracle/forward.ts';
import { tinyModel } from '../oracle/tiny.ts';
import { randomTokens, smallEngine } from './small.ts';

const model = tinyModel(21, { layers: 2, kvHeads: 2, group: 2 });
process.on('exit', () => model.remove());
const { layers, kvHeads, group, vocab } = model.shape;

test('a table for another model is refused when it is loaded, with what to do', async () => {
  const foreign = await build(shipped('duo')!);
  const said = /duo: table\.gates is for 30 layers of 3 KV heads, the model has 2 layers of 2\. .*skv table duo/;
  await smallEngine(model, { policies: [foreign] }).then(
    () => assert.unreachable('it was loaded'),
    (error: Error) => assert.match(error.message, said),
  );
  const own = await build(duoWith(randomGates(1, model.shape)));
  const engine = await smallEngine(model, { policies: [own] });
  assert.throws(() => engine.addPolicy({ ...foreign, plan: { ...foreign.plan, name: 'other' } }), /table\.gates/);
  await engine.close();
});

test('how far back heads look: as plain loops say', async () => {
  const [tokens, sinks, recent] = [randomTokens(3, 60, vocab), 4, 16];
  const sums = Array.from({ length: layers }, () => Array<number>(kvHeads).fill(0));
  run(
    model,
    {
      observe: (entries, p, { layer, head, pos }) =>
        entries.forEach((entry, j) => {
          if (entry.pos >= sinks && pos - entry.pos >= recent)
            sums[layer][head] += p[j].reduce((sum, each) => sum + each, 0) / group;
        }),
    },
    tokens,
    tokens.length,
  );
  const measuring = await build(join(root, 'eval', 'far-policy.ts'));
  const measured = await far(model.loaded, measuring, { tokens, sinks, recent });
  measured.forEach((heads, layer) =>
    heads.forEach((value, head) => {
      const expected = sums[layer][head] / (tokens.length - sinks - recent);
      // keys and values are rounded to bf16 here
      assert.ok(Math.abs(value - expected) < 0.02, `layer ${layer}, head ${head}: ${value}, expected ${expected}`);
      assert.ok(value > 0 && value < 1);
    }),
  );
});

test('ranks: 0 … 1, equals share their place', () => {
  assert.equal(
    ranked([
      [3, 1],
      [2, 2],
    ]),
    [
      [1, 0],
      [0.5, 0.5],
    ],
  );
  assert.equal(ranked([[7]]), [[1]]);
});

test.run();
