/** simplify: what it folds, drops and shares, and the rewrites that IEEE forbids. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { interpreted, situation } from '../../codegen/oracle/ladder.ts';
import type { Node } from '../../codegen/ir/nodes.ts';
import { irText } from '../../codegen/ir/text.ts';
import { simplify } from '../../codegen/ir/simplify.ts';
import { verifySimplified } from '../../codegen/ir/verify.ts';
import { walk } from '../../codegen/ir/walk.ts';
import { policyOf, scoreText } from './snippets.ts';

const simple = (score: string, before = '') =>
  scoreText(verifySimplified(simplify(policyOf(`score: ${score}`, before))));

/** A score and what is left of it. */
const rewrites: [string, string, string][] = [
  ['constants fold in f32', '(slot) => slot.pos * (0.1 * 3 + 1)', '(mul slot.pos 1.2999999523162842)'],
  ['builtins of constants fold', '(slot) => slot.pos * exp(0)', 'slot.pos'],
  ['times one, over one, minus zero', '(slot) => (1 * (slot.pos * 1)) / 1 - 0', 'slot.pos'],
  ['a decided choice', '(slot) => (1 < 2 ? slot.pos : slot.age)', 'slot.pos'],
  ['a choice of equals', '(slot) => (slot.special ? slot.pos * 2 : slot.pos * 2)', '(mul slot.pos 2)'],
  ['a negated choice', '(slot) => (!slot.special ? 1 : 2)', '(select slot.special 2 1)'],
  ['twice not, twice minus', '(slot) => (!!slot.special ? -(-slot.pos) : 1)', '(select slot.special slot.pos 1)'],
  ['and, or with constants', '(slot) => ((slot.special && true) || false ? 1 : 2)', '(select slot.special 1 2)'],
  [
    'the same text is the same value',
    '(slot) => exp(slot.pos * 2) + exp(slot.pos * 2)',
    '%0 = (exp (mul slot.pos 2)); (add %0 %0)',
  ],
  [
    'a vector function and an operator of the same name',
    '(slot) => dot(add(slot.key, slot.value), slot.key) + (slot.pos + slot.age)',
    '(add (dot (add slot.key slot.value) slot.key) (add slot.pos slot.age))',
  ],
];
for (const [what, score, left] of rewrites) test(what, () => assert.is(simple(score), left));

/** Scores that look reducible and are not: NaN, infinities, -0 and rounding tell the difference. */
const kept: [string, string, string][] = [
  ['x * 0', '(slot) => slot.pos * 0', '(mul slot.pos 0)'],
  ['x + 0', '(slot) => slot.pos + 0', '(add slot.pos 0)'],
  ['x - -0', '(slot) => slot.pos - -0', '(sub slot.pos -0)'],
  ['0 - x', '(slot) => 0 - slot.pos', '(sub 0 slot.pos)'],
  ['x - x', '(slot) => slot.pos - slot.pos', '(sub slot.pos slot.pos)'],
  ['x / x', '(slot) => slot.pos / slot.pos', '(div slot.pos slot.pos)'],
  ['x === x', '(slot) => (slot.pos === slot.pos ? 1 : 0)', '(select (eq slot.pos slot.pos) 1 0)'],
  ['!(a < b)', '(slot) => (!(slot.pos < slot.age) ? 1 : 0)', '(select (lt slot.pos slot.age) 0 1)'],
  ['regrouping', '(slot) => slot.pos + 0.1 + 0.2', '(add (add slot.pos 0.10000000149011612) 0.20000000298023224)'],
  ['division by a constant', '(slot) => slot.pos / 3', '(div slot.pos 3)'],
];
for (const [what, score, left] of kept) test(`kept: ${what}`, () => assert.is(simple(score), left));

test('a folded -0 stays -0, a folded NaN is one', () => {
  assert.is(simple('(slot) => slot.pos * (0 * -1)'), '(mul slot.pos -0)');
  assert.is(simple('(slot) => slot.pos * (0 / 0)'), '(mul slot.pos NaN)');
  assert.is(simple('(slot) => slot.pos + min(0 * -1, 0)'), '(add slot.pos -0)');
});

test('statistics that nothing reads go, states stay', () => {
  const fields = `observe: 'every', accumulate: { mass: { init: 0, next: (m, slot) => m + slot.attn } },
    across: { unused: { mean: (slot) => slot.pos }, used: { max: (slot) => slot.pos } },`;
  const policy = simplify(
    policyOf(`${fields} score: (slot, across) => slot.mass + across.used + (false ? across.unused : 0)`),
  );
  assert.equal(
    policy.across.map(({ name }) => name),
    ['used'],
  );
  assert.equal(
    policy.states.map(({ name }) => name),
    ['mass'],
  );
});

test('nothing is left to do the second time, and no value changed', () => {
  const long = `(slot) => { const a = slot.pos * 1; if (!(slot.special || false)) return a + exp(0) * (a - 0); return max(a, 2 * 3) / 1; }`;
  const policy = policyOf(`score: ${long}`);
  const once = simplify(policy);
  assert.is(irText(simplify(once)), irText(once));
  assert.is.not(irText(once), irText(policy));
  for (let seed = 0; seed < 20; seed++)
    assert.equal(interpreted(once, situation(once, seed)).scores, interpreted(policy, situation(policy, seed)).scores);
});

test('a long chain of shared values takes linear time and text', () => {
  const lines = Array.from({ length: 200 }, (_, i) => `const a${i} = ${i ? `a${i - 1} * a${i - 1}` : 'slot.pos + 1'};`);
  const policy = simplify(policyOf(`score: (slot) => { ${lines.join(' ')} return a199; }`));
  assert.is([...walk(policy.score as Node)].length, 202);
  assert.ok(irText(policy).length < 10_000);
  assert.is(interpreted(policy, situation(policy, 1)).scores.length, situation(policy, 1).slots);
});

test('a node of the wrong type after simplify is an internal error', () => {
  const policy = policyOf('score: (slot) => slot.pos + 1');
  const broken = { ...policy, score: { ...policy.score, type: 'bool' } as Node };
  assert.throws(() => verifySimplified(broken), /^internal: verify failed after simplify: binary in score of mine/);
  const unrounded = { ...policy, score: { op: 'const', type: 'f32', value: 0.1, span: policy.span } as Node };
  assert.throws(() => verifySimplified(unrounded), /const in score/);
});

test.run();
