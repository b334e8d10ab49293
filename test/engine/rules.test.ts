/** Sizes of a sequence: literals, parameters in tokens, fractions of the logical length. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { compileSource, shipped } from '../../codegen/build.ts';
import type { Plan } from '../../codegen/plan-types.ts';
import { Rules } from '../../runtime/engine/rules.ts';

const { plan } = await compileSource(shipped('knorm')!);
/** knorm with a budget that is a share of the sequence. */
const shared: Plan = {
  ...plan,
  params: [{ name: 'budget', kind: 'fraction', default: 0.2, min: 0, max: 1 }],
  window: { ...plan.window, first: { tokens: 0 }, last: { tokens: 0 } },
};
const budget = (given: Record<string, number>, length: number): number =>
  new Rules(shared, given, undefined, 1).budget(length);

test('a fraction grows with the sequence', () => {
  assert.is(budget({}, 1000), 200);
  assert.is(budget({ budget: 0.5 }, 1000), 500);
  assert.is(budget({ budget: 1 }, 7), 7);
});

test('a fraction is one slot at least, 0 too', () => {
  assert.is(budget({ budget: 0.001 }, 100), 1);
  assert.is(budget({ budget: 0 }, 1000), 1);
});

test('tokens are what was asked for, whatever the length', () => {
  const rules = new Rules(plan, { budget: 300 }, undefined, 1);
  assert.is(rules.budget(10), 300);
  assert.is(rules.budget(10_000), 300);
});

test.run();
