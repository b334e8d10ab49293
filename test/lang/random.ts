/** Random typed policies: source text that uses every form of the subset, from a seed. */
import { random } from '../../codegen/oracle/random.ts';

const NUMBERS = ['attn', 'pos', 'age', 'seen', 'live', 'length', 'layer', 'layers', 'head', 'heads', 'random'];
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
  'TABLE[slot.layer][slot.head]',
  'LAYERED[slot.layer]',
];

/** The name of the state that is a history. */
const HISTORY = 'lately';

/** The name of the state that is computed once. */
const ONCE = 'begun';
/** Of numbers, those that never change of a slot. */
const LASTING = ['pos', 'layer', 'layers', 'head', 'heads'];

/** Parameters that are named in quotes, and declared where they are. */
const SIZES: Readonly<Record<string, string>> = {
  budget: 'tokens(64)',
  span: 'tokens(400, { min: 8 })',
  part: 'tokens(500, { min: 1 })',
  sinks: 'tokens(4)',
  portion: 'fraction(0.3)',
  reach: 'number(0.9, { min: 0, max: 1 })',
};

/** Names an expression may use. */
interface Scope {
  readonly attn: boolean;
  readonly across: boolean;
  /** what never changes of a slot, and nothing else */
  readonly lasting?: true;
  readonly locals: readonly string[];
  readonly flags: readonly string[];
}

