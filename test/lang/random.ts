/** Random typed policies: source text that uses every form of the subset, from a seed. */
import { uniform } from '../../codegen/oracle/ladder.ts';

const NUMBERS = ['attn', 'pos', 'age', 'seen', 'live', 'length', 'layer', 'layers', 'head', 'heads'];
const UNARY = ['exp', 'log', 'sigmoid', 'tanh', 'sqrt', 'abs', 'floor', 'ceil', 'sign'];
const BINARY = ['min', 'max', 'pow'];
const LITERALS = [
  '0',
  '1',
  '0.5',
  '-1',
  '2.5',
  '0.1',
  '1e-3',
  '100',
  '0.98',
  '0x10',
  '1_000',
  'RATE',
  'LIMIT',
  'THIRD',
  'DEEP',
];

/** Names an expression may use. */
interface Scope {
  readonly attn: boolean;
  readonly across: boolean;
  readonly locals: readonly string[];
  readonly flags: readonly string[];
}

const HEADER = `import {
  abs, add, ceil, clamp, cosine, definePolicy, dot, every, exp, floor, log, max, min, mul, norm, number, pow, scale,
  sigmoid, sign, sqrt, sub, tanh, tokens, topK, type Vec,
} from 'skv';

const RATE: number = 0.25;
const LIMIT: number = 7;
const THIRD = 1 / 3 + RATE * 0.7;
const DEEP = -(THIRD * 0.1) - 2e-3;
const SPECIAL: boolean = true;
const blend = (a: number, b: number) => a * RATE + b * (1 - RATE);
function decayed(x: number, age: number) {
  if (age > LIMIT) {
    const kept = x * pow(0.98, age);
    if (kept > THIRD) return kept;
  } else if (SPECIAL && age === 0) return x;
  return x * DEEP;
}
const apart = (a: Vec, b: Vec) => norm(sub(a, b)) / (norm(a) + norm(b));
`;

