/**
 * append and attend against plain loops in doubles; and the same bits for every way to cut a prompt, for decode instead of
 * prefill, for strangers in the step, and for any order of work. States under observation likewise. The same cases for
 * every target.
 */
import { test as uvu } from 'uvu';
import * as assert from 'uvu/assert';
import type { KvType } from '../../codegen/plan/types.ts';
import { attention, normals, probabilities, rounded, scaled, weights } from './dense.ts';
import { random } from '../../codegen/oracle/random.ts';
import { type LayerInput, type Row, type Shape, type Step, drive, floats } from './driver.ts';
import type { Runner } from './runners.ts';

/** What is tried: sizes that a target runs in reasonable time, and its tolerance for each type. */
export interface Sizes {
  headDims: number[];
  /** allowed error of outputs and log-sum-exps of size about 1 */
  tolerance: Partial<Record<KvType, number>>;
  lengths: number[];
  /** head size, group, type: each cut in every way; observed ones have a soft cap where the group is even */
  cut: [number, number, KvType][];
  cutLength: number;
  cuts: number[][];
  observed: [number, number, KvType][];
  observedLength: number;
  observedCuts: number[][];
  observedTolerance: Partial<Record<KvType, number>>;
  /** what is observed: probabilities, or the weights of the values, which are rounded to the values' type */
  observes: 'probabilities' | 'weights';
  /** windows, each with a soft cap or 0: head size, group, type, window, cap; of `windowLength` tokens, cut every way */
  windows: [number, number, KvType, number, number][];
  windowLength: number;
  windowCuts: number[][];
}

export const shapeOf = (headDim: number, group: number, kvType: Shape['kvType'], kvHeads = 2): Shape => ({
  kvType,
  layers: 1,
  kvHeads,
  group,
  headDim,
  maxTokens: 600,
  maxSlots: 640,
  interleaved: true,
  seqs: 2,
  invFreq: Float32Array.from({ length: headDim / 2 }, (_, i) => 10000 ** ((-2 * i) / headDim)),
});

/** Random inputs of `length` tokens. */
export function inputs(shape: Shape, length: number, seed: number): LayerInput {
  const next = random(seed);
  const { kvHeads, group, headDim } = shape;
  return {
    q: normals(next, length * kvHeads * group * headDim),
    k: normals(next, length * kvHeads * headDim),
    v: normals(next, length * kvHeads * headDim),
  };
}

const slice = (all: LayerInput, { kvHeads, group, headDim }: Shape, from: number, to: number): LayerInput => ({
  q: all.q.slice(from * kvHeads * group * headDim, to * kvHeads * group * headDim),
  k: all.k.slice(from * kvHeads * headDim, to * kvHeads * headDim),
  v: all.v.slice(from * kvHeads * headDim, to * kvHeads * headDim),
});

/** Steps that feed [0, length) in chunks of the given sizes, the last one repeated. */
function steps(shape: Shape, all: LayerInput, length: number, chunks: number[], row: Partial<Row> = {}): Step[] {
  const list: Step[] = [];
  for (let from = 0, i = 0; from < length; i++) {
    const to = Math.min(length, from + chunks[Math.min(i, chunks.length - 1)]);
    const observe = row.observe && ([Math.max(from, row.observe[0]), Math.min(to, row.observe[1])] as [number, number]);
    list.push({
      rows: [
        {
          seq: 0,
          tokens: to - from,
          pos0: from,
          prompt: length,
          ...row,
          observe: observe && observe[0] < observe[1] ? observe : [0, 0],
        },
      ],
      layers: [slice(all, shape, from, to)],
    });
    from = to;
  }
  return list;
}

