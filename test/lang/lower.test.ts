/** From a function's text to the IR: what each form becomes, and that one mistake does not hide the next. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { check } from '../../codegen/front/check.ts';
import { PolicyErrors } from '../../codegen/ir/diagnostics.ts';
import { irText } from '../../codegen/ir/text.ts';
import { tablesOf } from '../../codegen/ir/uses.ts';
import { files, IMPORTS, lowered, mistakes, mistakesIn, policyOf, scoreText, slugs } from './snippets.ts';

const STATE = `observe: 'every', accumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn } }, `;

/** A score's text and its IR. */
const forms: [string, string, string][] = [
  [
    'arithmetic, in the written order',
    '(slot) => slot.pos + slot.age * 2 - slot.live / 3',
    '(sub (add slot.pos (mul slot.age 2)) (div slot.live 3))',
  ],
  ['numbers are f32', '(slot) => slot.pos * 0.1', '(mul slot.pos 0.10000000149011612)'],
  [
    'hexadecimal, separators, exponents',
    '(slot) => slot.pos + 0x10 + 1_000 + 1e3',
    '(add (add (add slot.pos 16) 1000) 1000)',
  ],
  ['signs', '(slot) => -slot.pos + -2 - -0', '(sub (add (neg slot.pos) -2) -0)'],
  [
    'conditions',
    '(slot) => (slot.pos > 1 && !slot.special) || slot.age === 0 ? 1 : 2',
    '(select (or (and (gt slot.pos 1) (not slot.special)) (eq slot.age 0)) 1 2)',
  ],
  ['const', '(slot) => { const a = slot.pos * 2; const b = a + 1; return b; }', '(add (mul slot.pos 2) 1)'],
  [
    'a value used twice is one value',
    '(slot) => { const a = slot.pos * 2; return a + a; }',
    '%0 = (mul slot.pos 2); (add %0 %0)',
  ],
  ['early return', '(slot) => { if (slot.special) return 1; return 2; }', '(select slot.special 1 2)'],
  [
    'if, else if, else',
    '(slot) => { if (slot.special) { return 1; } else if (slot.punctuation) return 2; else return 3; }',
    '(select slot.special 1 (select slot.punctuation 2 3))',
  ],
  [
    'a branch that runs on into what follows',
    '(slot) => { if (slot.special) { if (slot.age > 3) return 1; } return 2; }',
    '(select slot.special (select (gt slot.age 3) 1 2) 2)',
  ],
  [
    'what follows is there once',
    '(slot) => { if (slot.special) { if (slot.age > 3) return 1; } return slot.pos * 2; }',
    '%0 = (mul slot.pos 2); (select slot.special (select (gt slot.age 3) 1 %0) %0)',
  ],
  ['destructuring', '({ pos, age: old }) => pos - old', '(sub slot.pos slot.age)'],
  [
    'destructuring inside',
    '(slot) => { const { key, params } = slot; return dot(key, slot.value); }',
    '(dot slot.key slot.value)',
  ],
  [
    'builtins of vectors',
    '(slot) => cosine(add(slot.key, scale(slot.value, 2)), slot.key)',
    '(cosine (add slot.key (scale slot.value 2)) slot.key)',
  ],
  [
    'a choice of vectors',
    '(slot) => norm(slot.special ? slot.key : slot.value)',
    '(norm (select slot.special slot.key slot.value))',
  ],
  ['NaN and Infinity', '(slot) => slot.special ? NaN : -Infinity', '(select slot.special NaN -Infinity)'],
  ['a member of a module', '(slot) => skv.exp(slot.pos)', '(exp slot.pos)'],
];
for (const [what, text, ir] of forms) test(what, () => assert.is(lowered(text), ir));