/** Text of a policy file called `name`: every form of the language, every builtin, every kind of name. */
export function randomPolicy(seed: number, name: string): string {
  const next = uniform(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)];
  const chance = (p: number) => next() < p;
  const states = ['mass', 'peak', 'trend'].slice(0, 1 + Math.floor(next() * 3));
  const across = chance(0.5) ? ['level', ...(chance(0.5) ? ['anchor'] : [])] : [];
  const literal = () => pick(LITERALS);

  const number = (depth: number, scope: Scope): string => {
    if (depth === 0 || chance(0.15)) {
      const fields = scope.attn ? NUMBERS : NUMBERS.slice(1);
      const kinds = [
        () => literal(),
        () => `slot.${pick(fields)}`,
        () => `slot.${pick(states)}`,
        () => `slot.params.${pick(['gain', 'bias'])}`,
        ...(scope.across && across.includes('level') ? [() => 'across.level'] : []),
        ...(scope.locals.length ? [() => pick(scope.locals)] : []),
        () => `norm(slot.${pick(['key', 'value'])})`,
      ];
      return pick(kinds)();
    }
    const sub = () => number(depth - 1, scope);
    return pick([
      () => `(${sub()} ${pick(['+', '-', '*', '/'])} ${sub()})`,
      () => `${pick(UNARY)}(${sub()})`,
      () => `${pick(BINARY)}(${sub()}, ${sub()})`,
      () => `clamp(${sub()}, -10, 10)`,
      () => `(${condition(depth - 1, scope)} ? ${sub()} : ${sub()})`,
      () => `-(${sub()})`,
      () => `blend(${sub()}, ${sub()})`,
      () => `decayed(${sub()}, slot.age)`,
      () => `dot(slot.key, ${vector(scope)})`,
      () => `cosine(slot.key, ${vector(scope)})`,
      () => `apart(${vector(scope)}, slot.value)`,
    ])();
  };
  const vector = (scope: Scope): string =>
    pick([
      'slot.value',
      'scale(slot.value, 0.5)',
      'add(slot.key, slot.value)',
      'sub(slot.key, slot.value)',
      'mul(slot.key, slot.value)',
      `(${condition(0, scope)} ? slot.key : slot.value)`,
      ...(scope.across && across.includes('anchor') ? ['across.anchor'] : []),
    ]);
  const condition = (depth: number, scope: Scope): string => {
    const left = `slot.${pick(['pos', 'age', 'live', ...states])}`;
    if (depth <= 0 || chance(0.5))
      return chance(0.3)
        ? `${left} ${pick(['===', '!=='])} slot.${pick(['head', 'layer', 'seen'])}`
        : `${left} ${pick(['<', '<=', '>', '>='])} ${number(0, scope)}`;
    return pick([
      () => `(${condition(depth - 1, scope)} && ${condition(depth - 1, scope)})`,
      () => `(${condition(depth - 1, scope)} || slot.special)`,
      () => `!(${condition(depth - 1, scope)})`,
      () => pick(['slot.punctuation', 'SPECIAL', ...scope.flags]),
    ])();
  };
  /** The body of a function: an expression, or statements with const, destructuring and early return. */
  const body = (scope: Scope): string => {
    if (chance(0.4)) return number(3, scope);
    const lines = ['const { pos: where, live, params: { gain: tuned } } = slot;', `const first = ${number(2, scope)};`];
    lines.push(`const far = ${condition(1, scope)};`);
    const inner = { ...scope, locals: [...scope.locals, 'first', 'where', 'live', 'tuned'], flags: ['far'] };
    const some = () => number(1, inner);
    const when = () => condition(1, inner);
    const ifs = [
      () => `if (${when()}) return ${number(2, inner)};`,
      () => `if (${when()}) { const second = first * RATE; return second + ${some()}; }`,
      () => `if (${when()}) { return ${some()}; } else if (slot.special) return first;`,
      // falls through to what follows
      () =>
        `if (far) { const near = ${some()}; if (${when()}) return near; else if (near > first) { return ${some()}; } }`,
    ];
    while (chance(0.6)) lines.push(pick(ifs)());
    lines.push(`return ${number(2, inner)};`);
    return `{\n    ${lines.join('\n    ')}\n  }`;
  };
  const inNext = { attn: true, across: false, flags: [] };
  const inScore = { attn: false, across: true, flags: [] };
  const accumulate = states.map(
    (state) =>
      `    ${state}: { init: ${pick(['0', '1', '-0.5'])}, next: (${state}, slot) => ${body({ ...inNext, locals: [state] })} },`,
  );
  const reduce = () => pick(['mean', 'sum', 'max', 'min']);
  const each = { attn: false, across: false, locals: [], flags: [] };
  const statistics = [
    `    level: { ${reduce()}: (slot) => ${pick(['slot.pos', 'norm(slot.key)', 'slot.live * 0.1', number(2, each)])} },`,
    `    anchor: { ${reduce()}: (slot) => ${pick(['slot.key', 'scale(slot.key, 1 / norm(slot.key))', vector(each)])} },`,
  ].slice(0, across.length);
  // every state is read, so that none is refused as useless
  const sum = states.map((state) => `slot.${state}`).join(' + ');
  const read =
    chance(0.3) && states.length > 1
      ? `{ const { ${states.join(', ')} } = slot; return ${states.join(' - ')}; }`
      : undefined;
  const inside = { ...inScore, locals: ['known'] };
  const scored = `{
    const known = ${sum};
    ${chance(0.5) ? 'if (known > LIMIT) return known;\n    ' : ''}return known + ${number(2, inside)};
  }`;
  const score = read ?? (chance(0.5) ? `(${sum}) * 0.5 + (${number(3, { ...inScore, locals: [] })})` : scored);
  return `${HEADER}
export default definePolicy({
  name: '${name}',
  params: { budget: tokens(64), gain: number(1.5), bias: number(-0.3) },
  observe: 'every',
  accumulate: {
${accumulate.join('\n')}
  },${across.length ? `\n  across: {\n${statistics.join('\n')}\n  },` : ''}
  score: (slot${across.length ? ', across' : ''}) => ${score},
  keep: topK('budget'),
  when: every(1),
});
`;
}
