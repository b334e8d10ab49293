/**
 * `npm run contract`: writes the C side of records.ts and page.ts beside them, and the versions of both ABIs. test/contract holds the
 * committed text against this, so that nobody forgets it.
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Enumeration, enumeration, type Field, type RecordOf, type Scalar, snake } from './fields.ts';
import { LINE, pageFields } from './page.ts';
import * as c from './records.ts';
import { type RoleShape, roleShapes } from './roles.ts';
import { weightBlocks } from './weights.ts';

const here = dirname(fileURLToPath(import.meta.url));
const WIDTH = 120;

const types: Record<Scalar, [c: string, bytes: number]> = {
  i32: ['int32_t', 4],
  f32: ['float', 4],
  i64: ['int64_t', 8],
  flag: ['int32_t', 4],
};
const typeOf = ({ type }: Field): string => (typeof type === 'string' ? types[type][0] : type.c);
const upper = (name: string): string => snake(name).toUpperCase();

/** A comment, as many lines as it takes. */
function comment(text: string): string[] {
  const lines = ['/*'];
  for (const word of `${text} */`.split(' ')) {
    const last = lines.length - 1;
    if (`${lines[last]} ${word}`.length <= WIDTH) lines[last] += ` ${word}`;
    else lines.push(` * ${word}`);
  }
  return lines;
}

/** Lines with their comments in one column wherever they follow one another, or above, where one would be too long. */
function aligned(lines: readonly [code: string, doc?: string][]): string[] {
  const column = (at: number): number => {
    let [from, to] = [at, at];
    while (lines[from - 1]?.[1]) from--;
    while (lines[to + 1]?.[1]) to++;
    return Math.max(...lines.slice(from, to + 1).map(([code]) => code.length));
  };
  const beside = lines.map(([code, doc], at) => (doc ? `  ${code.padEnd(column(at))} /* ${doc} */` : `  ${code}`));
  if (beside.every((line) => line.length <= WIDTH)) return beside;
  return lines.flatMap(([code, doc]) => [...(doc ? [`  /* ${doc} */`] : []), `  ${code}`]);
}

/** Docs name fields as TypeScript has them; C's names are in snake_case. */
const inC = (doc: string, names: readonly string[]): string =>
  names.reduce((text, name) => text.replaceAll(new RegExp(`\\b${name}\\b`, 'g'), snake(name)), doc);

const allNames = [
  ...[c.row, c.hints, c.probe, c.tensor, c.layer, c.model, c.config, c.sampler, c.sampled].flatMap(
    ({ fields }) => [...fields] as Field[],
  ),
  ...c.buffers,
]
  .map(({ name }) => name)
  .filter((name) => snake(name) !== name);

function struct({ c: name, doc, fields }: RecordOf): string[] {
  const lines = fields.map((field): [string, string] => [
    `${typeOf(field)} ${snake(field.name)}${field.count ? `[${field.count}]` : ''};`,
    inC(field.doc, allNames),
  ]);
  return [...comment(doc), `typedef struct ${name} {`, ...aligned(lines), `} ${name};`, ...asserts(name, fields), ''];
}

/** Where a struct of numbers has its fields, for the compiler to agree. */
function asserts(name: string, fields: readonly Field[]): string[] {
  const lines: string[] = [];
  let at = 0;
  for (const { name: field, type, count = 1 } of fields) {
    if (typeof type !== 'string') return []; // pointers: C's alone
    lines.push(`static_assert(offsetof(${name}, ${snake(field)}) == ${at}, "${name}.${snake(field)}");`);
    at += types[type][1] * count;
  }
  return [...lines, `static_assert(sizeof(${name}) == ${at}, "${name}");`];
}

const enumOf = ({ prefix, doc, entries }: Enumeration): string[] => [
  ...comment(doc),
  'enum {',
  ...aligned(
    Object.entries(entries)
      .map(([name, [value, about]]) => [`${prefix}${upper(name)} = ${value},`, about] as const)
      .map(([code, about]): [string, string?] => [code, about]),
  ),
  '};',
  '',
];