/** Text in front of the policy, a score that uses it, and its IR. */
const captured: [string, string, string, string][] = [
  ['a module constant', 'const RATE = 0.5;', '(slot) => slot.pos * RATE', '(mul slot.pos 0.5)'],
  [
    'a constant of constants is computed in f32',
    'const A = 0.1; const B = A * 3 + 1 / 3;',
    '(slot) => slot.pos * B',
    '(mul slot.pos (add (mul 0.10000000149011612 3) (div 1 3)))',
  ],
  [
    'a constant of a builtin',
    'const HALF = exp(-0.7);',
    '(slot) => slot.pos * HALF',
    '(mul slot.pos (exp -0.699999988079071))',
  ],
  ['a boolean constant', 'const ON = true;', '(slot) => ON ? 1 : slot.pos', '(select true 1 slot.pos)'],
  [
    'a helper',
    'const twice = (x: number) => x + x;',
    '(slot) => twice(slot.pos * 3)',
    '%0 = (mul slot.pos 3); (add %0 %0)',
  ],
  [
    'a helper with statements',
    'function late(x: number) { if (x > 3) return 1; return x; }',
    '(slot) => late(slot.age)',
    '(select (gt slot.age 3) 1 slot.age)',
  ],
  [
    'a helper of helpers, twice',
    'const a = (x: number) => x * 2; const b = (x: number) => a(a(x));',
    '(slot) => b(slot.pos)',
    '(mul (mul slot.pos 2) 2)',
  ],
  [
    'a helper of vectors',
    'const far = (a: Vec, b: Vec) => norm(sub(a, b));',
    '(slot) => far(slot.key, slot.value)',
    '(norm (sub slot.key slot.value))',
  ],
  [
    'a helper may have any name',
    'const process = (x: number) => x + 1;',
    '(slot) => process(slot.pos)',
    '(add slot.pos 1)',
  ],
  [
    'a name that hides a builtin',
    'namespace mine { export const limit = 3; }\nconst limit = 4;',
    '(slot) => slot.pos * limit',
    '(mul slot.pos 4)',
  ],
];
for (const [what, before, text, ir] of captured) test(what, () => assert.is(lowered(text, before), ir));

test('states, parameters and statistics by name', () => {
  const policy = policyOf(
    `${STATE} params: { gain: number(2) }, across: { level: { mean: (slot) => slot.mass } },
     score: (slot, { level }) => slot.mass * slot.params.gain - level`,
  );
  assert.is(scoreText(policy), '(sub (mul mass $gain) across.level)');
  assert.is(policy.states[0].next.op, 'binary');
});

test('names are found by their declaration: aliases, namespaces, other files', () => {
  const [path] = files({
    'declared.ts': `import { definePolicy as policy, topK as best, tokens as count, exp as e } from 'skv';
      import { decay, K } from './lib/decay.ts';
      import * as lib from './lib/decay.ts';
      export const mine = policy({ name: 'mine', params: { budget: count(8 * 4) }, score: (slot) => e(slot.pos) + decay(slot.age) * K + lib.decay(lib.K), keep: best('budget') });`,
    'lib/decay.ts': `import { exp } from 'skv'; import { RATE } from './rate.ts'; export const K = 3;
      export function decay(x: number): number { return exp(-x * RATE); }`,
    'lib/rate.ts': 'export const RATE = 0.5;',
  });
  const { policy, syntax } = check(path);
  assert.is(scoreText(policy), '(add (add (exp slot.pos) (mul (exp (mul (neg slot.age) 0.5)) 3)) (exp (mul -3 0.5)))');
  assert.is(policy.params[0].default, 32);
  assert.is(syntax.files.size, 3, 'the imports belong to what is hashed');
});

test("a function of the author's own is not taken for the language's", () => {
  const own = `import { definePolicy, topK } from 'skv';
    const tokens = (n: number) => ({ kind: 'tokens' as const, default: n * 2, min: 0, max: 100 });
    export default definePolicy({ name: 'mine', params: { budget: tokens(4) }, keep: topK('budget') });`;
  const [path, none] = files({
    'own.ts': own,
    'noPolicy.ts': 'const definePolicy = (x: object) => x; export default definePolicy({});',
  });
  assert.equal(
    mistakesIn(path).map(({ slug }) => slug),
    ['non-constant-capture'],
  );
  assert.equal(
    mistakesIn(none).map(({ slug }) => slug),
    ['no-policy'],
  );
  assert.equal(
    mistakesIn('/nowhere/at-all.ts').map(({ slug }) => slug),
    ['no-policy'],
  );
});

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
    `params: { budget: tokens(64), slack: tokens(8), block: tokens(64, { min: 16 }) }, when: [over('slack'), promptChunk('block')]`,
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

