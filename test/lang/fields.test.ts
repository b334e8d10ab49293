/** Fields of a policy as data: what each becomes, and what is refused, alone or beside others. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { check } from '../../codegen/front/check.ts';
import { irText } from '../../codegen/ir/text.ts';
import { tablesOf } from '../../codegen/ir/uses.ts';
import { files, IMPORTS, mistakes, policyOf, slugs } from './snippets.ts';

const STATE = `observe: 'every', accumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn } }, `;

test('declarative fields', () => {
  const policy = policyOf(
    `params: { budget: fraction(0.2), w: tokens(16, { min: 1, max: WIDE }) }, ${STATE.replace("'every'", "[{ last: 'w' }, 'decode']")}
     score: (slot) => slot.mass, group: 'max', pool: mean(WIDTH), heads: 'shared', layers: [2, 1, 0.5], keep: chunks(WIDTH * 2, 'budget'),
     window: { first: 4, last: 'w', prompt: true, classes: ['special'] }, when: [every('auto'), promptChunk(64)], positions: 'cache', store: 'f32', place: 'host'`,
    'const WIDTH = 5; const WIDE = 100 - 36;',
  );
  const { observe, group, pool, heads, layers, keep, window, when, positions, store, place, params } = policy;
  assert.equal(
    { observe, group, pool, heads, layers, keep, window, when, positions, store, place },
    {
      observe: { prompt: { last: { param: 'w' } }, decode: true },
      group: 'max',
      pool: { kind: 'mean', width: 5 },
      heads: { kind: 'shared' },
      layers: { kind: 'table', factors: [2, 1, 0.5] },
      keep: { kind: 'chunks', size: 10, budget: { param: 'budget' } },
      window: { first: { tokens: 4 }, last: { param: 'w' }, prompt: true, classes: ['special'] },
      when: [
        { kind: 'every', n: 'auto' },
        { kind: 'promptChunk', n: 64 },
      ],
      positions: 'cache',
      store: 'f32',
      place: 'host',
    },
  );
  assert.equal(
    params.map(({ name, kind, default: value, max }) => [name, kind, value, max]),
    [
      ['budget', 'fraction', 0.2, 1],
      ['w', 'tokens', 16, 64],
    ],
  );
});

test('tables: by layer and by layer and head, of the file, an import or JSON, in f32 as everywhere', () => {
  const [path] = files({
    'tables.ts': `${IMPORTS}import { factor } from './factors.ts';
import made from './made.json';
const K = 1 / 3;
const gates = [[0.1 * K, K], [-1, 2e-3]] as const;
export default definePolicy({ name: 'mine', layers: made.factors,
  score: (slot) => gates[slot.layer][slot.head] + made.nested.gates[slot.layer][slot.head] * factor(slot.layer, slot.pos) + made.factors[slot.layer], keep: topK(8) });
`,
    'factors.ts': `import type { Slot } from 'skv';
const gates = [3, 4];
export const factor = (layer: number, x: number) => x * gates[layer];
export type Unused = Slot;
`,
    'made.json': '{ "made": { "by": "hand" }, "nested": { "gates": [[1, 2], [3, 4]] }, "factors": [1.5, 0.5] }',
  });
  const { policy } = check(path);
  const f = Math.fround;
  assert.equal(
    tablesOf(policy).map(({ name, layers, heads, values }) => [name, layers, heads, values]),
    [
      ['gates', 2, 2, [f(f(0.1) * f(1 / 3)), f(1 / 3), -1, f(2e-3)]],
      ['made.nested.gates', 2, 2, [1, 2, 3, 4]],
      ['gates', 2, 0, [3, 4]],
      ['made.factors', 2, 0, [1.5, 0.5]],
    ],
  );
  assert.equal(policy.layers, { kind: 'table', factors: [1.5, 0.5] });
});

test('tables that no model has', () => {
  const said = (before: string, score: string) => slugs(`score: (slot) => ${score}`, before);
  const shape = ['table-shape'];
  assert.equal(said('const t: number[] = [];', 't[slot.layer]'), shape);
  assert.equal(said('const t = [[1], 2];', '(t as never as number[])[slot.layer]'), shape);
  assert.equal(said("const t = ['a' as never as number];", 't[slot.layer]'), shape);
  assert.equal(said('const a = [1, 2], b = [1, 2, 3];', 'a[slot.layer] + b[slot.layer]'), shape);
  assert.equal(
    said('const a = [[1], [2]], b = [[1, 2], [3, 4]];', 'a[slot.layer][slot.head] + b[slot.layer][slot.head]'),
    shape,
  );
  assert.equal(said('const t = [1, 2];', 't[0]'), ['table-index']);
  assert.equal(said('const t = [1, 2];', 't[slot.head]'), ['table-index']);
  assert.equal(said('let t = [1, 2];', 't[slot.layer]'), ['unsupported-syntax']);
});

test('triggers count tokens, or name a parameter that does', () => {
  const { when } = policyOf(
    `params: { slack: tokens(8), block: tokens(64, { min: 16 }) }, when: [over('slack'), promptChunk('block')]`,
  );
  assert.equal(when, [
    { kind: 'over', slack: { param: 'slack' } },
    { kind: 'promptChunk', n: { param: 'block' } },
  ]);
  const low = `params: { block: tokens(64) }, when: promptChunk('block')`;
  assert.equal(slugs(low), ['param-out-of-range']);
});

test('defaults', () => {
  const { observe, group, heads, layers, window, when, positions, store, place, score } = policyOf('keep: topK(8)');
  assert.equal(
    { observe, group, heads, layers, window, when, positions, store, place, score },
    {
      observe: { prompt: 'none', decode: false },
      group: 'mean',
      heads: { kind: 'own' },
      layers: { kind: 'uniform' },
      window: { first: { tokens: 0 }, last: { tokens: 0 }, prompt: false, classes: [] },
      when: [{ kind: 'over', slack: 0 }],
      positions: 'original',
      store: 'engine',
      place: 'engine',
      score: undefined,
    },
  );
  assert.equal(policyOf('keep: everything').when, []);
});

test('numbers and names of declarative fields are JavaScript’s', () => {
  const { states, keep, window, params } = policyOf(
    `params: { rate: number(1e-8, { "max": 0x10 }) }, observe: 'every',
     accumulate: { top: { init: -1e30, next: (top, slot) => max(top, slot.attn) }, low: { init: 1e-7, next: (x) => x + 1_000 } },
     score: (slot) => slot.top * slot.low * slot.params.rate, keep: above(0.0000005), window: { "first": 4, 'last': 32 }`,
  );
  assert.equal(
    states.map(({ init }) => init),
    [-1e30, 1e-7].map(Math.fround),
  );
  assert.is((keep as { threshold: { value: number } }).threshold.value, Math.fround(5e-7));
  assert.equal([window.first, window.last], [{ tokens: 4 }, { tokens: 32 }]);
  assert.equal([params[0].default, params[0].max], [1e-8, 16]);
});

test('a list of rules has each kind once, and is not empty', () => {
  const mass = 'accumulate: { mass: { init: 0, next: (m, slot) => m + slot.attn } }, score: (slot) => slot.mass';
  assert.equal(slugs('when: [every(4), every(6)]'), ['duplicate-name']);
  assert.equal(slugs('when: []'), ['wrong-type']);
  assert.equal(slugs(`observe: [{ last: 8 }, { last: 4 }], ${mass}`), ['duplicate-name']);
  assert.equal(policyOf(`observe: [{ last: 8 }, 'decode'], when: [every(4), over(2)], ${mass}`).when.length, 2);
});

test('what is read member by member is written in place', () => {
  const before = `const STATES = { mass: { init: 0, next: (m: number) => m + 1 } };`;
  assert.equal(
    slugs(`observe: 'every', accumulate: STATES, score: (slot) => slot.mass`, before)[0],
    'unsupported-syntax',
  );
  assert.equal(slugs('across: ({ x: { mean: (slot) => slot.pos } })')[0], 'unsupported-syntax');
});

test('statistics of partitions: what is of one, and what reads what', () => {
  const wrong = (across: string, before = '') =>
    slugs(`across: { ${across} }, partitions: { size: 9 }, score: (slot, across) => across.x`, before);
  assert.equal(wrong('x: { rank: (slot, across) => slot.pos + across.y }'), ['statistic-order'], 'no such statistic');
  assert.equal(wrong('x: { rank: (slot, across) => across.x }'), ['statistic-order'], 'itself');
  assert.equal(wrong("x: { mean: (slot) => slot.pos, partition: 'next' }")[0], 'unsupported-syntax');
  assert.equal(wrong("x: { nth: 3, of: (slot) => slot.pos, partition: 'next' }")[0], 'unsupported-syntax');
  const vectors = "v: { max: (slot) => slot.key, partition: 'next' },";
  assert.equal(wrong(`${vectors} x: { rank: (slot, across) => across.v }`)[0], 'wrong-type');
  assert.equal(wrong(`${vectors} x: { softmax: (slot, across) => across.v + 1 }`)[0], 'wrong-type');
  const two = `${vectors} p: { softmax: (slot, across) => norm(across.v) }, x: { rank: (slot, { p }) => p }`;
  const { across } = policyOf(`across: { ${two} }, partitions: { size: 9 }, score: (slot, across) => across.x`);
  assert.equal(
    across.map(({ reduce, partition }) => [reduce, partition]),
    [
      ['max', 'next'],
      ['softmax', undefined],
      ['rank', undefined],
    ],
  );
});

test('names that files, flags and C++ cannot carry', () => {
  assert.equal(
    slugs(
      `across: { int: { mean: (slot) => slot.pos }, a_lane: { sum: (slot) => slot.pos } }, score: (slot, a) => a.int + a.a_lane`,
    ),
    ['bad-name', 'bad-name'],
  );
  assert.equal(slugs(`${STATE} across: { mass: { mean: (slot) => slot.mass } }, score: (slot, { mass }) => mass`), [
    'duplicate-name',
  ]);
  assert.equal(slugs(`params: { 'a-b': tokens(3) }, keep: topK('a-b')`), ['bad-name']);
});

test('states that only feed each other are never read', () => {
  const fields = `observe: 'every', accumulate: { a: { init: 0, next: (a, slot) => a + slot.b }, b: { init: 0, next: (b, slot) => slot.a } }, score: (slot) => slot.pos`;
  assert.equal(slugs(fields), ['state-never-read', 'state-never-read']);
  assert.is(policyOf(fields.replace('=> slot.pos', '=> slot.a')).states.length, 2);
});

test('a budget besides the protected slots: larger windows are fine, and it is in the text', () => {
  const fields = (keep: string) => `window: { last: 9 }, keep: ${keep}`;
  const params = 'params: { budget: tokens(8) },';
  assert.equal(slugs(params + fields("topK('budget')")), ['window-exceeds-budget']);
  assert.match(
    irText(policyOf(params + fields("topK('budget', { besides: 'protected' })"))),
    /^keep topK budget besides protected$/m,
  );
  assert.match(
    irText(policyOf(fields("chunks(4, 8, { besides: 'protected' })"))),
    /^keep chunks 4 8 besides protected$/m,
  );
});

test('requests name their policy and ratio: no parameter can', () => {
  const named = "params: { ratio: fraction(0.2), policy: tokens(3) }, keep: topK('ratio'), window: { last: 'policy' }";
  assert.equal(slugs(named), ['bad-name', 'bad-name']);
});

/** Fields that mean nothing beside the others; where it is said, and how it begins. */
const unused: [string, string, RegExp][] = [
  ["score: (slot) => slot.pos, keep: above(3), when: every('auto')", 'no-budget', /^every\('auto'\) follows a budget/],
  [
    `${STATE} score: (slot) => slot.mass, when: [promptEnd, every('auto')], keep: profile(0.9, 'mass', [{ top: 8 }, everything])`,
    'no-budget',
    /^every\('auto'\) follows a budget/,
  ],
  ["group: 'sum'", 'field-unused', /^group is how attention is combined/],
  [
    "group: 'max', observe: 'every', accumulate: { n: { init: 0, next: (n) => n + 1 } }, score: (slot) => slot.n",
    'field-unused',
    /^group is how attention is combined/,
  ],
  ['across: { level: { mean: (slot) => slot.pos } }', 'field-unused', /reads level\.$/],
  [
    `${STATE.replace("'every'", "['every', { last: 8 }]")} score: (slot) => slot.mass`,
    'field-unused',
    /^Every query is observed/,
  ],
  [
    `${STATE} score: (slot) => slot.pos, keep: profile(0.9, 'mass', [{ last: 8 }, everything])`,
    'field-unused',
    /^No rule of the profile/,
  ],
  ["keep: topK(8, { besides: 'protected' })", 'field-unused', /^Nothing is protected/],
  ["keep: chunks(4, 8, { besides: 'protected' }), window: { first: 0 }", 'field-unused', /^Nothing is protected/],
  [
    `${STATE} pool: mean(3), keep: profile(0.9, 'mass', [{ last: 8 }, everything])`,
    'field-unused',
    /^No rule of the profile/,
  ],
  [
    `${STATE} window: { prompt: true }, keep: profile(0.9, 'mass', [{ last: 8 }, everything])`,
    'field-unused',
    /^The window keeps the whole prompt, so that each head would take the first rule/,
  ],
  [
    `${STATE} keep: profile(0.9, 'mass', [{ last: 8 }, { last: 8 }, everything])`,
    'profile-rules',
    /^Rule 2, last 8, keeps nothing that rule 1, last 8, does not/,
  ],
  ['params: { gain: number(2) }, score: (slot) => slot.pos', 'param-never-read', /^Nothing reads the parameter gain/],
  [
    'params: { gain: number(2) }, score: ({ pos, params: { gain } }) => pos',
    'param-never-read',
    /^Nothing reads the parameter gain/,
  ],
  ["params: { budget: tokens(8), recent: tokens(4) }, keep: topK('budget')", 'param-never-read', /recent/],
  ['keep: everything, score: (slot) => slot.age', 'field-unused', /^Everything is kept: score/],
  ['keep: everything, window: { first: 4 }', 'field-unused', /^Everything is kept: window/],
  ["keep: everything, heads: 'shared'", 'field-unused', /^Everything is kept: heads/],
  ['keep: everything, when: every(4)', 'field-unused', /^Everything is kept: when/],
  ['keep: everything, pool: mean(3)', 'field-unused', /^Everything is kept: pool/],
  ["keep: everything, positions: 'cache'", 'field-unused', /^Everything is kept: positions/],
];
for (const [fields, slug, message] of unused)
  test(`nothing is ignored: ${fields}`, () => {
    const found = mistakes(fields);
    assert.equal(
      found.map((each) => each.slug),
      [slug],
    );
    assert.match(found[0].message, message);
    assert.ok(found[0].hint);
  });

