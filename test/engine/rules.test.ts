/** Sizes of a sequence: literals, parameters in tokens, fractions of the logical length. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { compileSource, shipped } from '../../codegen/build.ts';
import type { Plan } from '../../codegen/plan/types.ts';
import { Rules } from '../../runtime/engine/rules.ts';

const { plan } = await compileSource(shipped('knorm')!);
const h2oAndSnapkv = await Promise.all(['h2o', 'snapkv'].map((name) => compileSource(shipped(name)!)));
/** knorm with a budget that is a share of the sequence. */
const shared: Plan = {
  ...plan,
  params: [{ name: 'budget', kind: 'fraction', default: 0.2, min: 0, max: 1 }],
  window: { ...plan.window, first: { tokens: 0 }, last: { tokens: 0 } },
};
const budget = (given: Record<string, number>, length: number): number =>
  new Rules(shared, given, undefined, [0]).budget(length);

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
  const rules = new Rules(plan, { budget: 300 }, undefined, [0]);
  assert.is(rules.budget(10), 300);
  assert.is(rules.budget(10_000), 300);
});

test('a budget that keeps nothing is refused, unless it counts what is not protected', () => {
  const asked = (keep: Partial<Extract<Plan['keep'], { budget: unknown }>>, value: number) => () =>
    new Rules({ ...plan, keep: { ...plan.keep, ...keep } as Plan['keep'] }, { budget: value }, undefined, [0]);
  assert.throws(asked({}, 0), /knorm: a budget of 0 keeps nothing\. Ask for a budget of at least 1\./);
  assert.is(asked({ besides: 'protected' }, 0)().budget(100), 0);
  const chunks = { kind: 'chunks', size: 20 } as const;
  assert.throws(asked(chunks, 19), /whole chunks of 20 positions, and none fits into a budget of 19/);
  assert.is(asked(chunks, 20)().budget(100), 20);
});

test('what decides where there is no budget is told by its name', () => {
  const keeps: [Plan['keep'], RegExp][] = [
    [{ kind: 'all' }, /a ratio could stand in for: it keeps everything\.$/],
    [{ kind: 'above' }, /: a threshold decides\.$/],
    [{ kind: 'profile', mass: 'mass', rules: [] }, /: each head takes a rule of its profile\.$/],
  ];
  for (const [keep, said] of keeps) assert.throws(() => new Rules({ ...plan, keep }, {}, 0.5, [0]), said);
});

test('a threshold is asked once so many tokens have come: it has no budget to be over', () => {
  const above = (when: Plan['when']) => new Rules({ ...plan, keep: { kind: 'above' }, when }, {}, undefined, [0]);
  const always = above([{ kind: 'over', slack: 0 }]);
  assert.is(always.compacts(100, 100, 0), true, 'at the end of the prompt');
  assert.is(always.compacts(101, 100, 0), true);
  assert.is(always.until(100, 100, 0), 1);
  const fourth = above([{ kind: 'over', slack: 3 }]);
  assert.equal(
    [101, 102, 103, 104].map((length) => fourth.compacts(length, 100, 0)),
    [false, false, false, true],
  );
});

test('budgets of layers rise where beta is below 1, around the budget, and no layer is asked for more than there is', () => {
  const at = (beta: number, length: number) => {
    const out = new Int32Array(4);
    new Rules({ ...plan, layers: { kind: 'pyramid', beta } }, { budget: 90 }, undefined, [0, 0, 0, 0]).budgets(
      length,
      out,
    );
    return [...out];
  };
  assert.equal(at(0.75, 1000), [60, 80, 100, 120]);
  assert.equal(at(4 / 3, 1000), [113, 98, 83, 68]);
  assert.equal(at(0.75, 110), [70, 83, 96, 109]);
});