/** Outputs of the steps, joined. */
function joined(answers: ReturnType<typeof drive>['steps'], what: 'out' | 'lse'): Float32Array {
  const parts = answers.map((step) => step.layers[0][what]);
  const whole = new Float32Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Relative error of a probability that is rounded to the type of the values it weighs. */
const ROUNDING: Record<KvType, number> = { f32: 0, bf16: 2 ** -8, f16: 2 ** -11 };

/**
 * Holds one query's output and log-sum-exp against plain loops over the first `live` slots of k and v [token][KV head][dim],
 * as the pages store them, or the last ones of these that the window shows; q [token][query head][dim].
 */
export function against(
  { kvHeads, group, headDim, kvType, window = 0, softCap }: Shape,
  { q, k, v }: LayerInput,
  { out, lse }: { out: Float32Array; lse: Float32Array },
  {
    token,
    head,
    live,
    tolerance,
    label,
  }: { token: number; head: number; live: number; tolerance: number; label: string },
): void {
  const rows = (x: Float32Array) =>
    Array.from({ length: live }, (_, t) =>
      x.subarray((t * kvHeads + head) * headDim, (t * kvHeads + head + 1) * headDim),
    ).slice(-window);
  const [keys, values] = [rows(k), rows(v)];
  for (let g = 0; g < group; g++) {
    const query = (token * kvHeads + head) * group + g;
    const expected = attention(
      scaled(q.subarray(query * headDim, (query + 1) * headDim), kvType),
      keys,
      values,
      softCap,
    );
    assert.ok(
      Math.abs(expected.lse - lse[query]) < tolerance,
      `${label}: log-sum-exp ${lse[query]}, expected ${expected.lse}`,
    );
    for (let d = 0; d < headDim; d++) {
      const error = Math.abs(expected.out[d] - out[query * headDim + d]);
      assert.ok(
        error < tolerance + ROUNDING[kvType] * expected.spread[d],
        `${label}: dim ${d} is ${out[query * headDim + d]}, expected ${expected.out[d]}`,
      );
    }
  }
}

const sameBits = (a: Float32Array, b: Float32Array): boolean =>
  Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(Buffer.from(b.buffer, b.byteOffset, b.byteLength));

export function attentionCases(runner: Runner, sizes: Sizes): void {
  const test = (name: string, body: () => Promise<void>) => uvu(`${runner.name}: ${name}`, body);
  const driven: typeof drive = (library, lanes, shape, ops, options) =>
    drive(library, lanes, shape, ops, { order: runner.order, machine: runner.machine, ...options });

  for (const headDim of sizes.headDims)
    test(`attention of head size ${headDim} against plain loops`, async () => {
      for (const [i, length] of sizes.lengths.entries()) {
        const group = 1 + (i % 4);
        for (const [kvType, tolerance] of Object.entries(sizes.tolerance) as [KvType, number][]) {
          const shape = shapeOf(headDim, group, kvType);
          const none = await runner.policy('none', shape);
          const all = inputs(shape, length, headDim * 1000 + length);
          const { steps: answers } = driven(none.library, 1, shape, steps(shape, all, length, [600]));
          const found = { out: joined(answers, 'out'), lse: joined(answers, 'lse') };
          const stored = (x: Float32Array) => x.map(rounded[kvType]);
          const held = { q: all.q, k: stored(all.k), v: stored(all.v) };
          for (const token of new Set([0, length >> 1, length - 1]))
            for (let head = 0; head < shape.kvHeads; head++) {
              const label = `${kvType}, group ${group}, length ${length}, token ${token}`;
              against(shape, held, found, { token, head, live: token + 1, tolerance, label });
            }
        }
      }
    });

  test('the same bits for every chunking, for decode, and for any order of work', async () => {
    for (const [headDim, group, kvType] of sizes.cut) {
      const shape = shapeOf(headDim, group, kvType);
      const none = await runner.policy('none', shape);
      const length = sizes.cutLength;
      const all = inputs(shape, length, headDim + group);
      const run = (chunks: number[], workers: number) =>
        driven(none.library, 1, shape, steps(shape, all, length, chunks), { workers }).steps;
      const whole = run([600], 1);
      for (const chunks of sizes.cuts) {
        const cut = run(chunks, 3);
        for (const what of ['out', 'lse'] as const)
          assert.ok(
            sameBits(joined(whole, what), joined(cut, what)),
            `${what}, head size ${headDim}, group ${group}, ${kvType}, chunks ${chunks}`,
          );
      }
    }
  });

  for (const [headDim, group, kvType, window, softCap] of sizes.windows)
    test(`a window of ${window}, soft cap ${softCap}: head size ${headDim}, ${kvType}, cut every way`, async () => {
      const shape: Shape = { ...shapeOf(headDim, group, kvType), window, softCap };
      const none = await runner.policy('none', shape);
      const length = sizes.windowLength;
      const all = inputs(shape, length, headDim + group + window);
      if (softCap) all.q.forEach((x, i) => (all.q[i] = 4 * x)); // logits beyond the cap
      const stored = (x: Float32Array) => x.map(rounded[kvType]);
      const held = { q: all.q, k: stored(all.k), v: stored(all.v) };
      let whole: Float32Array | undefined;
      for (const chunks of sizes.windowCuts) {
        const { steps: answers } = driven(none.library, 1, shape, steps(shape, all, length, chunks), { workers: 3 });
        const found = { out: joined(answers, 'out'), lse: joined(answers, 'lse') };
        whole ??= found.out;
        assert.ok(sameBits(whole, found.out), `chunks ${chunks}`);
        if (whole !== found.out) continue;
        for (const token of new Set([0, 1, window - 1, window, window + 17, length >> 1, length - 1]))
          for (let head = 0; head < shape.kvHeads && token < length; head++)
            against(shape, held, found, {
              token,
              head,
              live: token + 1,
              tolerance: sizes.tolerance[kvType]! * (softCap ? 10 : 1),
              label: `token ${token}`,
            });
      }
    });

  test('the same bits beside a stranger in the step', async () => {
    const shape = shapeOf(sizes.headDims[0], 3, 'bf16');
    const none = await runner.policy('none', shape);
    const [mine, other] = [inputs(shape, 40, 1), inputs(shape, 300, 2)];
    const join = (a: Float32Array, b: Float32Array) =>
      Float32Array.from({ length: a.length + b.length }, (_, i) => (i < a.length ? a[i] : b[i - a.length]));
    const alone = driven(none.library, 1, shape, steps(shape, mine, 40, [40])).steps[0].layers[0].out;
    const both = driven(none.library, 1, shape, [
      {
        rows: [
          { seq: 1, tokens: 300, pos0: 0, prompt: 300 },
          { seq: 0, tokens: 40, pos0: 0, prompt: 40 },
        ],
        layers: [{ q: join(other.q, mine.q), k: join(other.k, mine.k), v: join(other.v, mine.v) }],
      },
    ]).steps[0].layers[0].out;
    assert.ok(sameBits(alone, both.slice(both.length - alone.length)));
  });

  test('many rows of one token each: the same bits as alone', async () => {
    const count = 67; // more than the CPU splits over its threads
    const shape = { ...shapeOf(sizes.headDims[0], 3, 'bf16'), maxSlots: 32, seqs: count };
    const none = await runner.policy('none', shape);
    const tokens = [inputs(shape, count, 3), inputs(shape, count, 4)];
    const step = (pos0: number, seqs: number[], layer: LayerInput): Step => ({
      rows: seqs.map((seq) => ({ seq, tokens: 1, pos0, prompt: 1 })),
      layers: [layer],
    });
    const all = Array.from({ length: count }, (_, i) => i);
    const together = driven(
      none.library,
      1,
      shape,
      tokens.map((layer, i) => step(i, all, layer)),
      { workers: 3 },
    ).steps[1].layers[0].out;
    for (const seq of [0, 63, 64, 66]) {
      const mine = tokens.map((layer, i) => step(i, [seq], slice(layer, shape, seq, seq + 1)));
      const alone = driven(none.library, 1, shape, mine).steps[1].layers[0].out;
      assert.ok(sameBits(alone, together.slice(seq * alone.length, (seq + 1) * alone.length)), `row ${seq}`);
    }
  });

  test('observed states: against plain loops, and the same bits for every chunking and for decode', async () => {
    for (const [headDim, group, kvType] of sizes.observed) {
      const softCap = group % 2 ? 0 : 3;
      const shape = { ...shapeOf(headDim, group, kvType, 1), softCap };
      const h2o = await runner.policy('h2o', shape);
      const length = sizes.observedLength;
      const all = inputs(shape, length, 77 + headDim);
      const read = { seq: 0, layer: 0, head: 0 };
      const masses = sizes.observedCuts.map((chunks) => {
        const ops = [...steps(shape, all, length, chunks, { observe: [0, length] }), read];
        return floats(driven(h2o.library, 2, shape, ops, { workers: 2 }).reads[0].lanes[1]);
      });
      masses.forEach((mass, i) => assert.ok(sameBits(mass, masses[0]), `chunking ${i}, head size ${headDim}`));
      const keys = Array.from({ length }, (_, t) =>
        all.k.subarray(t * headDim, (t + 1) * headDim).map(rounded[kvType]),
      );
      const expected = new Float64Array(length);
      for (let t = 0; t < length; t++)
        for (let g = 0; g < group; g++) {
          const exact = probabilities(
            scaled(all.q.subarray((t * group + g) * headDim, (t * group + g + 1) * headDim), kvType),
            keys.slice(0, t + 1),
            softCap,
          );
          const p = sizes.observes === 'weights' ? weights(exact, kvType) : exact.p;
          for (let s = 0; s <= t; s++) expected[s] += p[s];
        }
      for (let s = 0; s < length; s++)
        assert.ok(
          Math.abs(expected[s] - masses[0][s]) < sizes.observedTolerance[kvType]! * Math.max(1, expected[s]),
          `slot ${s}: ${masses[0][s]}, expected ${expected[s]}`,
        );
    }
  });
}