const HEADER = `import {
  abs, add, ceil, clamp, cosine, definePolicy, div, dot, every, everything, exp, floor, fraction, highest, log, lowest, max, min, mul, norm, norm1, number, pow, profile,
  scale, sigmoid, sign, sqrt, sub, tanh, tokens, topK, variance, type Vec,
} from 'skv';

const RATE: number = 0.25;
const LIMIT: number = 7;
const THIRD = 1 / 3 + RATE * 0.7;
const DEEP = -(THIRD * 0.1) - 2e-3;
const TABLE = [[0.5, -1.25, 3], [1e-3, 0.1, 7], [2, 2.5, -0.3], [0, 1, 2], [-4, 0.7, 1 / 3]];
const LAYERED = [0.1, 0.2, 0.3, RATE, -2];
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

/** Draws the parts of one policy; the order of draws is the text. */
class Draw {
  private readonly next: () => number;
  readonly states: readonly string[];
  readonly across: readonly string[];
  readonly partitioned: boolean;

  constructor(seed: number) {
    this.next = random(seed);
    const states = ['mass', 'peak', 'trend'].slice(0, 1 + Math.floor(this.next() * 3));
    const more = [...(this.chance(0.15) ? [HISTORY] : []), ...(this.chance(0.3) ? [ONCE] : [])];
    this.states = [...states, ...more];
    this.across = this.chance(0.5) ? ['level', ...(this.chance(0.5) ? ['anchor'] : [])] : [];
    this.partitioned = this.across.length > 0 && this.chance(0.5);
  }

  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.next() * list.length)];
  }

  chance(p: number): boolean {
    return this.next() < p;
  }

  /** A number that needs no operation. */
  private leaf(scope: Scope): string {
    if (scope.lasting) return this.pick([...LITERALS, ...LASTING.map((name) => `slot.${name}`), 'norm(slot.value)']);
    const fields = scope.attn ? NUMBERS : NUMBERS.slice(1);
    const kinds = [
      () => this.pick(LITERALS),
      () => `slot.${this.pick(fields)}`,
      () => `slot.${this.pick(this.states)}`,
      () => `slot.params.${this.pick(['gain', 'bias'])}`,
      ...(scope.across && this.across.includes('level') ? [() => 'across.level'] : []),
      ...(scope.across && this.partitioned ? [() => `across.${this.pick(['least', 'part', 'place'])}`] : []),
      ...(scope.locals.length ? [() => this.pick(scope.locals)] : []),
      () => `norm(slot.${this.pick(['key', 'value'])})`,
    ];
    return this.pick(kinds)();
  }

  number(depth: number, scope: Scope): string {
    if (depth === 0 || this.chance(0.15)) return this.leaf(scope);
    const sub = () => this.number(depth - 1, scope);
    return this.pick([
      () => `(${sub()} ${this.pick(['+', '-', '*', '/'])} ${sub()})`,
      () => `${this.pick(UNARY)}(${sub()})`,
      () => `${this.pick(BINARY)}(${sub()}, ${sub()})`,
      () => `clamp(${sub()}, -10, 10)`,
      () => `(${this.condition(depth - 1, scope)} ? ${sub()} : ${sub()})`,
      () => `-(${sub()})`,
      () => `blend(${sub()}, ${sub()})`,
      () => `decayed(${sub()}, slot.${scope.lasting ? 'pos' : 'age'})`,
      () => `dot(slot.key, ${this.vector(scope)})`,
      () => `cosine(slot.key, ${this.vector(scope)})`,
      () => `apart(${this.vector(scope)}, slot.value)`,
      () => `${this.pick(['highest', 'lowest', 'norm1', 'variance'])}(${this.vector(scope)})`,
    ])();
  }

  vector(scope: Scope): string {
    return this.pick([
      'slot.value',
      'scale(slot.value, 0.5)',
      'add(slot.key, slot.value)',
      'sub(slot.key, slot.value)',
      'mul(slot.key, slot.value)',
      'div(slot.key, slot.value)',
      `(${this.condition(0, scope)} ? slot.key : slot.value)`,
      ...(scope.across && this.across.includes('anchor') ? ['across.anchor'] : []),
      ...(scope.across && this.partitioned ? ['across.bound'] : []),
    ]);
  }

  private condition(depth: number, scope: Scope): string {
    const left = `slot.${this.pick(scope.lasting ? LASTING : ['pos', 'age', 'live', ...this.states])}`;
    if (depth <= 0 || this.chance(0.5))
      return this.chance(0.3)
        ? `${left} ${this.pick(['===', '!=='])} slot.${this.pick(scope.lasting ? LASTING : ['head', 'layer', 'seen'])}`
        : `${left} ${this.pick(['<', '<=', '>', '>='])} ${this.number(0, scope)}`;
    const part = () => this.condition(depth - 1, scope);
    return this.pick([
      () => `(${part()} && ${part()})`,
      () => `(${part()} || slot.special)`,
      () => `!(${part()})`,
      () => this.pick(['slot.punctuation', 'SPECIAL', ...scope.flags]),
    ])();
  }

  /** The body of a function: an expression, or statements with const, destructuring and early return. */
  body(scope: Scope): string {
    if (this.chance(0.4)) return this.number(3, scope);
    const lines = [
      'const { pos: where, live, params: { gain: tuned } } = slot;',
      `const first = ${this.number(2, scope)};`,
    ];
    lines.push(`const far = ${this.condition(1, scope)};`);
    const inner = { ...scope, locals: [...scope.locals, 'first', 'where', 'live', 'tuned'], flags: ['far'] };
    const some = () => this.number(1, inner);
    const when = () => this.condition(1, inner);
    const ifs = [
      () => `if (${when()}) return ${this.number(2, inner)};`,
      () => `if (${when()}) { const second = first * RATE; return second + ${some()}; }`,
      () => `if (${when()}) { return ${some()}; } else if (slot.special) return first;`,
      // falls through to what follows
      () =>
        `if (far) { const near = ${some()}; if (${when()}) return near; else if (near > first) { return ${some()}; } }`,
    ];
    while (this.chance(0.6)) lines.push(this.pick(ifs)());
    lines.push(`return ${this.number(2, inner)};`);
    return `{\n    ${lines.join('\n    ')}\n  }`;
  }

  /** `level: { mean: … }` and the like. */
  statistics(): string[] {
    const reduce = () => this.pick(['mean', 'sum', 'max', 'min']);
    const each = { attn: false, across: false, locals: [], flags: [] };
    const level = () => this.pick(['slot.pos', 'norm(slot.key)', 'slot.live * 0.1', this.number(2, each)]);
    const either = () => `(${this.condition(0, each)} ? slot.key : slot.value)`;
    const anchor = () => this.pick(['slot.key', 'scale(slot.key, 1 / norm(slot.key))', either(), this.vector(each)]);
    const ranked = () => `nth: ${this.pick(['0', '1', '3', '40', "'budget'"])}, of: (slot) => ${level()}`;
    return [
      `    level: { ${this.chance(0.3) ? ranked() : `${reduce()}: (slot) => ${level()}`} },`,
      `    anchor: { ${reduce()}: (slot) => ${anchor()} },`,
    ].slice(0, this.across.length);
  }

  /** Statistics of partitions, of which the last ones read those above. */
  places(): string[] {
    if (!this.partitioned) return [];
    const each = { attn: false, across: false, locals: [], flags: [] };
    const above = ['across.least', 'dot(slot.key, across.bound)', ...this.across.map((name) => `across.${name}`)];
    const read = () => this.pick(above.filter((name) => name !== 'across.anchor'));
    return [
      `    least: { ${this.pick(['min', 'max'])}: (slot) => ${this.number(2, each)}, partition: 'next' },`,
      `    bound: { partition: 'next', ${this.pick(['min', 'max'])}: (slot) => ${this.vector(each)} },`,
      `    part: { softmax: (slot, across) => clamp(${this.number(1, each)}, -9, 9) * ${this.pick(['0.5', read()])} },`,
      `    place: { rank: (slot, across) => across.part + ${this.pick(['slot.pos', 'norm(slot.key)', read()])} },`,
    ];
  }

  /** A score's body, which reads every state, statistic and number, so that none is refused as useless. */
  score(): string {
    const { states } = this;
    const scope = { attn: false, across: true, flags: [] };
    const ofSome = this.partitioned ? [...this.across, 'least', 'bound', 'part', 'place'] : this.across;
    const number = (name: string) =>
      name === 'anchor' || name === 'bound' ? `norm1(across.${name})` : `across.${name}`;
    const sum = [
      'slot.params.gain * slot.params.bias',
      ...states.map((state) => `slot.${state}`),
      ...ofSome.map((name) => `clamp(${number(name)}, -9, 9) * 0.1`),
    ].join(' + ');
    const read =
      this.chance(0.3) && states.length > 1 && ofSome.length === 0
        ? `{ const { ${states.join(', ')}, params: { gain, bias } } = slot; return ${states.join(' - ')} * gain + bias; }`
        : undefined;
    const inside = { ...scope, locals: ['known'] };
    const scored = `{
    const known = ${sum};
    ${this.chance(0.5) ? 'if (known > LIMIT) return known;\n    ' : ''}return known + ${this.number(2, inside)};
  }`;
    return read ?? (this.chance(0.5) ? `(${sum}) * 0.5 + (${this.number(3, { ...scope, locals: [] })})` : scored);
  }

  /** Mostly a budget; a profile of a state that is no history. */
  keep(): string {
    if (this.chance(0.8)) return "topK('budget')";
    const size = () => this.pick(["'budget'", "'portion'", '7']);
    const wide = `classes: ['punctuation', 'special'], top: ${size()}`;
    const rules = ["{ classes: ['special'] }", `{ ${wide} }`, `{ ${wide}, last: ${size()} }`, 'everything'];
    const reach = this.pick(['0', '0.7', "'reach'"]);
    return `profile(${reach}, '${this.states[0]}', [${rules.slice(this.pick([0, 1, 2])).join(', ')}])`;
  }
}

/** Text of a policy file called `name`: every form of the language, every builtin, every kind of name. */
export function randomPolicy(seed: number, name: string): string {
  const draw = new Draw(seed);
  const inNext = { attn: true, across: false, flags: [] };
  const once: Scope = { attn: false, across: false, lasting: true, locals: [], flags: [] };
  const accumulate = draw.states.map((state) =>
    state === ONCE
      ? `    ${state}: { once: (slot) => ${draw.number(3, once)} },`
      : state === HISTORY
        ? `    ${state}: { last: ${draw.pick(['8', '9', '64', "'span'"])}, sum: (slot) => ${draw.body({ ...inNext, locals: [] })} },`
        : `    ${state}: { init: ${draw.pick(['0', '1', '-0.5'])}, next: (${state}, slot) => ${draw.body({ ...inNext, locals: [state] })} },`,
  );
  const statistics = [...draw.statistics(), ...draw.places()];
  const cut = `first: ${draw.pick(['0', '7', "'sinks'"])}, size: ${draw.pick(['1', '60', "'part'", '100000'])}`;
  const partitions = draw.partitioned ? `  partitions: { ${cut} },\n` : '';
  const across = statistics.length > 0;
  const score = draw.score();
  const keep = draw.keep();
  const group = draw.pick(['', "  group: 'none',\n"]);
  const written = [...accumulate, ...statistics, partitions, keep].join();
  const named = Object.keys(SIZES).filter((size) => written.includes(`'${size}'`));
  const params = [...named.map((size) => `${size}: ${SIZES[size]}`), 'gain: number(1.5)', 'bias: number(-0.3)'];
  return `${HEADER}
export default definePolicy({
  name: '${name}',
  params: { ${params.join(', ')} },
  observe: 'every',
${group}  accumulate: {
${accumulate.join('\n')}
  },${across ? `\n  across: {\n${statistics.join('\n')}\n  },` : ''}
${partitions}  score: (slot${across ? ', across' : ''}) => ${score},
  keep: ${keep},
  when: every(1),
});
`;
}
