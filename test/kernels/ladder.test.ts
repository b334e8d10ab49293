/** The ladder's rungs on the CPU: JavaScript = interpreter = C++; and simplify changes no value and has nothing left to do. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { targets } from '../../codegen/back/targets.ts';
import { includes } from '../../codegen/back/shared/includes.ts';
import { compileFor } from './driver.ts';
import { irText } from '../../codegen/ir/text.ts';
import { difference, onHostPolicy, situation } from '../../codegen/oracle/ladder.ts';
import { plan } from '../../codegen/plan/plan.ts';
import { render } from '../../codegen/back/render.ts';
import { simplify } from '../../codegen/ir/simplify.ts';
import { answer, climb, COUNT, cut, FIRST, folder, randomPolicies, type Rung } from './ladder.ts';

const policies = randomPolicies(COUNT);

test(`${COUNT} random policies (seeds ${FIRST} … ${FIRST + COUNT - 1}): simplify changes no value and is idempotent`, () => {
  for (const { seed, written, simple } of policies) {
    assert.is(irText(simplify(simple)), irText(simple), `seed ${seed}: simplified twice`);
    for (let k = 0; k < 4; k++) {
      const at = situation(written, seed * 8 + k, k % 2 === 1);
      const [before, after] = [answer(written, k, at), answer(simple, k, at)];
      assert.is(difference(before.states, after.states), undefined, `seed ${seed}.${k}: states`);
      assert.is(difference(before.scores, after.scores), undefined, `seed ${seed}.${k}: scores`);
    }
  }
});

test('JavaScript = interpreter', () => {
  for (const { seed, written, runnable } of policies)
    for (let k = 0; k < 4; k++) {
      const at = situation(written, seed * 8 + k, k % 2 === 1);
      const [above, below] = [onHostPolicy(written, runnable, at), answer(written, k, at)];
      assert.is(difference(above.states, below.states), undefined, `seed ${seed}.${k}: states`);
      assert.is(difference(above.scores, below.scores), undefined, `seed ${seed}.${k}: scores`);
    }
});

/**
 * One library of many policies, their expressions and probes only: the passes over pages are tested elsewhere. The first is
 * optimised as passes are, which takes 1 s for each of them; the second is compiled as `skv build` does, its probes a little,
 * the others not at all. What the text says is the same, and the optimiser is not the only thing that could be wrong.
 */
async function library(batch: readonly Rung[], lane: number): Promise<string> {
  const name = `batch-${lane}`;
  const at = join(folder, name);
  mkdirSync(at);
  const whole = lane === 1; // else both halves of a policy's text are one
  const parts = batch.map(({ seed, simple }) => {
    const text = render(simple, plan(simple, 'cpu', String(seed)))['policy.cpp'];
    return text
      .replace('#include "cpu/library.hpp"', `namespace seed_${seed} {`)
      .replaceAll('skv_policy_entry', `skv_policy_entry_${seed}`)
      .replace(whole ? /^.*= Passes<Policy>::.*$/gm : /^(.*= Passes<Policy>::.*|#(ifdef|else|endif).*)$/gm, '')
      .concat('}\n');
  });
  const kernels = whole ? '' : '#include "cpu/kernels_lanes.cpp"\n'; // the kernels that expressions call
  writeFileSync(join(at, 'policy.cpp'), `#include "cpu/library.hpp"\n${kernels}${parts.join('\n')}`);
  if (whole) return targets.cpu.compiler({}).compile(at, name);
  return quickly(at, name, lane === 0 ? '-O3' : '-O0');
}

async function quickly(folder: string, name: string, level: '-O0' | '-O3'): Promise<string> {
  const out = join(folder, 'policy.so');
  const flags = ['-march=native', '-ffp-contract=off', '-fno-math-errno', '-fno-trapping-math', level];
  const machine = { name, cxx: process.env.CXX ?? 'c++', flags, run: [] };
  const include = includes.map((path) => `-I${path}`);
  await compileFor(machine, ['-shared', '-fPIC', ...include, join(folder, 'policy.cpp'), '-o', out]);
  return out;
}

climb('C++', cut(policies, 8, 42, 225), library);

test.run();
