/**
 * Selection and compaction alone: what stays, where it moves with everything that belongs to it, which slot fills a hole,
 * and positions as if evicted tokens had never been. The same cases for every target.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test as uvu } from 'uvu';
import * as assert from 'uvu/assert';
import { attention, bf16, normals, scaled } from './dense.ts';
import { chance } from '../../codegen/ir/chance.ts';
import { onHost } from '../../codegen/ir/builtins.ts';
import { check } from '../../codegen/front/check.ts';
import { type HeadSlots, rulesTaken, select } from '../../codegen/oracle/select.ts';
import { KEEP_ALL, MAX_PARAMS } from '../../runtime/contract/records.ts';
import { random } from '../../codegen/oracle/random.ts';
import { type Read, type ReadAnswer, type Row, type Shape, type Step, drive, floats } from './driver.ts';
import type { Runner } from './runners.ts';

const home = mkdtempSync(join(tmpdir(), 'skv-compact-'));
process.on('exit', () => rmSync(home, { recursive: true, force: true }));

const invFreq = (headDim: number) =>
  Float32Array.from({ length: headDim / 2 }, (_, i) => 10000 ** ((-2 * i) / headDim));
const base = (kvType: Shape['kvType'], changes: Partial<Shape> = {}): Shape => ({
  kvType,
  layers: 1,
  kvHeads: 2,
  group: 2,
  headDim: 64,
  maxTokens: 256,
  maxSlots: 320,
  interleaved: true,
  seqs: 1,
  invFreq: invFreq(64),
  ...changes,
});

/** A step of random tokens [from, to) of a prompt. */
function chunk(shape: Shape, seed: number, from: number, to: number, row: Partial<Row>, budget = 0): Step {
  const next = random(seed);
  const n = to - from;
  return {
    rows: [{ seq: 0, tokens: n, pos0: from, prompt: to, ...row }],
    layers: Array.from({ length: shape.layers }, () => ({
      q: normals(next, n * shape.kvHeads * shape.group * shape.headDim),
      k: normals(next, n * shape.kvHeads * shape.headDim),
      v: normals(next, n * shape.kvHeads * shape.headDim),
    })),
    budgets: Array(shape.seqs * shape.layers).fill(budget),
  };
}

const heads = (shape: Shape) => Array.from({ length: shape.kvHeads }, (_, head) => ({ seq: 0, layer: 0, head }));
const vector = (x: Float32Array, slot: number, dim: number) => Array.from(x.subarray(slot * dim, (slot + 1) * dim));

/** Every kept slot carries the key, value and lanes it had. */
function carried(before: ReadAnswer, after: ReadAnswer, dim: number, lanes: number[]): void {
  const at = new Map(Array.from(before.lanes[0], (pos, slot) => [pos, slot]));
  assert.is(new Set(after.lanes[0]).size, after.live, 'no slot twice');
  after.lanes[0].forEach((pos, slot) => {
    const from = at.get(pos)!;
    assert.equal(vector(after.keys, slot, dim), vector(before.keys, from, dim), `key of position ${pos}`);
    assert.equal(vector(after.values, slot, dim), vector(before.values, from, dim), `value of position ${pos}`);
    for (const lane of lanes)
      assert.is(after.lanes[lane][slot], before.lanes[lane][from], `lane ${lane} of position ${pos}`);
  });
}

/** Slots in the order in which they leave: by score, then the older first. */
const ranked = (scores: ArrayLike<number>, slots: number[]) =>
  [...slots].sort((a, b) => scores[a] - scores[b] || a - b);

