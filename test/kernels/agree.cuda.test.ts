/**
 * CUDA's text and the CPU's library on the same sequences: a prompt in chunks, generated tokens, compactions on the way, for
 * every shipped policy and for some that read all there is. The same slots are kept, with the same keys and values and bit
 * for bit the same positions; states and outputs agree to f32 rounding. Seeds are fixed: no two scores of these problems
 * are closer than that.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { shippedNames } from '../../codegen/build.ts';
import type { Plan } from '../../codegen/plan/types.ts';
import { MAX_PARAMS } from '../../runtime/contract/records.ts';
import { sourceFor } from '../oracle/duo.ts';
import { normals } from './dense.ts';
import { random } from '../../codegen/oracle/random.ts';
import { type Row, type Shape, type Step, drive, floats } from './driver.ts';
import { cpu, emulated } from './runners.ts';

const home = mkdtempSync(join(tmpdir(), 'skv-agree-'));
process.on('exit', () => rmSync(home, { recursive: true, force: true }));

const [PROMPT, GENERATED, BUDGET, LAST] = [75, 8, 30, 6];
const TOLERANCE = 2e-5;

const shapeOf = (interleaved: boolean): Shape => ({
  kvType: 'f32',
  layers: 2,
  kvHeads: 2,
  group: 3,
  headDim: 64,
  maxTokens: 64,
  maxSlots: 100,
  interleaved,
  seqs: 2,
  invFreq: Float32Array.from({ length: 32 }, (_, i) => 10000 ** ((-2 * i) / 64)),
});

/** What the engine would ask of a row of tokens [from, to): the last LAST prompt tokens and LAST slots are special. */
function rowOf(plan: Plan, seq: number, from: number, to: number): Row {
  const decode = from >= PROMPT;
  const first = plan.observe.prompt === 'every' ? 0 : PROMPT - LAST;
  const seen: [number, number] = [Math.max(from, first), to];
  const observed = decode ? plan.observe.decode : plan.observe.prompt !== 'none' && seen[0] < to;
  return {
    seq,
    tokens: to - from,
    pos0: from,
    prompt: PROMPT,
    observe: observed ? seen : [0, 0],
    observeLast: plan.observe.prompt === 'every' || plan.observe.prompt === 'none' ? 0 : LAST,
    compact: to >= PROMPT && plan.keep.kind !== 'all',
    window: [2, LAST],
    seed: [seq, 5],
  };
}

/** Parameters as small as the problem; random attention is flat, so that less of it is enough. */
const smallValue = (param: Plan['params'][number] | undefined): number => {
  if (param?.name === 'recovers') return 0.5;
  return !param ? 0 : param.kind !== 'tokens' ? param.default : param.name === 'budget' ? BUDGET : LAST;
};

/** Two sequences, out of step with each other, in one batch. */
function steps(plan: Plan, shape: Shape): Step[] {
  const next = random(plan.name.length * 7919);
  const cuts = [0, 33, 64, PROMPT, ...Array.from({ length: GENERATED }, (_, i) => PROMPT + 1 + i)];
  const other = [0, 20, 21, 60, 61, PROMPT, ...Array.from({ length: GENERATED }, (_, i) => PROMPT + 1 + i)];
  return cuts.slice(1).map((to, i) => {
    const rows = [rowOf(plan, 0, cuts[i], to), rowOf(plan, 1, other[i], other[i + 1])];
    const n = rows[0].tokens + rows[1].tokens;
    const { kvHeads, group, headDim } = shape;
    return {
      rows,
      layers: Array.from({ length: shape.layers }, () => ({
        q: normals(next, n * kvHeads * group * headDim),
        k: normals(next, n * kvHeads * headDim),
        v: normals(next, n * kvHeads * headDim),
      })),
      budgets: [BUDGET, BUDGET - 4, BUDGET + 3, BUDGET],
      params: Float32Array.from({ length: 2 * MAX_PARAMS }, (_, i) => smallValue(plan.params[i % MAX_PARAMS])),
      classes: Array.from({ length: n }, (_, t) => (t % 11 === 5 ? 1 : t % 7 === 3 ? 2 : 0)),
    };
  });
}

const close = (a: Float32Array, b: Float32Array, label: string) => {
  assert.is(a.length, b.length, label);
  for (let i = 0; i < a.length; i++)
    assert.ok(
      Object.is(a[i], b[i]) || Math.abs(a[i] - b[i]) <= TOLERANCE * Math.max(1, Math.abs(a[i])),
      `${label}: ${a[i]} on the CPU, ${b[i]} in CUDA's text, at ${i}`,
    );
};

type Build = (runner: typeof cpu) => Promise<{ library: string; plan: Plan }>;

const begun: Promise<unknown>[] = [];
/** Builds a policy for both targets, ahead of its test and two policies at a time. */
async function both(build: Build) {
  const turn = begun.length;
  const made = Promise.allSettled([begun[turn - 2]]).then(async () => [await build(cpu), await build(emulated('5'))]);
  begun.push(made);
  made.catch(() => undefined); // told by its own test
  return made;
}

