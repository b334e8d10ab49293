/**
 * JSON Schema as a grammar of JSON texts. What a grammar cannot hold is refused with its place, never dropped. A text of
 * the grammar always satisfies the schema; the other way round it need not be so: where a schema leaves freedom that no
 * model needs (numbers of any length, properties nobody declared), the grammar takes some of it.
 */
import { isDeepStrictEqual } from 'node:util';
import { GrammarError, type Rules, complement, either, literal, oneOf, repeated, sequence, without } from './ebnf.ts';
import { type Schema, Schemas, isObject, wrong } from './joined.ts';
import { type Path, type Type, formats, held, known, refused, types } from './keywords.ts';
import { type Bound, integers, numbers } from './number-range.ts';
import { MOST, fromPattern } from './regex.ts';

/** Inside quotes: anything but quotes, backslashes and controls, or an escape. */
const bare = without(complement([]), [
  [0, 31],
  [0x22, 0x22],
  [0x5c, 0x5c],
]);
const bareAscii = without(bare, [[0x80, 0x10ffff]]);
const CHARACTER = `(${oneOf(bare)} | "\\\\" (["\\\\/bfnrt] | "u" [0-9a-fA-F]{4}))`;
/** The same where characters are counted: no halves of characters. */
const COUNTED = `(${oneOf(bare)} | "\\\\" ["\\\\/bfnrt])`;

const json = (value: unknown): string => JSON.stringify(value);
const QUOTE = literal('"');

class Converter {
  private readonly byReference = new Map<string, string>();
  private readonly shared = new Map<string, string>();

  constructor(
    private readonly schemas: Schemas,
    private readonly rules: Rules,
  ) {}

  /** One rule for all that write the same. */
  private once(name: string, body: () => string): string {
    const found = this.shared.get(name);
    if (found) return found;
    const rule = this.rules.reserve();
    this.shared.set(name, rule);
    return this.rules.set(rule, body());
  }

  /** A space, a line with its indentation, or nothing. */
  private get space(): string {
    return this.once('space', () => '(" " | "\\n" [ \\t]{0,20})?');
  }

  private get text(): string {
    return this.once('text', () => `${QUOTE} ${this.once('characters', () => `${CHARACTER}*`)} ${QUOTE}`);
  }

  private get anything(): string {
    return this.once('anything', () =>
      either([this.text, this.number({}), '"true"', '"false"', '"null"', this.anyArray, this.anyObject]),
    );
  }

  private get anyArray(): string {
    return this.once('array', () => this.list([], () => this.anything, 0, undefined));
  }

  private get anyObject(): string {
    return this.once('object', () => this.members([], this.anything));
  }

  private number(bound: Bound): string {
    return this.once(`number ${json(bound)}`, () => numbers(bound));
  }

  /** A value of the schema. */
  value(given: unknown, path: Path): string {
    if (given === true) return this.anything;
    if (given === false) return wrong(path, 'accepts nothing');
    if (!isObject(given)) return wrong(path, 'must be a schema: an object, true or false');
    const schema = given;
    for (const keyword of Object.keys(schema))
      if (refused.includes(keyword)) wrong([...path, keyword], 'is not supported: no grammar holds it');
    if (schema.$ref !== undefined) return this.reference(schema, path);
    if (schema.allOf !== undefined) return this.value(this.schemas.merged(schema, path), path);
    if (schema.const !== undefined || 'const' in schema)
      return this.constant(schema, [schema.const], [...path, 'const']);
    if (schema.enum !== undefined) {
      if (!Array.isArray(schema.enum) || schema.enum.length === 0)
        wrong([...path, 'enum'], 'must list at least one value');
      return this.constant(schema, schema.enum as unknown[], [...path, 'enum']);
    }
    for (const union of ['anyOf', 'oneOf'])
      if (schema[union] !== undefined) return this.union(schema, union, [...path, union]);
    return either(this.typesOf(schema, path).map((type) => this.typed(type, schema, path)));
  }