test('a step of several tokens ends where the first layer of a progression is over, whose budget falls while few have come', () => {
  const rising: Plan = { ...plan, layers: { kind: 'pyramid', beta: 0.75 }, when: [{ kind: 'over', slack: 8 }] };
  const rules = new Rules(rising, { budget: 20 }, undefined, [0, 0]);
  const out = new Int32Array(2);
  let length = 10;
  const over = (at: number) => {
    rules.budgets(at, out);
    return at - Math.min(...out);
  };
  while (over(length) <= 8) length += rules.until(length, 5, over(length));
  assert.is(over(length - 1) <= 8, true, `at ${length} it is too late`);
  assert.ok(rules.until(100, 5, 0) === 9, 'settled');
});

test('observed queries may be a share of the prompt', () => {
  const observing: Plan = {
    ...plan,
    params: [{ name: 'share', kind: 'fraction', default: 0.1, min: 0, max: 1 }, ...plan.params],
    observe: { prompt: { last: { param: 'share' } }, decode: false },
  };
  assert.is(new Rules(observing, {}, undefined, [0]).observeLast(500), 50);
});

test('tokens of a step are whole where heads hold different numbers of slots', () => {
  const rules = new Rules({ ...plan, when: [{ kind: 'over', slack: 4 }] }, {}, undefined, [0]);
  assert.is(rules.until(100, 50, 0.5), 4);
});

test('peaks: to the end where there is a bound, else with what is known', () => {
  const peaks = (when: Plan['when'], layers: Plan['layers'] = { kind: 'uniform' }) =>
    new Rules({ ...plan, when, layers }, { budget: 300 }, undefined, [0, 0]).peaks(1000, 5000);
  assert.equal(peaks([{ kind: 'over', slack: 0 }]), { prompt: 1000, decode: 301 });
  assert.equal(peaks([{ kind: 'promptEnd' }]), { prompt: 1000, decode: 300 + 4000 });
  assert.equal(
    peaks([
      { kind: 'promptChunk', n: 64 },
      { kind: 'over', slack: 0 },
    ]),
    { prompt: 364, decode: 301 },
  );
  assert.is(peaks([{ kind: 'over', slack: 0 }], { kind: 'table', factors: [4, 1] }).decode, 1201);
});

test('a window with a whole prompt counts in peaks, besides its budget or in it', () => {
  const peaks = (more: Partial<Plan>) =>
    new Rules({ ...plan, when: [{ kind: 'over', slack: 0 }], ...more }, { budget: 300 }, undefined, [0, 0]).peaks(
      1000,
      5000,
    );
  const window = { ...plan.window, prompt: true };
  assert.equal(peaks({ window }), { prompt: 1000, decode: 1001 });
  const keep = { ...(plan.keep as Extract<Plan['keep'], { kind: 'topK' }>), besides: 'protected' as const };
  assert.equal(peaks({ window, keep }), { prompt: 1000, decode: 1301 });
  const when: Plan['when'] = [
    { kind: 'promptChunk', n: 64 },
    { kind: 'over', slack: 0 },
  ];
  assert.is(peaks({ window, keep, when }).prompt, 1000, 'chunks do not bound a prompt that is protected');
});

test('a ratio moves the parameters that expressions read, not those that observe counts', () => {
  const { plan: h2o } = h2oAndSnapkv[0];
  const ratio = new Rules(h2o, {}, 0.05, [0, 0]);
  const whole = h2o.params[2].default; // a block as long as any prompt
  assert.equal([...ratio.paramsAt(4000, 4000)], [200, 100, whole]);
  assert.equal([...ratio.paramsAt(300, 4000)], [200, 100, whole], 'while the prompt is read, those of its end');
  assert.equal([...ratio.paramsAt(6000, 4000)], [300, 150, whole]);
  assert.equal([...new Rules(h2o, {}, undefined, [0, 0]).paramsAt(4000, 4000)], [512, 256, whole]);
  const { plan: snapkv } = h2oAndSnapkv[1];
  assert.equal([...new Rules(snapkv, {}, 0.005, [0, 0]).paramsAt(4000, 4000)], [20, 32]);
});

test.run();