/** Refused functions, and the slugs of all their mistakes. */
const refused: [string, string, string[], string?][] = [
  ['a loop', '(slot) => { let h = 1; while (h < slot.age) h = h * 2; return h; }', ['loop-in-score']],
  ['for … of', '(slot) => { for (const x of [1, 2]) return x; return 1; }', ['loop-in-score']],
  ['let', '(slot) => { let x = slot.pos; return x; }', ['mutation']],
  ['++', '(slot) => { let x = slot.pos; x++; return x; }', ['mutation', 'mutation']],
  [
    '%, **, ==, ??, |',
    '(slot) => slot.pos % 2 + slot.pos ** 2 + (slot.pos == 1 ? 1 : 0) + (slot.pos ?? 1) + (slot.pos | 0)',
    Array(5).fill('unsupported-syntax'),
  ],
  [
    'numbers as conditions',
    '(slot) => (slot.pos ? 1 : slot.age && slot.live ? 2 : 3)',
    ['wrong-type', 'wrong-type', 'wrong-type'],
  ],
  [
    'branches of different types',
    '(slot) => norm(slot.special ? slot.key : slot.key) + (slot.special === slot.punctuation ? 1 : 0)',
    ['wrong-type', 'wrong-type'],
  ],
  ['not every path returns', '(slot) => { if (slot.special) return 1; } ', ['type-error']],
  [
    'the slot itself',
    '(slot) => { const s = slot; const { params } = s; return dot(slot.key, slot.key) + (params as never); }',
    ['unsupported-syntax'],
  ],
  ['Math', '(slot) => Math.exp(slot.pos) + Math.PI + Math.random()', ['unknown-call', 'unknown-call', 'impure-call']],
  ['Date', '(slot) => Date.now() + new Date().getTime()', ['impure-call', 'unknown-call']],
  [
    'a closure',
    '(slot) => { const f = (x: number) => x + slot.pos; return f(1); }',
    ['unsupported-syntax', 'non-constant-capture'],
  ],
  ['let of the module', '(slot) => slot.pos * rate', ['non-constant-capture'], 'let rate = 1; rate = 2;'],
  ['text of the module', '(slot) => slot.pos + name.length', ['non-constant-capture'], "const name = 'x';"],
  [
    'recursion',
    '(slot) => f(slot.pos)',
    ['unsupported-syntax'],
    'const f = (x: number): number => (x > 1 ? f(x - 1) : x);',
  ],
  [
    'a tree of calls',
    '(slot) => a11(slot.pos)',
    ['unsupported-syntax'],
    `const a0 = (x: number) => x + 1;${Array.from({ length: 11 }, (_, i) => `const a${i + 1} = (x: number) => a${i}(x) + a${i}(x);`).join('')}`,
  ],
  ['default values', '(slot) => f(slot.pos)', ['unsupported-syntax'], 'const f = (x: number, y = 2) => x + y;'],
  ['a function that is no arrow', 'function (slot) { return slot.pos; }', ['unsupported-syntax']],
  ['an index', "(slot) => slot['pos']", ['unsupported-syntax']],
  ['switch', '(slot) => { switch (slot.pos) { default: return 1; } }', ['unsupported-syntax']],
];
for (const [what, score, expected, before] of refused)
  test(`refused: ${what}`, () => assert.equal(slugs(`score: ${score}`, before), expected));

test('every mistake of every function and field is reported, once', () => {
  const found = mistakes(
    `name2: 3, params: { Budget: tokens(1.5), n: number(5, { max: 1 }) }, observe: 'every',
     accumulate: { mass: { init: 0, next: (m, slot) => m + Math.exp(slot.attn) }, pos: { init: rate, next: (m) => m ** 2 } },
     across: { int: { mean: (slot) => slot.attn } },
     score: (slot, { int }) => { const a = slot.nope; const b = slot.live % 2; for (;;) {} return a + b + int; },
     pool: mean(4), layers: [], window: { first: -1 }, keep: chunks(0, 10), when: every(0.5)`,
    'let rate = 1; rate = 2;',
  );
  assert.equal(found.map(({ slug }) => slug).sort(), [
    'attention-outside-next',
    'loop-in-score',
    'non-constant-capture',
    'param-out-of-range',
    'param-out-of-range',
    'param-out-of-range',
    'param-out-of-range',
    'param-out-of-range',
    'pool-even',
    'type-error',
    'type-error',
    'unknown-call',
    'unsupported-syntax',
    'unsupported-syntax',
    'wrong-type',
  ]);
});

