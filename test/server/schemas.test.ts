/**
 * Random schemas × short generations of a tiny random model: what ends by itself is JSON that its schema accepts, in a batch,
 * with `n`, under a policy that evicts. 100 here; SKV_SCHEMAS=1000 for more.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { random } from '../../codegen/oracle/random.ts';
import { serve } from './textual.ts';

const COUNT = Number(process.env.SKV_SCHEMAS ?? 100);
const running = await serve();
test.after(() => running.stop());

type Schema = Record<string, unknown>;
const next = random(9);
const below = (n: number): number => Math.floor(next() * n);
const pick = <T>(list: readonly T[]): T => list[below(list.length)];
const names = ['a', 'ab', 'name', 'x y', 'q"', 'n\\'];

function leaf(): Schema {
  const low = below(200) - 100;
  return pick<() => Schema>([
    () => ({ type: 'string' }),
    () => ({ type: 'string', minLength: below(3), maxLength: 3 + below(9) }),
    () => ({ type: 'string', pattern: pick(['^[a-f]{2,5}$', '^\\d+-(x|y)?$', 'ab', '^"\\\\\\n$', '^\\w \\S$']) }),
    () => ({ type: 'string', format: pick(['date', 'time', 'date-time', 'uuid', 'email', 'ipv4']) }),
    () => ({ type: 'integer' }),
    () => ({ type: 'integer', minimum: low, maximum: low + below(500) }),
    () => ({ type: 'integer', exclusiveMinimum: low, exclusiveMaximum: low + 2 + below(50) }),
    () => ({ type: 'number' }),
    () => ({ type: 'number', minimum: low / 4, maximum: low / 4 + 2 + below(30) }),
    () => ({ type: 'boolean' }),
    () => ({ type: ['null', 'boolean', 'integer'] }),
    () => ({ enum: ['a', 1, null, { b: [1] }, 'q"'] }),
    () => ({ const: pick<unknown>(['x', -1.5, [true], { 'k y': null }]) }),
  ])();
}

function schema(depth: number): Schema {
  if (depth === 0 || next() < 0.3) return leaf();
  return pick<() => Schema>([
    () => {
      const own = names.filter(() => next() < 0.4);
      const properties = Object.fromEntries(own.map((name) => [name, schema(depth - 1)]));
      const extra = pick<Schema>([{}, { additionalProperties: false }, { additionalProperties: leaf() }]);
      return { type: 'object', properties, required: own.filter(() => next() < 0.6), ...extra };
    },
    () => ({ type: 'array', items: schema(depth - 1), minItems: below(2), maxItems: 1 + below(3) }),
    () => ({ type: 'array', prefixItems: [schema(depth - 1), leaf()], items: false, minItems: below(3) }),
    () => ({ anyOf: [schema(depth - 1), leaf()] }),
    () => ({ allOf: [{ type: 'object', properties: { a: leaf() } }, { required: ['a'] }] }),
  ])();
}

const typeOf = (value: unknown): string[] =>
  value === null
    ? ['null']
    : Array.isArray(value)
      ? ['array']
      : Number.isInteger(value)
        ? ['integer', 'number']
        : [typeof value];

/** Plain validation; the random schemas' keywords alone. References are resolved by their places. */
function accepts(given: unknown, value: unknown, whole: Schema): boolean {
  if (typeof given === 'boolean') return given;
  const s = given as Record<string, never>;
  const again = (each: unknown, of: unknown) => accepts(each, of, whole);
  if (s.$ref) {
    const target = (s.$ref as string)
      .slice(2)
      .split('/')
      .reduce<unknown>((at, step) => (at as Schema)[step], whole);
    if (!again(target, value)) return false;
  }
  if (s.type && !([s.type].flat() as string[]).some((type) => typeOf(value).includes(type))) return false;
  if (s.enum && !(s.enum as unknown[]).some((each) => JSON.stringify(each) === JSON.stringify(value))) return false;
  if ('const' in s && JSON.stringify(s.const) !== JSON.stringify(value)) return false;
  if (s.anyOf && !(s.anyOf as unknown[]).some((each) => again(each, value))) return false;
  if (s.allOf && !(s.allOf as unknown[]).every((each) => again(each, value))) return false;
  if (typeof value === 'string') {
    const length = [...value].length;
    if (length < (s.minLength ?? 0) || length > (s.maxLength ?? 1e9)) return false;
    if (s.pattern && !new RegExp(s.pattern, 'u').test(value)) return false;
    if (['date', 'date-time'].includes(s.format) && Number.isNaN(Date.parse(value))) return false;
  }
  if (typeof value === 'number') {
    if (value < (s.minimum ?? -1e300) || value > (s.maximum ?? 1e300)) return false;
    if (value <= (s.exclusiveMinimum ?? -1e300) || value >= (s.exclusiveMaximum ?? 1e300)) return false;
  }
  if (Array.isArray(value)) {
    if (value.length < (s.minItems ?? 0) || value.length > (s.maxItems ?? 1e9)) return false;
    const first = (s.prefixItems ?? []) as unknown[];
    if (!value.every((each, i) => again(first[i] ?? s.items ?? true, each))) return false;
  } else if (value !== null && typeof value === 'object') {
    const own = (s.properties ?? {}) as Schema;
    if (((s.required ?? []) as string[]).some((name) => !Object.hasOwn(value, name))) return false;
    for (const [name, each] of Object.entries(value))
      if (!again(Object.hasOwn(own, name) ? own[name] : (s.additionalProperties ?? true), each)) return false;
  }
  return true;
}

