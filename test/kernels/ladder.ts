/**
 * Random policies for the ladder: JavaScript = interpreter = C++ = CUDA's text, bit for bit, on states and scores; half of the
 * situations hold NaN, infinities, -0 and subnormals. SKV_LADDER=N takes N policies, SKV_LADDER_SEED moves the first seed.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { host, type HostPolicy } from '../../codegen/oracle/host.ts';
import type { Policy } from '../../codegen/ir/nodes.ts';
import {
  type Rung as Answer,
  type Situation,
  difference,
  interpreted,
  situation,
} from '../../codegen/oracle/ladder.ts';
import { lower } from '../../codegen/front/lower.ts';
import { preload, read } from '../../codegen/front/read.ts';
import { simplify } from '../../codegen/ir/simplify.ts';
import { verify, verifySimplified } from '../../codegen/ir/verify.ts';
import { native } from '../../runtime/native/index.ts';
import { randomPolicy } from '../lang/random.ts';

export const COUNT = Number(process.env.SKV_LADDER ?? 500);
export const FIRST = Number(process.env.SKV_LADDER_SEED ?? 1);

export const folder = mkdtempSync(join(tmpdir(), 'skv-ladder-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

/** A random policy as it was written, simplified, and as the author's JavaScript. */
export interface Rung {
  seed: number;
  written: Policy;
  simple: Policy;
  runnable: HostPolicy;
}

const known = new WeakMap<Policy, Answer[]>();
/** The interpreter's answer in a policy's k-th situation, computed once: every other rung is held against it. */
export function answer(policy: Policy, k: number, at: Situation): Answer {
  const answers = known.get(policy) ?? [];
  known.set(policy, answers);
  return (answers[k] ??= interpreted(policy, at));
}

/** The policies of `count` seeds from FIRST on. */
export function randomPolicies(count: number): Rung[] {
  const seeds = Array.from({ length: count }, (_, i) => FIRST + i);
  const fileOf = (seed: number) => join(folder, `random-${seed}.ts`);
  for (const seed of seeds) writeFileSync(fileOf(seed), randomPolicy(seed, `random-${seed}`));
  preload(seeds.map(fileOf));
  return seeds.map((seed) => {
    const written = verify(lower(read(fileOf(seed))));
    return { seed, written, simple: verifySimplified(simplify(written)), runnable: host(fileOf(seed)) };
  });
}

/** The first of `sizes` policies, the next of them, …, the last again and again. */
export function cut(policies: readonly Rung[], ...sizes: number[]): Rung[][] {
  const batches: Rung[][] = [];
  for (let from = 0; from < policies.length; from += batches.at(-1)!.length)
    batches.push(policies.slice(from, from + (sizes[batches.length] ?? sizes.at(-1)!)));
  return batches;
}

/** Declares a test for each batch: what `make` compiles of it, two at a time, equals the interpreter. */
export function climb(
  name: string,
  batches: readonly (readonly Rung[])[],
  make: (batch: readonly Rung[], lane: number) => Promise<string>,
): void {
  const lanes: Promise<string>[] = [];
  for (const [lane, batch] of batches.entries()) {
    lanes.push((lanes[lane - 2] ?? Promise.resolve('')).then(() => make(batch, lane)));
    test(`interpreter = ${name}, seeds ${batch[0].seed} … ${batch[batch.length - 1].seed}`, async () => {
      const path = await lanes[lane];
      for (const { seed, simple } of batch)
        for (let k = 0; k < 4; k++) {
          const at = situation(simple, seed * 8 + k, k % 2 === 1);
          const expected = answer(simple, k, at);
          const probe = { ...at, headDim: at.dim, states: at.states.slice(), scores: new Float32Array(at.slots) };
          native().probeScore(`${path}#skv_policy_entry_${seed}`, probe);
          native().probeNext(`${path}#skv_policy_entry_${seed}`, probe);
          assert.is(difference(expected.states, probe.states), undefined, `seed ${seed}.${k}: states`);
          assert.is(difference(expected.scores, probe.scores), undefined, `seed ${seed}.${k}: scores`);
        }
    });
  }
}