/** Runs a policy on both targets and compares everything there is. */
async function agree(libraries: ReturnType<typeof both>, interleaved: boolean) {
  const shape = shapeOf(interleaved);
  const [above, below] = await libraries;
  const { plan } = above;
  const heads = [0, 1].flatMap((seq) => [0, 1].flatMap((layer) => [0, 1].map((head) => ({ seq, layer, head }))));
  const ops = [...steps(plan, shape), ...heads];
  const run = (library: string) => drive(library, plan.lanes.length, shape, ops, { order: '5' });
  const [expected, got] = [run(above.library), run(below.library)];
  expected.steps.forEach((step, i) => {
    assert.equal(got.steps[i].lengths, step.lengths, `lengths after step ${i}`);
    step.layers.forEach((layer, l) => {
      close(layer.out, got.steps[i].layers[l].out, `output of step ${i}, layer ${l}`);
      close(layer.lse, got.steps[i].layers[l].lse, `log-sum-exp of step ${i}, layer ${l}`);
    });
  });
  const words = plan.lanes.length - plan.states.length; // whole numbers: position, shift, class
  expected.reads.forEach((head, i) => {
    const label = (lane: number) => `${plan.lanes[lane]} of ${JSON.stringify(heads[i])}`;
    head.lanes.forEach((lane, l) => {
      if (l < words) assert.equal(Array.from(got.reads[i].lanes[l]), Array.from(lane), label(l));
      else close(floats(lane), floats(got.reads[i].lanes[l]), label(l));
    });
    assert.equal(got.reads[i].keys, head.keys, `keys of ${JSON.stringify(heads[i])}`);
    assert.equal(got.reads[i].values, head.values, `values of ${JSON.stringify(heads[i])}`);
  });
  return expected;
}

for (const name of shippedNames()) {
  const libraries = both((runner) => runner.file(sourceFor(name, shapeOf(true)), shapeOf(true)));
  test(`${name}: CUDA's text keeps what the CPU keeps`, async () => {
    const { steps: answers } = await agree(libraries, true);
    const last = answers[answers.length - 1].lengths.subarray(0, 4); // of the first sequence
    const whole = last.every((n) => n === PROMPT + GENERATED);
    assert.is(whole, name === 'none', String(last));
  });
}

/** Policies that read what no shipped one does. */
const written: Record<string, string> = {
  'next-vectors': `
import { definePolicy, dot, every, max, norm, topK, tokens } from 'skv';
export default definePolicy({
  name: 'next-vectors', params: { budget: tokens(30) }, observe: 'every', group: 'max',
  accumulate: {
    heat: { init: 0.5, next: (heat, slot) => heat * 0.9 + slot.attn * norm(slot.value) },
    peak: { init: 0, next: (peak, slot) => max(peak, slot.attn * dot(slot.key, slot.value)) },
    count: { init: 0, next: (count, slot) => count + (slot.age > 3 ? 1 : 0) },
  },
  score: (slot) => slot.heat / slot.seen + slot.peak * 0.01 + slot.count * 0.001,
  keep: topK('budget'), window: { last: 4 }, when: every(1),
});`,
  statistics: `
import { cosine, definePolicy, every, mean, norm, over, sub, topK, tokens } from 'skv';
export default definePolicy({
  name: 'statistics', params: { budget: tokens(30) },
  across: {
    level: { max: (slot) => norm(slot.key) }, low: { min: (slot) => slot.pos },
    middle: { sum: (slot) => slot.key }, top: { max: (slot) => slot.value }, average: { mean: (slot) => norm(slot.value) },
  },
  score: (slot, across) => cosine(slot.key, across.middle) + norm(sub(slot.value, across.top)) / across.level - across.average * slot.age * 0.01 + across.low,
  pool: mean(3), keep: topK('budget'), window: { last: 4, classes: ['special'] }, when: over(0),
});`,
  'chunked-cache': `
import { chunks, definePolicy, every } from 'skv';
export default definePolicy({
  name: 'chunked-cache', observe: [{ last: 6 }, 'decode'], group: 'mean',
  accumulate: {
    mass: { init: 0, next: (mass, slot) => mass + slot.attn },
    lately: { last: 9, sum: (slot) => slot.attn }, // buckets that some queries change, for all slots alike
    full: { init: 0, next: (full, slot) => (slot.live > 28 ? full + slot.attn : full) },
  },
  score: (slot) => slot.mass + slot.lately + slot.full, keep: chunks(4, 28), window: { first: 2, last: 3 }, positions: 'cache', when: every(1),
});`,
};
for (const [name, text] of Object.entries(written)) {
  const file = join(home, `${name}.ts`);
  writeFileSync(file, text);
  const libraries = both((runner) => runner.file(file, shapeOf(true)));
  for (const interleaved of [true, false])
    test(`${name}: the same, RoPE ${interleaved ? 'interleaved' : 'in halves'}`, async () => {
      await agree(libraries, interleaved);
    });
}

test.run();