  private typesOf(schema: Schema, path: Path): readonly Type[] {
    const { type } = schema;
    if (type === undefined) {
      const hinted = types.filter((each) => held[each].some((keyword) => schema[keyword] !== undefined));
      const one = hinted.includes('integer') ? hinted.filter((each) => each !== 'integer') : hinted;
      return one.length ? one : types.filter((each) => each !== 'integer');
    }
    const list = [type].flat();
    if (list.length === 0) wrong([...path, 'type'], 'must name a type');
    for (const each of list)
      if (!types.includes(each as Type))
        wrong([...path, 'type'], `${json(each)} is no type; types are ${types.join(', ')}`);
    const nullable = schema.nullable === true && !list.includes('null') ? ['null'] : [];
    return [...list, ...nullable] as Type[];
  }

  private typed(type: Type, schema: Schema, path: Path): string {
    switch (type) {
      case 'string':
        return this.string(schema, path);
      case 'integer':
      case 'number':
        return this.numeric(type, schema, path);
      case 'boolean':
        return '("true" | "false")';
      case 'null':
        return '"null"';
      case 'array':
        return this.array(schema, path);
      case 'object':
        return this.object(schema, path);
    }
  }

  private count(schema: Schema, name: string, path: Path): number | undefined {
    const value = schema[name];
    if (value === undefined) return undefined;
    if (!Number.isInteger(value) || (value as number) < 0) wrong([...path, name], 'must be a whole number from 0');
    if ((value as number) > MOST && name.startsWith('min')) wrong([...path, name], `can be ${MOST} at most`);
    return value as number;
  }

  private counts(schema: Schema, of: string, path: Path): [number, number | undefined] {
    const min = this.count(schema, `min${of}`, path) ?? 0;
    const max = this.count(schema, `max${of}`, path);
    if (max !== undefined && max < min) wrong([...path, `max${of}`], `is less than min${of}`);
    return [min, max === undefined ? undefined : Math.min(max, MOST)];
  }

  private string(schema: Schema, path: Path): string {
    const [min, max] = this.counts(schema, 'Length', path);
    const bounded = min > 0 || max !== undefined;
    if (schema.pattern !== undefined) {
      if (typeof schema.pattern !== 'string') return wrong([...path, 'pattern'], 'must be a regular expression');
      if (bounded)
        wrong([...path, 'pattern'], 'cannot stand beside minLength or maxLength: put the length into the pattern');
      try {
        return sequence([QUOTE, fromPattern(schema.pattern), QUOTE]);
      } catch (error) {
        return wrong([...path, 'pattern'], (error as Error).message);
      }
    }
    if (bounded) return sequence([QUOTE, repeated(COUNTED, min, max), QUOTE]);
    const format = typeof schema.format === 'string' ? formats[schema.format] : undefined;
    return format
      ? this.once(`format ${schema.format}`, () => sequence([QUOTE, fromPattern(format), QUOTE]))
      : this.text;
  }

  private numeric(type: 'integer' | 'number', schema: Schema, path: Path): string {
    const bound: { [K in keyof Bound]: number } = {};
    for (const name of ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'] as const) {
      const value = schema[name];
      if (value === undefined || value === false) continue;
      if (typeof value !== 'number') wrong([...path, name], 'must be a number');
      bound[name] = value as number;
    }
    const { multipleOf } = schema;
    if (multipleOf !== undefined && multipleOf !== 1) wrong([...path, 'multipleOf'], 'is not supported, but for 1');
    try {
      if (type === 'integer' || multipleOf === 1) return this.once(`integer ${json(bound)}`, () => integers(bound));
      return this.number(bound);
    } catch (error) {
      return wrong(path, (error as Error).message);
    }
  }

  private array(schema: Schema, path: Path): string {
    const [min, max] = this.counts(schema, 'Items', path);
    if (schema.uniqueItems) wrong([...path, 'uniqueItems'], 'is not supported: no grammar holds it');
    const tuple = schema.prefixItems ?? (Array.isArray(schema.items) ? schema.items : undefined);
    const rest = schema.prefixItems === undefined && tuple ? schema.additionalItems : schema.items;
    const restName = rest === schema.items ? 'items' : 'additionalItems';
    if (tuple !== undefined && !Array.isArray(tuple)) wrong([...path, 'prefixItems'], 'must be a list of schemas');
    const first = ((tuple ?? []) as unknown[]).map((each, i) => this.value(each, [...path, 'prefixItems', i]));
    const closed = rest === false || (tuple !== undefined && rest === undefined);
    if (closed && min > first.length) wrong([...path, 'minItems'], 'asks for more items than there can be');
    const most = closed ? Math.min(first.length, max ?? first.length) : max;
    const more = () => (rest === undefined ? this.anything : this.value(rest, [...path, restName]));
    return this.list(first, more, min, most);
  }