test('what is computed once reads what lasts, needs no query and advances with none', () => {
  const fields = 'accumulate: { size: { once: (slot) => norm(slot.value) + slot.pos } }, score: (slot) => slot.size';
  const { states, observe } = policyOf(fields);
  assert.equal(
    states.map(({ name, init, once }) => [name, init, once]),
    [['size', 0, true]],
  );
  assert.equal(observe, { prompt: 'none', decode: false });
  assert.match(irText(policyOf(fields)), /^state size once \(add \(norm slot.value\) slot.pos\)$/m);
  for (const read of ['seen', 'live', 'random', 'age', 'length', 'size', 'params.budget']) {
    const late = fields.replace('slot.pos', `slot.${read}`).replace('(slot)', '(slot: any)');
    const params = read === 'params.budget' ? 'params: { budget: tokens(8) },' : '';
    assert.equal(slugs(`${params} ${late}`), ['once-reads'], read);
    if (read !== 'params.budget') assert.equal(slugs(fields.replace('slot.pos', `slot.${read}`)), ['type-error'], read);
  }
  assert.equal(slugs(`${fields}, observe: 'every'`), ['observe-unused']);
  assert.equal(slugs(`${fields}, group: 'none'`), ['field-unused']);
  assert.equal(slugs(fields.replace('{ once', '{ init: 0, once')), ['unsupported-syntax']);
  const mass = `${STATE.replace('accumulate: {', 'accumulate: { size: { once: (slot) => slot.pos },')}`;
  assert.equal(
    slugs(`${mass} score: (slot) => slot.mass + slot.size, keep: profile(0.9, 'size', [{ top: 8 }, everything])`),
    ['wrong-type'],
  );
});