const define = (name: string, value: number | string, doc: string): [string, string] => [
  `#define SKV_${name} ${value}`,
  doc,
];

const defines = (lines: [string, string][]): string[] => [...aligned(lines).map((line) => line.slice(2)), ''];

const head = (guard: string, doc: string, includes: readonly string[], from = 'records.ts'): string[] => [
  ...comment(`${doc} Printed from ${from} by \`npm run contract\`; edit that.`),
  `#ifndef ${guard}`,
  `#define ${guard}`,
  ...includes.map((each) => `#include ${each}`),
  '',
];

/** What counts of a header: neither comments nor blanks. */
const meaning = (text: string): string => text.replace(/\/\*[\s\S]*?\*\//g, ' ').replace(/\s+/g, ' ');

/** A version that nobody can forget to raise: 32 bits of a hash of what both sides must agree on. */
const versionOf = (texts: readonly string[]): string =>
  `0x${createHash('sha256').update(texts.map(meaning).join('\0')).digest('hex').slice(0, 8)}`;

const withVersion = (
  text: string,
  name: string,
  others: readonly string[],
  doc: string,
): [text: string, version: string] => {
  const version = versionOf([text, ...others]);
  const lines = [...comment(doc), `#define ${name} ${version}u`, ''];
  return [text.replace('@VERSION\n', `${lines.join('\n')}\n`), version];
};

const written = (name: string): string => readFileSync(join(here, name), 'utf8');

/** The codes in words. */
function errorText(): string[] {
  const { prefix, entries } = c.errorCodes;
  return [
    '/* What a code means; codes of the device have words of their own. */',
    'static inline const char* skv_error_text(int32_t code) {',
    '  switch (code) {',
    '    case 0:',
    '      return "no error";',
    ...Object.entries(entries).flatMap(([name, [, words]]) => [
      `    case ${prefix}${upper(name)}:`,
      `      return "${words}";`,
    ]),
    '    default:',
    '      return "an unknown code";',
    '  }',
    '}',
    '',
  ];
}

function records(): string[] {
  return [
    ...head('SKV_RECORDS_H', 'Numbers and records that policies and the engine share.', [
      '<assert.h>',
      '<stddef.h>',
      '<stdint.h>',
    ]),
    '@VERSION',
    ...defines([
      define('PAGE', c.PAGE, 'slots of a page'),
      define('SEGMENT', c.SEGMENT, 'consecutive slots that attention is evaluated for together; merged in order'),
      define('MAX_PARAMS', c.MAX_PARAMS, 'declared parameters of a policy'),
      define('MAX_LANES', c.MAX_LANES, 'lanes of a page'),
      define(
        'KEEP_ALL',
        c.KEEP_ALL,
        'a budget that no number of slots exceeds: of a layer that its policy does not thin',
      ),
    ]),
    ...[c.kvTypes, c.tokenClasses, c.errorCodes].flatMap(enumOf),
    ...errorText(),
    ...[c.row, c.hints, c.probe].flatMap(struct),
    '#endif',
    '',
  ];
}

/** The formula of page.ts. */
function layout(): string[] {
  const type = (name: string) => `kv_type == SKV_${upper(name)} ? ${c.kvBytes[name as c.KvName]} : `;
  return [
    ...head('SKV_LAYOUT_H', 'Where the fields of a page lie.', ['"records.h"'], 'page.ts'),
    '#ifdef __CUDACC__',
    '#define SKV_HOST_AND_DEVICE __host__ __device__',
    '#else',
    '#define SKV_HOST_AND_DEVICE',
    '#endif',
    '',
    '/* Bytes of an element of keys and values; 0: there is no such type. */',
    'SKV_HOST_AND_DEVICE constexpr int32_t skv_kv_bytes(int32_t kv_type) {',
    `  return ${Object.keys(c.KvType).map(type).join('')}0;`,
    '}',
    '',
    '/* Where each field begins, and how long a page is; in bytes. */',
    'struct skv_page_layout {',
    ...aligned([
      ...pageFields.map(({ name, doc }): [string, string] => [`int32_t ${snake(name)};`, doc]),
      ['int32_t bytes;', 'of a page: whole cache lines'],
    ]),
    '};',
    '',
    '/* kv_bytes: skv_kv_bytes of the type of keys and values. Only `bytes` depends on the lanes. */',
    'SKV_HOST_AND_DEVICE constexpr skv_page_layout skv_layout_of(int32_t head_dim, int32_t kv_bytes, int32_t lanes) {',
    '  skv_page_layout at{};',
    '  int32_t end = 0;',
    ...pageFields.flatMap(({ name, perSlot, element }) => [
      `  at.${snake(name)} = end;`,
      `  end += SKV_PAGE * ${snake(perSlot)} * ${element === 'kv' ? 'kv_bytes' : 4};`,
    ]),
    `  at.bytes = (end + ${LINE - 1}) / ${LINE} * ${LINE};`,
    '  return at;',
    '}',
    '',
    '#endif',
    '',
  ];
}

const sharedArrays: RecordOf = {
  c: 'skv_buffers',
  doc: 'Memory that the engine and a backend share for the life of an engine; how long each array is says fields.h.',
  fields: c.buffers.map(({ name, element, doc }) => ({ name, type: { c: `${element}*` }, doc })),
};

/** What a file has for a block of each weight type. */
const weightSizes = (['elements', 'bytes'] as const).map((size) =>
  enumeration(
    `SKV_${size.toUpperCase()}_`,
    `${size[0].toUpperCase()}${size.slice(1)} of a block of each type of weights, as files have it.`,
    Object.fromEntries(Object.entries(weightBlocks).map(([name, block]) => [name, [block[size]] as const])),
  ),
);

/** A role's shape as a function of the model's record; a role that is not there has no rows. */
function roleShape(): string[] {
  const product = (of: RoleShape['rows']) => of.map((name) => `m->${snake(name)}`).join(' * ') || '1';
  const cases = new Map<string, string[]>(); // roles of one shape share a case
  for (const [role, { kind, rows, cols, perLayer, optional }] of Object.entries(roleShapes)) {
    const body = [
      `      shape.rows = ${product(rows)};`,
      `      shape.cols = ${product(cols)};`,
      ...(perLayer ? ['      shape.per_layer = 1;'] : []),
      ...(optional ? ['      shape.optional = 1;'] : []),
      ...(kind === 'matrix' ? [] : [`      shape.${kind} = 1;`]),
      '      break;',
    ].join('\n');
    cases.set(body, [...(cases.get(body) ?? []), role]);
  }
  return [
    ...comment('What the tensor of a role is to the forward pass.'),
    'typedef struct skv_role_shape {',
    ...aligned([
      ['int32_t rows;', 'outputs; 0: there is no such role'],
      ['int32_t cols;', 'inputs, or the size of a norm or bias'],
      ['int32_t per_layer;', '1: every layer has one'],
      ['int32_t optional;', '1: the forward pass does without it; then no layer has one'],
      ['int32_t norm;', '1: the weight of a norm, in one row'],
      ['int32_t bias;', '1: of a norm or a matrix, in one row'],
    ]),
    '} skv_role_shape;',
    '',
    ...comment('One function: a case for each shape there is.'),
    'static inline skv_role_shape skv_shape_of(const skv_model* m, int32_t role) {',
    '  skv_role_shape shape = {0};',
    '  switch (role) {',
    ...[...cases].flatMap(([body, roles]) => [...roles.map((role) => `    case SKV_T_${upper(role)}:`), body]),
    '  }',
    '  return shape;',
    '}',
    '',
  ];
}

function backendRecords(): string[] {
  const roles = Object.keys(c.roles.entries);
  return [
    ...head('SKV_BACKEND_RECORDS_H', 'Numbers and records that backends and the addon share.', ['"records.h"']),
    '@VERSION',
    ...defines([
      define('MAX_LOGPROBS', c.MAX_LOGPROBS, 'alternatives that a draw can report'),
      define('KEPT_LOGITS', c.KEPT_LOGITS, 'draws of a step whose raw logits stay readable'),
      define('MAX_BIASES', c.MAX_BIASES, 'tokens whose logits a sequence may move'),
      define('MASK_WORDS(vocab)', '(((vocab) + 31) / 32)', 'words of a set of tokens, one bit each'),
    ]),
    ...[c.weightTypes, ...weightSizes, c.norms, c.activations, c.roles].flatMap(enumOf),
    `#define SKV_T_COUNT ${roles.length}`,
    '',
    '/* What TypeScript calls a role; null: there is none. */',
    'static inline const char* skv_role_name(int32_t role) {',
    '  switch (role) {',
    ...roles.flatMap((role) => [`    case SKV_T_${upper(role)}:`, `      return "${role}";`]),
    '  }',
    '  return NULL;',
    '}',
    '',
    ...[c.tensor, c.layer, c.model].flatMap(struct),
    ...roleShape(),
    ...[c.config, c.sampler, c.sampled, c.stepCounts, sharedArrays].flatMap(struct),
    '#endif',
    '',
  ];
}

/** fn(name, field) for each number that TypeScript gives. */
const visit = ({ c: name, fields }: RecordOf): string[] => [
  'template <class Fn>',
  `void each_number(${name}& of, Fn&& fn) {`,
  ...fields
    .filter(({ type, filled }) => typeof type === 'string' && !filled)
    .map(({ name: field }) => `  fn("${field}", of.${snake(field)});`),
  '}',
  '',
];

/** Names in TypeScript beside the fields in C, for the addon, and how long the shared arrays are. */
function fields(): string[] {
  return [
    ...head('SKV_FIELDS_H', 'Fields by the names that TypeScript has for them.', ['"backend_records.h"']),
    'namespace skv {',
    '',
    '/* each_number(record, fn) calls fn(name, field) for each number that TypeScript gives. */',
    ...[c.probe, c.tensor, c.layer, c.model, c.config, c.stepCounts].flatMap(visit),
    '/* Calls fn(name, array, elements) for each shared array. */',
    'template <class Fn>',
    'void each_array(const skv_config& c, skv_buffers& of, Fn&& fn) {',
    ...c.buffers.map(({ name, count }) => `  fn("${name}", of.${snake(name)}, ${product(count)});`),
    '}',
    '',
    '}  // namespace skv',
    '#endif',
    '',
  ];
}

const product = ([first, ...rest]: readonly (string | number)[]): string =>
  [`size_t(${snake(String(first))})`, ...rest.map((each) => snake(String(each)))].join(' * ');

/** Every printed file's text, by name. */
export function printed(): Record<string, string> {
  const [policies, abi] = withVersion(
    records().join('\n'),
    'SKV_ABI_VERSION',
    [written('abi.h'), layout().join('\n')],
    'What policy libraries and the engine agree on, as a number: this file, layout.h and abi.h.',
  );
  const [backends, backend] = withVersion(
    backendRecords().join('\n'),
    'SKV_BACKEND_VERSION',
    [policies, written('abi.h'), written('backend.h'), fields().join('\n')],
    'What backends, the addon and TypeScript agree on: that, this file, fields.h and backend.h.',
  );
  return {
    'records.h': policies,
    'layout.h': layout().join('\n'),
    'backend_records.h': backends,
    'fields.h': fields().join('\n'),
    'versions.ts': `/** Printed by \`npm run contract\`: versions of the contract, as records.h and backend_records.h have them. */\nexport const ABI_VERSION = ${abi};\nexport const BACKEND_VERSION = ${backend};\n`,
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  for (const [name, text] of Object.entries(printed())) writeFileSync(join(here, name), text);
