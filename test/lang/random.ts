/** Random typed policies: source text that uses every form of the subset, from a seed. */
import { uniform } from '../../codegen/ladder.ts';

const NUMBERS = ['attn', 'pos', 'age', 'seen', 'live', 'length', 'layer', 'layers', 'head', 'heads'];
const UNARY = ['exp', 'log', 'sigmoid', 'tanh', 'sqrt', 'abs', 'floor', 'ceil', 'sign'];
const BINARY = ['min', 'max', 'pow'];

/** Text of a policy file called `name`. */
export function randomPolicy(seed: number, name: string): string {
  const next = uniform(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)];
  const chance = (p: number) => next() < p;
  const states = ['mass', 'peak', 'trend'].slice(0, 1 + Math.floor(next() * 3));
  const across = chance(0.5) ? ['level', ...(chance(0.5) ? ['anchor'] : [])] : [];
  const literal = () => pick(['0', '1', '0.5', '-1', '2.5', '0.1', '1e-3', '100', '0.98', 'RATE', 'LIMIT']);

  /** A number; `scope` says which names exist. */
  const number = (depth: number, scope: { attn: boolean; across: boolean; locals: string[] }): string => {
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
      () => `dot(slot.key, ${vector(scope)})`,
      () => `cosine(slot.key, ${vector(scope)})`,
    ])();
  };
  const vector = (scope: { across: boolean }): string =>
    pick([
      'slot.value',
      'scale(slot.value, 0.5)',
      'add(slot.key, slot.value)',
      'sub(slot.key, slot.value)',
      'mul(slot.key, slot.value)',
      ...(scope.across && across.includes('anchor') ? ['across.anchor'] : []),
    ]);
  const condition = (depth: number, scope: { attn: boolean; across: boolean; locals: string[] }): string => {
    const left = `slot.${pick(['pos', 'age', 'live', ...states])}`;
    if (depth <= 0 || chance(0.5))
      return chance(0.3)
        ? `${left} ${pick(['===', '!=='])} slot.${pick(['head', 'layer', 'seen'])}`
        : `${left} ${pick(['<', '<=', '>', '>='])} ${number(0, scope)}`;
    return pick([
      () => `(${condition(depth - 1, scope)} && ${condition(depth - 1, scope)})`,
      () => `(${condition(depth - 1, scope)} || slot.special)`,
      () => `!(${condition(depth - 1, scope)})`,
      () => 'slot.punctuation',
    ])();
  };
  /** The body of a function: an expression, or statements with const, destructuring and early return. */
  const body = (scope: { attn: boolean; across: boolean; locals: string[] }): string => {
    if (chance(0.5)) return number(3, scope);
    const lines = ['const { pos: where, live } = slot;', `const first = ${number(2, scope)};`];
    const inner = { ...scope, locals: [...scope.locals, 'first', 'where', 'live'] };
    if (chance(0.7))
      lines.push(
        `if (${condition(1, inner)}) ${chance(0.5) ? `return ${number(2, inner)};` : `{ const second = first * RATE; return second + ${number(1, inner)}; }`}`,
      );
    if (chance(0.3))
      lines.push(`if (${condition(1, inner)}) { return ${number(1, inner)}; } else if (slot.special) return first;`);
    lines.push(`return ${number(2, inner)};`);
    return `{\n    ${lines.join('\n    ')}\n  }`;
  };
  const next0 = states.map(
    (state) =>
      `    ${state}: { init: ${pick(['0', '1', '-0.5'])}, next: (${state}, slot) => ${body({ attn: true, across: false, locals: [state] })} },`,
  );
  // every state is read, so that none is refused as useless
  const sum = states.map((state) => `slot.${state}`).join(' + ');
  const statistics = [
    `    level: ${pick(['mean', 'total', 'peak', 'least'])}((slot) => ${pick(['slot.pos', 'norm(slot.key)', 'slot.live * 0.1', 'sqrt(slot.pos)'])}),`,
    `    anchor: ${pick(['mean', 'total', 'peak', 'least'])}((slot) => ${pick(['slot.key', 'scale(slot.key, 1 / norm(slot.key))', 'add(slot.key, slot.value)'])}),`,
  ].slice(0, across.length);
  return `import { abs, add, ceil, clamp, cosine, definePolicy, dot, every, exp, floor, least, log, max, mean, min, mul, norm, number, peak, pow, scale, sigmoid, sign, sqrt, sub, tanh, tokens, topK, total } from 'skv';

const RATE: number = 0.25;
const LIMIT: number = 7;
const blend = (a: number, b: number) => a * RATE + b * (1 - RATE);

export default definePolicy({
  name: '${name}',
  params: { budget: tokens(64), gain: number(1.5), bias: number(-0.3) },
  observe: 'every',
  accumulate: {
${next0.join('\n')}
  },${across.length ? `\n  across: {\n${statistics.join('\n')}\n  },` : ''}
  score: (slot${across.length ? ', across' : ''}) => ${
    chance(0.5)
      ? `(${sum}) * 0.5 + (${number(3, { attn: false, across: true, locals: [] })})`
      : `{
    const known = ${sum};
    ${chance(0.5) ? `if (known > LIMIT) return known;\n    ` : ''}return known + ${number(2, { attn: false, across: true, locals: ['known'] })};
  }`
  },
  keep: topK('budget'),
  when: every(1),
});
`;
}
