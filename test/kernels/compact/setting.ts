/** What the cases of selection and compaction share: small problems, how they run on a target, and what must hold of an answer. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test as uvu } from 'uvu';
import * as assert from 'uvu/assert';
import { random } from '../../../codegen/oracle/random.ts';
import { normals } from '../dense.ts';
import { type Read, type ReadAnswer, type Row, type Shape, type Step, drive } from '../driver.ts';
import type { Runner } from '../runners.ts';

const home = mkdtempSync(join(tmpdir(), 'skv-compact-'));
process.on('exit', () => rmSync(home, { recursive: true, force: true }));

export const invFreq = (headDim: number) =>
  Float32Array.from({ length: headDim / 2 }, (_, i) => 10000 ** ((-2 * i) / headDim));
export const base = (kvType: Shape['kvType'], changes: Partial<Shape> = {}): Shape => ({
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
export function chunk(shape: Shape, seed: number, from: number, to: number, row: Partial<Row>, budget = 0): Step {
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

export const heads = (shape: Shape) => Array.from({ length: shape.kvHeads }, (_, head) => ({ seq: 0, layer: 0, head }));
export const vector = (x: Float32Array, slot: number, dim: number) =>
  Array.from(x.subarray(slot * dim, (slot + 1) * dim));

/** Every kept slot carries the key, value and lanes it had. */
export function carried(before: ReadAnswer, after: ReadAnswer, dim: number, lanes: number[]): void {
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

/** The positions of a head's slots, however they lie. */
export const positionsOf = (head: ReadAnswer) => [...head.lanes[0]].sort((a, b) => a - b);

/** Slots in the order in which they leave: by score, then the older first. */
export const ranked = (scores: ArrayLike<number>, slots: number[]) =>
  [...slots].sort((a, b) => scores[a] - scores[b] || a - b);

/** How a case is named, built and run on one target. */
export type Setting = ReturnType<typeof settingOf>;

export function settingOf(runner: Runner) {
  const test = (name: string, body: () => Promise<void>) => uvu(`${runner.name}: ${name}`, body);
  const run = (library: string, lanes: number, shape: Shape, ops: (Step | Read)[]) =>
    drive(library, lanes, shape, ops, { order: runner.order });

  /** Runs one prompt twice, with and without the compaction at its end. */
  async function both(name: string, shape: Shape, length: number, row: Partial<Row>, budget: number) {
    const { library, plan } = await runner.policy(name, shape);
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
  async function written(name: string, shape: Shape, text: string) {
    const file = join(home, `${name}.ts`);
    writeFileSync(file, text);
    return { ...(await runner.file(file, shape)), file };
  }

  return { test, run, both, policy: runner.policy, written };
}