test('every use of a parameter is one', () => {
  const params = (names: string) =>
    `params: { ${names.split(' ').map((name) => `${name}: tokens(16, { min: 16 })`)} },`;
  policyOf(
    `${params('a b c d e f')} ${STATE.replace("'every'", "[{ last: 'a' }, 'decode']")} score: (slot) => slot.mass, window: { first: 'b', last: 'c' }, keep: topK('d', { besides: 'protected' }), when: [over('e'), promptChunk('f')]`,
  );
  policyOf(
    `${params('a b c d e')} observe: 'every', accumulate: { mass: { last: 'a', sum: (slot) => slot.attn } }, across: { n: { nth: 'b', of: (slot) => slot.mass }, place: { rank: (slot) => slot.mass } }, partitions: { first: 'c', size: 'd' }, score: (slot, across) => across.n - across.place + slot.params.e`,
  );
  policyOf(
    `params: { reach: number(0.9, { min: 0, max: 1 }), top: tokens(4), last: fraction(0.1) }, ${STATE} score: (slot) => slot.mass, keep: profile('reach', 'mass', [{ top: 'top' }, { top: 'top', last: 'last' }, everything])`,
  );
  policyOf("params: { least: number(3) }, score: (slot) => slot.pos, keep: above('least')");
});

/** Numbers that no sequence, no f32 or no kernel has; each was taken before, and wrapped around or kept nothing. */
const beyond: [string, string][] = [
  ['keep: topK(3e9)', 'no-budget'],
  ["window: { first: 3e9 }, keep: topK(8, { besides: 'protected' })", 'wrong-type'],
  ["params: { budget: tokens(64, { max: 2.5e9 }) }, keep: topK('budget')", 'param-out-of-range'],
  ["params: { budget: tokens(64, { max: 100.5 }) }, keep: topK('budget')", 'param-out-of-range'],
  ['params: { gain: number(1, { max: 1e39 }) }, score: (slot) => slot.pos * slot.params.gain', 'param-out-of-range'],
  ['when: every(3e9)', 'param-out-of-range'],
  ['when: over(3e9)', 'param-out-of-range'],
  ['when: promptChunk(3e9)', 'param-out-of-range'],
  ['pool: mean(3e9 + 1)', 'pool-even'],
  ['layers: pyramid(1 / 0)', 'param-out-of-range'],
  ['score: (slot) => slot.pos, keep: above(0 / 0)', 'param-out-of-range'],
  ['score: (slot) => slot.pos, keep: above(1e300)', 'param-out-of-range'],
  ['keep: chunks(128, 64)', 'param-out-of-range'],
  [
    "observe: 'every', accumulate: { m: { last: 3e9, sum: (slot) => slot.attn } }, score: (slot) => slot.m",
    'history-length',
  ],
  [
    'across: { x: { rank: (slot) => slot.pos } }, partitions: { size: 3e9 }, score: (slot, { x }) => x',
    'partition-size',
  ],
  ['across: { x: { nth: 3e9, of: (slot) => slot.pos } }, score: (slot, { x }) => x', 'wrong-type'],
];
for (const [fields, slug] of beyond)
  test(`beyond what there is: ${fields}`, () => {
    const found = mistakes(fields);
    assert.equal(
      found.map((each) => each.slug),
      [slug],
    );
    assert.ok(found[0].hint);
  });

test('a class is named once', () => {
  assert.equal(slugs("window: { classes: ['special', 'special'] }"), ['duplicate-name']);
  const twice = "[{ classes: ['punctuation', 'punctuation'] }, everything]";
  assert.equal(slugs(`${STATE} keep: profile(0.9, 'mass', ${twice})`), ['duplicate-name']);
});

test('what is close to it means something', () => {
  const counted = "group: 'none', observe: 'every', accumulate: { n: { init: 0, next: (n) => n + 1 } }";
  assert.is(policyOf(`${counted}, score: (slot) => slot.n`).group, 'none');
  policyOf("keep: topK(8, { besides: 'protected' }), window: { classes: ['special'] }");
  policyOf(
    `${STATE} score: (slot) => slot.mass, keep: profile(0.9, 'mass', [{ last: 8 }, { last: 8, top: 2 }, everything])`,
  );
  policyOf(`${STATE.replace("'every'", "[{ last: 8 }, 'decode']")} score: (slot) => slot.mass`);
});

test.run();