interface Outcome {
  stopped: number;
  cut: number;
}

async function generate(given: Schema, seed: number): Promise<Outcome> {
  const body = {
    prompt: 'x'.repeat(1 + (seed % 90)),
    max_tokens: 260,
    seed,
    temperature: [0, 1, 2][seed % 3],
    n: 1 + (seed % 2),
    logit_bias: { 2: 6, 61: 4, 93: 6 }, // what strings, lists and objects end with
    sparse_kv: seed % 4 === 0 ? { policy: 'streaming', budget: 40 } : undefined,
    response_format: { type: 'json_schema', json_schema: { name: 's', schema: given } },
  };
  const response = await running.post('/v1/completions', body);
  const text = await response.text();
  assert.is(response.status, 200, `${JSON.stringify(given)}: ${text}`);
  const outcome: Outcome = { stopped: 0, cut: 0 };
  for (const choice of JSON.parse(text).choices as { text: string; finish_reason: string }[]) {
    if (choice.finish_reason === 'length') outcome.cut++;
    else {
      outcome.stopped++;
      let value: unknown;
      assert.not.throws(
        () => (value = JSON.parse(choice.text)),
        `${seed}: ${JSON.stringify(given)}: ${JSON.stringify(choice)}`,
      );
      assert.ok(accepts(given, value, given), `${seed}: ${JSON.stringify(given)}: ${JSON.stringify(choice)}`);
    }
  }
  return outcome;
}

test(`${COUNT} random schemas`, async () => {
  const all = Array.from({ length: COUNT }, (_, i) => {
    const one = schema(2);
    const $ref = '#/$defs/d';
    return i % 5
      ? one
      : { $defs: { d: one }, type: 'object', properties: { r: { $ref }, s: { $ref } }, required: ['r'] };
  });
  const total: Outcome = { stopped: 0, cut: 0 };
  let at = 0;
  const client = async () => {
    while (at < all.length) {
      const seed = at++;
      const { stopped, cut } = await generate(all[seed], seed);
      total.stopped += stopped;
      total.cut += cut;
    }
  };
  await Promise.all([client(), client(), client(), client()]);
  console.log(`${total.stopped} answers ended and are right, ${total.cut} were cut by max_tokens`);
  assert.ok(total.stopped > 2 * total.cut, 'most end by themselves');
});

test.run();
