/**
 * The ladder over random policies: JavaScript = interpreter = C++ = CUDA's text, bit for bit, on states and scores; and simplify changes
 * no value and has nothing left to do; half of the situations hold NaN, infinities, -0 and subnormals. SKV_LADDER=N runs N policies, SKV_LADDER_SEED moves the first seed.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { targets } from '../../codegen/back/targets.ts';
import { includes } from '../../codegen/back/shared/includes.ts';
import { compileFor } from './driver.ts';
import { quickCompiler } from './quick.ts';
import { emulateSource } from '../emulation/emulate.ts';
import { host } from '../../codegen/oracle/host.ts';
import { irText } from '../../codegen/ir/text.ts';
import { difference, interpreted, onHostPolicy, situation } from '../../codegen/oracle/ladder.ts';
import { lower } from '../../codegen/front/lower.ts';
import { plan } from '../../codegen/plan/plan.ts';
import { preload, read } from '../../codegen/front/read.ts';
import { render } from '../../codegen/back/render.ts';
import { simplify } from '../../codegen/ir/simplify.ts';
import { verify, verifySimplified } from '../../codegen/ir/verify.ts';
import { native } from '../../runtime/native/index.ts';
import { randomPolicy } from '../lang/random.ts';

const COUNT = Number(process.env.SKV_LADDER ?? 500);
const FIRST = Number(process.env.SKV_LADDER_SEED ?? 1);
/** Policies of one C++ file. */
const BATCH = 125;

const folder = mkdtempSync(join(tmpdir(), 'skv-ladder-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

const seeds = Array.from({ length: COUNT }, (_, i) => FIRST + i);
const fileOf = (seed: number) => join(folder, `random-${seed}.ts`);
for (const seed of seeds) writeFileSync(fileOf(seed), randomPolicy(seed, `random-${seed}`));
preload(seeds.map(fileOf));
const policies = seeds.map((seed) => {
  const written = verify(lower(read(fileOf(seed))));
  return { seed, written, simple: verifySimplified(simplify(written)), runnable: host(fileOf(seed)) };
});

test(`${COUNT} random policies (seeds ${FIRST} … ${FIRST + COUNT - 1}): simplify changes no value and is idempotent`, () => {
  for (const { seed, written, simple } of policies) {
    assert.is(irText(simplify(simple)), irText(simple), `seed ${seed}: simplified twice`);
    for (let k = 0; k < 4; k++) {
      const at = situation(written, seed * 8 + k, k % 2 === 1);
      const [before, after] = [interpreted(written, at), interpreted(simple, at)];
      assert.is(difference(before.states, after.states), undefined, `seed ${seed}.${k}: states`);
      assert.is(difference(before.scores, after.scores), undefined, `seed ${seed}.${k}: scores`);
    }
  }
});

test('JavaScript = interpreter', () => {
  for (const { seed, written, runnable } of policies)
    for (let k = 0; k < 4; k++) {
      const at = situation(written, seed * 8 + k, k % 2 === 1);
      const [above, below] = [onHostPolicy(written, runnable, at), interpreted(written, at)];
      assert.is(difference(above.states, below.states), undefined, `seed ${seed}.${k}: states`);
      assert.is(difference(above.scores, below.scores), undefined, `seed ${seed}.${k}: scores`);
    }
});

/** One library of many policies, their expressions and probes only: the passes over pages are tested elsewhere. */
async function library(batch: typeof policies, name: string): Promise<string> {
  const at = join(folder, name);
  mkdirSync(at);
  const parts = batch.map(({ seed, simple }) => {
    const text = render(simple, plan(simple, 'cpu', String(seed)))['policy.cpp'];
    return text
      .replace('#include "cpu/library.hpp"', `namespace seed_${seed} {`)
      .replaceAll('skv_policy_entry', `skv_policy_entry_${seed}`)
      .replace(/^.*= Passes<Policy>::.*$/gm, '')
      .concat('}\n');
  });
  writeFileSync(join(at, 'policy.cpp'), `#include "cpu/library.hpp"\n${parts.join('\n')}`);
  if (batch[0].seed === FIRST) return targets.cpu.compiler({ march: 'native' }).compile(at, name); // as it is shipped
  return quickly(at, name);
}

const quick = quickCompiler('-O1');

/** The same expressions in a third of the time: the optimiser is not the only thing that could be wrong. */
function quickly(folder: string, name: string): Promise<string> {
  const out = join(folder, 'policy.so');
  const args = ['-std=c++17', '-march=native', '-ffp-contract=off', '-fno-math-errno', '-fno-trapping-math'];
  return compileFor({ name, cxx: quick, flags: args, run: [] }, [
    '-shared',
    '-fPIC',
    ...includes.map((path) => `-I${path}`),
    join(folder, 'policy.cpp'),
    '-o',
    out,
  ]).then(() => out);
}

/** The same of CUDA's text, for the emulation. */
function emulated(batch: typeof policies): Promise<string> {
  let head = '';
  const parts = batch.map(({ seed, simple }) => {
    const text = render(simple, plan(simple, 'cuda', String(seed)))['policy.cu'];
    const start = text.indexOf('namespace {');
    head ||= text.slice(0, start);
    const body = text
      .slice(start)
      .replaceAll('skv_policy_entry', `skv_policy_entry_${seed}`)
      .replace('"cuda"', '"cpu"') // emulated, it takes the addon's arrays, as no library for a GPU could
      .replace(/return BY_SHAPE\(.*?;/g, 'return (void)step, (void)exec, 0;');
    return `namespace seed_${seed} {\n${body}}\n`;
  });
  return emulateSource(`${head}${parts.join('\n')}`, folder);
}

/** A rung of compiled policies: which seeds, in files of how many, and how a file is made. */
const rungs = [
  { name: 'C++', count: COUNT, size: BATCH, make: library },
  { name: 'CUDA', count: Math.ceil(COUNT / 4), size: Math.ceil(COUNT / 8), make: emulated },
];
/** Two compilers at a time. */
const lanes: Promise<string>[] = [];
for (const { name, count, size, make } of rungs)
  for (let from = 0; from < count; from += size) {
    const batch = policies.slice(from, Math.min(count, from + size));
    const lane = lanes.length;
    lanes.push((lanes[lane - 2] ?? Promise.resolve('')).then(() => make(batch, `batch-${lane}`)));
    test(`interpreter = ${name}, seeds ${batch[0].seed} … ${batch[batch.length - 1].seed}`, async () => {
      const path = await lanes[lane];
      for (const { seed, simple } of batch)
        for (let k = 0; k < 4; k++) {
          const at = situation(simple, seed * 8 + k, k % 2 === 1);
          const expected = interpreted(simple, at);
          const probe = { ...at, headDim: at.dim, states: at.states.slice(), scores: new Float32Array(at.slots) };
          native().probeScore(`${path}#skv_policy_entry_${seed}`, probe);
          native().probeNext(`${path}#skv_policy_entry_${seed}`, probe);
          assert.is(difference(expected.states, probe.states), undefined, `seed ${seed}.${k}: states`);
          assert.is(difference(expected.scores, probe.scores), undefined, `seed ${seed}.${k}: scores`);
        }
    });
  }

test.run();