  /** `first` in their order, then as many `more` as the counts leave. */
  private list(first: readonly string[], more: () => string, min: number, max: number | undefined): string {
    const { space } = this;
    if (max === 0) return sequence([literal('['), space, literal(']')]);
    const next = (item: string) => `${literal(',')} ${space} ${item}`;
    // from the end: what may follow once so many items are there
    const left = (n: number): [number, number | undefined] => [
      Math.max(0, min - n),
      max === undefined ? undefined : max - n,
    ];
    const lead = first.slice(0, max ?? first.length);
    let follows = '""';
    if (max === undefined || max > lead.length) {
      const item = this.rules.add(more());
      if (lead.length === 0) {
        const [low, high] = left(1);
        const body = sequence([item, repeated(next(item), low, high)]);
        return this.bracketed(min > 0 ? body : `(${body})?`);
      }
      follows = repeated(next(item), ...left(lead.length));
    }
    for (let i = lead.length - 1; i >= 0; i--) {
      const body = sequence([i ? next(lead[i]) : lead[i], follows]);
      follows = i < min ? body : `(${body})?`;
    }
    return this.bracketed(follows);
  }

  private bracketed(inside: string): string {
    return sequence([literal('['), this.space, inside, this.space, literal(']')]);
  }

  private object(schema: Schema, path: Path): string {
    const properties = schema.properties ?? {};
    if (!isObject(properties)) return wrong([...path, 'properties'], 'must be an object of schemas');
    const required = (schema.required ?? []) as string[];
    if (!Array.isArray(required) || required.some((name) => typeof name !== 'string'))
      wrong([...path, 'required'], 'must be a list of names');
    const names = Object.keys(properties);
    const extra = schema.additionalProperties ?? schema.unevaluatedProperties;
    const open = extra !== false && (extra !== undefined || names.length === 0);
    const more = open ? this.value(extra ?? true, [...path, 'additionalProperties']) : undefined;
    const undeclared = required.filter((name) => !names.includes(name));
    if (undeclared.length && extra === false)
      wrong([...path, 'required'], `${json(undeclared[0])} is required, and no property may have this name`);
    this.checkNames(schema, path, more !== undefined, required);
    const members = [...names, ...undeclared].map((name) => ({
      name,
      value: Object.hasOwn(properties, name)
        ? this.value(properties[name], [...path, 'properties', name])
        : (more ?? this.anything),
      required: required.includes(name),
    }));
    return this.members(members, more);
  }

  /** Keywords about names and how many there are: what holds by itself passes. */
  private checkNames(schema: Schema, path: Path, open: boolean, required: readonly string[]): void {
    const { propertyNames: names, minProperties: min, maxProperties: max, properties } = schema;
    const free =
      names === undefined ||
      names === true ||
      (isObject(names) && isDeepStrictEqual({ type: 'string', ...names }, { type: 'string' }));
    if (!free && open) wrong([...path, 'propertyNames'], 'is not supported: declare the properties');
    if (min !== undefined && !(Number(min) <= required.length))
      wrong([...path, 'minProperties'], 'is not supported beyond the required properties');
    if (max !== undefined && (open || !(Number(max) >= Object.keys(properties ?? {}).length)))
      wrong([...path, 'maxProperties'], 'is not supported below the declared properties');
  }