export function compactCases(runner: Runner): void {
  const test = (name: string, body: () => Promise<void>) => uvu(`${runner.name}: ${name}`, body);
  const run = (library: string, lanes: number, shape: Shape, ops: (Step | Read)[]) =>
    drive(library, lanes, shape, ops, { order: runner.order });

  /** Runs one prompt twice, with and without the compaction at its end. */
  async function both(name: string, shape: Shape, length: number, row: Partial<Row>, budget: number) {
    const { library, plan } = await runner.policy(name);
    const run = (compact: boolean) =>
      drive(
        library,
        plan.lanes.length,
        shape,
        [chunk(shape, length, 0, length, { ...row, compact }, budget), ...heads(shape)],
        { workers: 2, order: runner.order },
      );
    return { before: run(false), after: run(true) };
  }

  /** Builds a policy from its text. */
  const written = (name: string, text: string) => {
    const file = join(home, `${name}.ts`);
    writeFileSync(file, text);
    return runner.file(file);
  };

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
    const { library } = await written(
      'flowing',
      `
import { definePolicy, over, pooled, sqrt, topK } from 'skv';
export default definePolicy({
  name: 'flowing',
  score: (slot) => slot.pos > 0 ? slot.pos + (slot.head < 1 ? 2 : 0) : slot.length < 11 ? 1000000 : sqrt(-1),
  heads: pooled(0.5), keep: topK(5), when: over(0),
});`,
    );
    const shape = base('f32');
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

  test('slot.random: of the seed, the layer, the head, the query and the position', async () => {
    const { library } = await written(
      'drawn',
      `
import { definePolicy, over, topK } from 'skv';
export default definePolicy({ name: 'drawn', score: (slot) => slot.random, keep: topK(9), when: over(0) });`,
    );
    const shape = base('bf16', { layers: 2, seqs: 2 });
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
    const kept = reads.map(({ lanes }) => [...lanes[0]]);
    assert.equal(
      kept,
      places.map((place) => drawn(place, 39).sort((a, b) => a - b)),
    );
    assert.is(new Set(kept.map(String)).size, 8, 'all differ');
  });

  test('nth: so many of the highest are at least the statistic, of any number of slots', async () => {
    const { library } = await written(
      'nth',
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
      const shape = base('f32');
      const ops = (compact: boolean) => [chunk(shape, length, 0, length, { compact }, 0), ...heads(shape)];
      const [before, after] = [run(library, 1, shape, ops(false)), run(library, 1, shape, ops(true))];
      before.reads.forEach((head, i) => {
        const highest = Array.from({ length }, (_, slot) => Math.max(...vector(head.values, slot, shape.headDim)));
        const slots = Array.from({ length }, (_, slot) => slot);
        assert.equal(
          [...after.reads[i].lanes[0]],
          ranked(highest, slots)
            .slice(-5)
            .sort((a, b) => a - b),
          `length ${length}`,
        );
      });
    }
  });

  test('of a layer with a window nothing is observed, and nothing leaves by a policy', async () => {
    const shape = base('bf16', { window: 30 });
    const above = await written(
      'above',
      "import { above, definePolicy, over } from 'skv';\nexport default definePolicy({ name: 'above', score: (slot) => slot.pos, keep: above(1000), when: over(0) });",
    );
    const policies = await Promise.all(['h2o', 'adakv', 'streaming', 'knorm'].map((name) => runner.policy(name)));
    for (const { library, plan } of [...policies, above]) {
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

  test('h2o keeps the heaviest and the window, in order, with everything they carry', async () => {
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
          if (length - kept.length !== 1)
            assert.equal(
              kept,
              [...kept].sort((a, b) => a - b),
              'a stable partition',
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

  test('when one slot leaves and the others lie in order, all above it move down', async () => {
    const { library } = await written(
      'ordered',
      `
import { definePolicy, norm, over, scale, topK } from 'skv';
export default definePolicy({
  name: 'ordered',
  across: { all: { sum: (slot) => scale(slot.value, 0.5) } },
  score: (slot, across) => norm(slot.key) > 0 ? norm(across.all) : 0,
  keep: topK(9), when: over(0),
});`,
    );
    for (const kvType of ['bf16', 'f32'] as const)
      for (const [length, loser] of [
        [17, 0],
        [18, 15],
        [33, 32],
        [40, 33],
        [48, 6],
        [50, 31],
      ]) {
        const shape = base(kvType);
        const step = (compact: boolean) => {
          const made = chunk(shape, length, 0, length, { compact, prompt: length }, length - 1);
          const size = shape.kvHeads * shape.headDim;
          made.layers[0].k.fill(0, loser * size, (loser + 1) * size);
          return made;
        };
        const after = chunk(shape, 7, length, length + 1, { prompt: length }, KEEP_ALL);
        const before = run(library, 1, shape, [step(false), ...heads(shape)]);
        const { reads, steps } = run(library, 1, shape, [step(true), ...heads(shape), after]);
        const kept = Array.from({ length }, (_, slot) => slot).filter((slot) => slot !== loser);
        reads.forEach((read, i) => {
          assert.equal(Array.from(read.lanes[0]), kept, `${loser} of ${length}`);
          carried(before.reads[i], read, shape.headDim, []);
        });
        assert.ok(steps[1].layers[0].out.every(Number.isFinite), 'nothing lies in wait');
      }
  });

  test('equal scores: the older leaves first', async () => {
    const shape = base('f32');
    const { library } = await runner.policy('knorm');
    const step = chunk(shape, 3, 0, 30, { compact: true }, 12);
    step.layers[0].k.fill(0.5);
    const { reads } = run(library, 1, shape, [step, ...heads(shape)]);
    for (const head of reads)
      assert.equal(
        Array.from(head.lanes[0]),
        Array.from({ length: 12 }, (_, i) => 18 + i),
      );
  });

  test('NaN scores leave before any other', async () => {
    const shape = base('f32');
    const { library } = await runner.policy('knorm');
    const step = chunk(shape, 4, 0, 30, { compact: true }, 27);
    for (const slot of [4, 11, 29])
      step.layers[0].k.fill(NaN, slot * shape.kvHeads * shape.headDim, (slot + 1) * shape.kvHeads * shape.headDim);
    const { reads } = run(library, 1, shape, [step, ...heads(shape)]);
    for (const head of reads)
      assert.equal(
        Array.from(head.lanes[0]),
        Array.from({ length: 30 }, (_, i) => i).filter((i) => ![4, 11, 29].includes(i)),
      );
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
    for (const head of tova.after.reads) assert.equal(Array.from(head.lanes[0]), stay);

    const window = 6;
    const candidates = Array.from({ length: length - window }, (_, slot) => slot);
    const last = Array.from({ length: window }, (_, k) => length - window + k);
    const snap = await both(
      'snapkv',
      shape,
      length,
      { observe: [length - window, length], observeLast: window, window: [0, window] },
      25,
    );
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

    const ada = await both(
      'adakv',
      shape,
      length,
      { observe: [length - window, length], observeLast: window, window: [0, window] },
      25,
    );
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

  test('chunks stay or leave whole, best mean first; classes and the prompt are protected', async () => {
    const { library, plan } = await written(
      'byChunk',
      `
import { chunks, definePolicy, norm, over } from 'skv';
export default definePolicy({
  name: 'by-chunk', score: (slot) => norm(slot.key), keep: chunks(5, 24), window: { last: 3, classes: ['special'] }, when: over(0),
});`,
    );
    assert.equal(plan.lanes, ['pos', 'class']);
    const shape = base('f32');
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
    const { library } = await written(
      'loud',
      `
import { above, definePolicy, norm, over } from 'skv';
export default definePolicy({ name: 'loud', score: (slot) => norm(slot.key), keep: above(7.8), window: { first: 2, prompt: true }, when: over(0) });`,
    );
    const shape = base('f32');
    const row = { compact: true, prompt: 20, window: [2, 0] as [number, number] };
    const step = chunk(shape, 10, 0, 70, row);
    const { reads } = run(library, 1, shape, [step, ...heads(shape)]);
    reads.forEach((head, h) => {
      const stay = Array.from({ length: 70 }, (_, slot) => slot).filter(
        (slot) =>
          slot < 20 || Math.hypot(...step.layers[0].k.subarray((slot * 2 + h) * 64, (slot * 2 + h + 1) * 64)) > 7.8,
      );
      assert.ok(stay.length > 22 && stay.length < 68, `the threshold divides: ${stay.length}`);
      assert.equal(
        Array.from(head.lanes[0]).sort((x, y) => x - y),
        stay,
      );
    });
  });

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
    const [apart, alone] = await Promise.all(['none', 'sum'].map((group) => written(`apart-${group}`, text(group))));
    const shape = base('f32', { kvHeads: 1, group: 3 });
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
    const { library, plan } = await written(
      'once',
      `
import { definePolicy, every, norm, norm1, topK } from 'skv';
export default definePolicy({
  name: 'once', observe: 'every',
  accumulate: {
    paid: { init: 0.5, next: (paid, slot) => paid + slot.attn },
    size: { once: (slot) => norm1(slot.value) * 0.25 + norm(slot.key) + slot.pos },
  },
  score: (slot) => slot.paid * slot.size, keep: topK(30), when: every(1),
});`,
    );
    const f = Math.fround;
    const [norm, norm1] = [onHost('norm'), onHost('norm1')] as ((x: Float32Array) => number)[];
    for (const kvType of ['bf16', 'f32'] as const) {
      const shape = base(kvType);
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

  test('a profile: each head takes the cheapest rule that keeps enough at the prompt’s end, and generates by it', async () => {
    const file = join(home, 'profiled.ts');
    writeFileSync(
      file,
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
    const { library, plan } = await runner.file(file);
    const { policy } = check(file);
    const shape = base('f32', { kvHeads: 4 });
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
          [...head.lanes[0]].sort((a, b) => a - b),
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

  test('cache positions: attention after eviction sees distances among the live, wherever the sequence is', async () => {
    for (const interleaved of [true, false])
      for (const kvType of ['bf16', 'f32'] as const)
        for (const length of [60, 600]) {
          const headDim = 64;
          // in f32 only a part of each head is rotated
          const frequencies = invFreq(headDim).fill(0, kvType === 'f32' ? 12 : headDim / 2);
          const shape = base(kvType, { kvHeads: 1, group: 2, interleaved, invFreq: frequencies });
          const { library } = await runner.policy('streaming');
          const [sinks, budget] = [4, 24];
          const next = random(length);
          /** R(angle) of a vector at a position, in doubles. */
          const turn = (x: ArrayLike<number>, position: number) => {
            const out = new Float64Array(headDim);
            for (let i = 0; i < headDim / 2; i++) {
              const [a, b] = interleaved ? [2 * i, 2 * i + 1] : [i, i + headDim / 2];
              const [c, s] = [Math.cos(position * shape.invFreq[i]), Math.sin(position * shape.invFreq[i])];
              out[a] = x[a] * c - x[b] * s;
              out[b] = x[a] * s + x[b] * c;
            }
            return out;
          };
          const [q, k, v] = [
            normals(next, length * 2 * headDim),
            normals(next, length * headDim),
            normals(next, length * headDim),
          ];
          const at = (x: Float32Array, i: number) => x.subarray(i * headDim, (i + 1) * headDim);
          /** Vectors [token][per][dim], each turned by its token's position. */
          const rotated = (x: Float32Array, per: number) => {
            const out = new Float32Array(x.length);
            for (let i = 0; i * headDim < x.length; i++) out.set(turn(at(x, i), Math.floor(i / per)), i * headDim);
            return out;
          };
          const [rq, rk] = [rotated(q, 2), rotated(k, 1)];
          const step = (from: number, to: number): Step => ({
            rows: [{ seq: 0, tokens: to - from, pos0: from, prompt: 40, compact: true, window: [sinks, 0] }],
            layers: [
              {
                q: rq.slice(from * 2 * headDim, to * 2 * headDim),
                k: rk.slice(from * headDim, to * headDim),
                v: v.slice(from * headDim, to * headDim),
              },
            ],
            budgets: [budget],
          });
          const ops = [step(0, 40), ...Array.from({ length: length - 40 }, (_, i) => step(40 + i, 41 + i))];
          const { steps, reads } = run(library, 2, shape, [...ops, { seq: 0, layer: 0, head: 0 }]);
          const expectedSet = Array.from({ length: budget }, (_, i) => (i < sinks ? i : length - budget + i));
          assert.equal(
            Array.from(reads[0].lanes[0]).sort((a, b) => a - b),
            expectedSet,
          );
          // the last query saw the sinks, the newest and itself at distances 0, 1, 2 …
          const seen = [
            ...Array.from({ length: sinks }, (_, i) => i),
            ...Array.from({ length: budget - sinks + 1 }, (_, i) => length - 1 - (budget - sinks) + i),
          ];
          const effective = (i: number) => length - seen.length + i;
          const keys = seen.map((pos, i) => {
            const stored = at(rk, pos);
            return turn(kvType === 'bf16' ? stored.map(bf16) : stored, effective(i) - pos);
          });
          const values = seen.map((pos) => (kvType === 'bf16' ? at(v, pos).map(bf16) : at(v, pos)));
          const answer = steps[steps.length - 1].layers[0];
          for (let g = 0; g < 2; g++) {
            const expected = attention(scaled(at(rq, (length - 1) * 2 + g), kvType), keys, values);
            for (let d = 0; d < headDim; d++) {
              const error = Math.abs(expected.out[d] - answer.out[g * headDim + d]);
              // bf16: probabilities are rounded, and a turned key may fall on the other side of a tie than in doubles
              const allowed = kvType === 'f32' ? 1e-5 : 2 ** -8 * expected.spread[d] + 1e-3;
              assert.ok(error < allowed, `${kvType}, length ${length}, dim ${d}: off by ${error}`);
            }
          }
        }
  });
}
