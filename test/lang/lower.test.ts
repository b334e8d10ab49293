/** From a function's text to the IR: what each form becomes, and that one mistake does not hide the next. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { check } from '../../codegen/front/check.ts';
import { PolicyErrors } from '../../codegen/ir/diagnostics.ts';
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
