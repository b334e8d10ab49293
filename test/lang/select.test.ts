/** The compiled selection against select.ts, on random layers with many equal scores: the same slots stay, in order. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build } from '../../codegen/build.ts';
import { check } from '../../codegen/front/check.ts';
import { score } from '../../codegen/ir/interpret.ts';
import { random } from '../../codegen/oracle/random.ts';
import { type HeadSlots, type Limits, select } from '../../codegen/oracle/select.ts';
import { quickCompiler } from '../kernels/quick.ts';
import { drive, floats, type Shape, type Step } from '../kernels/driver.ts';
import { files, IMPORTS } from './snippets.ts';

const rules: Record<string, string> = {
  own: 'pool: mean(3), keep: topK(8)',
  shared: "heads: 'shared', pool: peak(5), window: { classes: ['special', 'punctuation'] }, keep: topK(8)",
  flowing: 'heads: pooled(0.3), pool: mean(5), keep: topK(8)',
  guaranteed: 'heads: pooled({ guaranteed: 0.6 }), keep: topK(8)',
  chunked: 'window: { prompt: true }, keep: chunks(5, 8)',
  above: "keep: above(6), window: { classes: ['punctuation'] }",
  profiled: `pool: mean(3), observe: 'every', accumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn } },
    keep: profile(0.6, 'mass', [{ classes: ['special'] }, { classes: ['special'], top: 3 },
      { classes: ['special', 'punctuation'], top: 9, last: 6 }, everything])`,
};

const directory = mkdtempSync(join(tmpdir(), 'skv-select-'));
process.on('exit', () => rmSync(directory, { recursive: true, force: true }));

// a coarse score, so that many are equal
const text = (name: string) =>
  `${IMPORTS}export default definePolicy({ name: '${name}', score: (slot) => floor(norm(slot.key) * 3 + slot.pos * 0.01), ${rules[name]} });`;
const names = Object.keys(rules);
process.env.CXX = quickCompiler('-O1');
const paths = files(Object.fromEntries(names.map((name) => [`select/${name}.ts`, text(name)])));
const policies = await Promise.all(
  paths.map(async (path) => ({ policy: check(path).policy, built: await build(path, { directory }) })),
);

const headDim = 16;
const shape = (kvHeads: number): Shape => ({
  kvType: 'f32',
  layers: 1,
  kvHeads,
  group: 1,
  headDim,
  maxTokens: 128,
  maxSlots: 160,
  interleaved: true,
  seqs: 1,
  invFreq: new Float32Array(headDim / 2),
});

interface Case {
  kvHeads: number;
  length: number;
  budget: number;
  window: [number, number];
  prompt: number;
  step: Step;
  classes: number[];
}

function randomCase(seed: number): Case {
  const next = random(seed);
  const integer = (low: number, high: number) => low + Math.floor(next() * (high - low + 1));
  const [kvHeads, length] = [integer(1, 3), [1, 5, 15, 16, 17, 40, 64, 100][integer(0, 7)]];
  const vectors = () => Float32Array.from({ length: length * kvHeads * headDim }, () => next() - 0.5);
  const classes = Array.from({ length }, () => (next() < 0.2 ? integer(1, 3) : 0));
  const window: [number, number] = [integer(0, 3), integer(0, 6)];
  const [budget, prompt] = [integer(0, length + 2), integer(0, length)];
  const row = { seq: 0, tokens: length, pos0: 0, prompt, window };
  return {
    kvHeads,
    length,
    budget,
    window,
    prompt,
    classes,
    step: { rows: [row], layers: [{ q: vectors(), k: vectors(), v: vectors() }], budgets: [budget], classes },
  };
}

names.forEach((name, i) =>
  test(`${name}: ${rules[name]}`, () => {
    const { policy, built } = policies[i];
    for (let seed = 1; seed <= 40; seed++) {
      const { kvHeads, length, budget, window, prompt: begun, step, classes } = randomCase(seed * 10 + i);
      const profiled = policy.keep.kind === 'profile'; // by what all queries saw
      const prompt = profiled ? length : begun;
      const row = { ...step.rows[0], prompt, observe: [0, profiled ? length : 0] as [number, number] };
      const reads = Array.from({ length: kvHeads }, (_, head) => ({ seq: 0, layer: 0, head }));
      const run = (compact: boolean) =>
        drive(built.library, built.plan.lanes.length, shape(kvHeads), [
          { ...step, rows: [{ ...row, compact }] },
          ...reads,
        ]).reads;
      const heads = run(false).map(({ lanes, keys }): HeadSlots => {
        const [positions] = lanes;
        const slots = Array.from(positions, (pos, s) => ({
          fields: { pos, key: keys.subarray(s * headDim, (s + 1) * headDim) },
          states: {},
          params: {},
        }));
        const mass = floats(lanes.at(-1)!);
        return { positions, scores: score(policy, slots), classes: Array.from(positions, (pos) => classes[pos]), mass };
      });
      const limits: Limits = {
        budget,
        first: window[0],
        last: window[1],
        length,
        prompt,
        threshold: profiled ? 0.6 : 6,
      };
      const expected = select(policy, heads, limits).map((stay, h) => stay.map((s) => heads[h].positions[s]));
      const kept = run(true).map(({ lanes: [positions] }) => Array.from(positions).sort((a, b) => a - b));
      assert.equal(kept, expected, `seed ${seed}: ${JSON.stringify({ kvHeads, length, budget, window, prompt })}`);
    }
  }),
);

test.run();