  /** Declared members in their order, optional ones there or not, then others if `more` says what they hold. */
  private members(
    list: readonly { name: string; value: string; required: boolean }[],
    more: string | undefined,
  ): string {
    const { space } = this;
    const comma = `${literal(',')} ${space}`;
    const member = (key: string, value: string) => `${key} ${literal(':')} ${space} ${value}`;
    const extra = more && this.rules.add(member(this.otherName(list.map(({ name }) => name)), more));
    // from the end: what may follow when no member has been written yet, and when one has
    let first = extra ? this.rules.add(`(${extra} (${comma} ${extra})*)?`) : '""';
    let next = extra ? this.rules.add(`(${comma} ${extra})*`) : '""';
    for (const { name, value, required } of [...list].reverse()) {
      const own = this.rules.add(member(literal(json(name)), value));
      const [begun, open] = [next, first];
      first = this.rules.add(required ? `${own} ${begun}` : `${own} ${begun} | ${open}`);
      next = this.rules.add(required ? `${comma} ${own} ${begun}` : `${comma} ${own} ${begun} | ${begun}`);
    }
    return sequence([literal('{'), space, first, space, literal('}')]);
  }

  /** A name in quotes that is none of these; it is written without escapes, so that no other spelling is one of them. */
  private otherName(names: readonly string[]): string {
    const rest = this.once('name', () => `${oneOf(bare)}* ${QUOTE}`);
    const after = (begin: string): string => {
      const longer = names.filter((name) => name.startsWith(begin) && name !== begin);
      const steps = [...new Set(longer.map((name) => String.fromCodePoint(name.codePointAt(begin.length)!)))];
      const used = steps.map((step): [number, number] => [step.codePointAt(0)!, step.codePointAt(0)!]);
      const alternatives = [
        // no set leaves out some characters beyond ASCII: there, a name goes on within it
        `${oneOf(without(used.some(([code]) => code > 0x7f) ? bareAscii : bare, used))} ${rest}`,
        ...steps
          .filter((step) => bare.some(([a, b]) => a <= step.codePointAt(0)! && step.codePointAt(0)! <= b))
          .map((step) => `${literal(step)} ${after(begin + step)}`),
        ...(names.includes(begin) ? [] : [QUOTE]),
      ];
      return this.rules.add(alternatives.join(' | '));
    };
    return `${QUOTE} ${names.length ? after('') : rest}`;
  }

  /** Values as they stand, those that the other keywords allow. */
  private constant(schema: Schema, values: readonly unknown[], path: Path): string {
    const typed = schema.type === undefined ? undefined : this.typesOf(schema, path.slice(0, -1));
    const fitting = values.filter((value) => !typed || typed.some((type) => isOf(type, value)));
    if (fitting.length === 0) wrong(path, 'has no value of the type');
    return either(fitting.map((value) => literal(json(value))));
  }

  /** Where alternatives overlap, oneOf is read as anyOf. */
  private union(schema: Schema, keyword: string, path: Path): string {
    const { [keyword]: list, ...beside } = schema;
    if (!Array.isArray(list) || list.length === 0) return wrong(path, 'must list at least one schema');
    const around = Object.keys(beside).some((each) => known.includes(each));
    return either(
      list.map((each, i) =>
        this.value(around ? this.schemas.merged({ allOf: [beside, each] }, path) : each, [...path, i]),
      ),
    );
  }

  private reference({ $ref, ...beside }: Schema, path: Path): string {
    const [schema, where] = this.schemas.resolve($ref, [...path, '$ref']);
    if (Object.keys(beside).some((each) => known.includes(each)))
      return this.value(this.schemas.merged({ allOf: [schema, beside] }, path), path);
    const found = this.byReference.get($ref as string);
    if (found) return found;
    const rule = this.rules.reserve();
    this.byReference.set($ref as string, rule);
    const body = this.value(schema, where);
    if (body === rule) wrong([...path, '$ref'], 'refers to itself');
    return this.rules.set(rule, body);
  }
}

function isOf(type: Type, value: unknown): boolean {
  if (type === 'null') return value === null;
  if (type === 'array') return Array.isArray(value);
  if (type === 'object') return isObject(value);
  if (type === 'integer') return Number.isInteger(value);
  return typeof value === type;
}

/** A value of the schema, as rules of a grammar and what stands for it there. Throws a GrammarError. */
export function schemaIn(rules: Rules, schema: unknown): string {
  try {
    return new Converter(new Schemas(schema), rules).value(schema, []);
  } catch (error) {
    if (error instanceof RangeError) throw new GrammarError('is nested too deep'); // the stack's end
    throw error;
  }
}