test('what follows from a mistake is not reported again', () => {
  assert.equal(slugs(`params: { budget: tokens(Math.random()) }, keep: topK('budget')`), ['non-constant-capture']);
  assert.equal(slugs(`score: (slot) => { const a = slot.pos % 2; const { b } = { b: a }; return a + a + b; }`), [
    'unsupported-syntax',
    'unsupported-syntax',
  ]);
  assert.equal(slugs(`score: (slot) => slot.nope + slot.nope`), ['type-error', 'type-error']);
  assert.equal(
    slugs(`observe: 'every', accumulate: { mass: { init: 0, next: (m) => m % 2 } }, score: (slot) => slot.mass`),
    ['unsupported-syntax'],
  );
});

test('mistakes of an imported file are shown there', () => {
  const [path, lib] = files({
    'imports.ts': `${IMPORTS} import { bad } from './bad.ts'; export default definePolicy({ name: 'mine', score: (slot) => bad(slot.pos), keep: topK(8) });`,
    'bad.ts': 'export const bad = (x: number) =>\n  x % 2;\n',
  });
  const [{ slug, span }] = mistakesIn(path);
  assert.equal([slug, span.file, span.line, span.column], ['unsupported-syntax', lib, 2, 3]);
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
  assert.equal(slugs(`params: { 'a-b': tokens(3) }`), ['bad-name']);
});

test('states that only feed each other are never read', () => {
  const fields = `observe: 'every', accumulate: { a: { init: 0, next: (a, slot) => a + slot.b }, b: { init: 0, next: (b, slot) => slot.a } }, score: (slot) => slot.pos`;
  assert.equal(slugs(fields), ['state-never-read', 'state-never-read']);
  assert.is(policyOf(fields.replace('=> slot.pos', '=> slot.a')).states.length, 2);
});

test('operands are lowered once, however deep', () => {
  const deep = Array.from({ length: 12 }).reduce<string>((inner) => `inc(${inner} + 1)`, 'slot.pos');
  assert.match(lowered(`(slot) => ${deep}`, 'const inc = (x: number) => x * 2;'), /slot\.pos/);
});

test('JavaScript has no types to complain of: a vector among numbers is found when it is lowered', () => {
  const policy = (body: string) =>
    `import { definePolicy, norm, topK } from 'skv';\nconst f = (k, x) => ${body};\nexport default definePolicy({ name: 'mine', score: (slot) => norm(slot.value) + f(slot.key, slot.pos), keep: topK(64) });\n`;
  const said = (body: string) => {
    const [path] = files({ [`plain-${body.length}.js`]: policy(body) });
    return mistakesIn(path).map(({ slug, message, hint }) => [slug, message, hint]);
  };
  assert.equal(said('k * x'), [['wrong-type', '* works on numbers; here is a vector.', 'scale(k, x)']]);
  assert.equal(said('1 + -k'), [['wrong-type', 'Here a number is needed; this is a vector.', 'scale(k, -1)']]);
  assert.equal(said('x + k.length'), [
    ['unsupported-syntax', 'Numbers and vectors have no fields.', 'use dot, norm, scale …'],
  ]);
});

test('a budget besides the protected slots: larger windows are fine, and it is in the text', () => {
  const fields = (keep: string) => `params: { budget: tokens(8) }, window: { last: 9 }, keep: ${keep}`;
  assert.equal(slugs(fields("topK('budget')")), ['window-exceeds-budget']);
  assert.match(
    irText(policyOf(fields("topK('budget', { besides: 'protected' })"))),
    /^keep topK budget besides protected$/m,
  );
  assert.match(
    irText(policyOf(fields("chunks(4, 8, { besides: 'protected' })"))),
    /^keep chunks 4 8 besides protected$/m,
  );
});

test('requests name their policy and ratio: no parameter can', () => {
  assert.equal(slugs('params: { ratio: fraction(0.2), policy: tokens(3) }'), ['bad-name', 'bad-name']);
});

test('an error prints itself', () => {
  try {
    policyOf('score: (slot) => slot.pos % 2');
    assert.unreachable();
  } catch (error) {
    assert.instance(error, PolicyErrors);
    assert.match(
      (error as Error).message,
      /unsupported-syntax\n {2}% is not part of the language\.\n\n[\s\S]*\^{12}[\s\S]*hint: use x - n/,
    );
  }
});

test.run();
