/** JSON Schema's keywords: what a grammar holds, what only describes, and what is refused. */
/** Where in a schema. */
export type Path = readonly (string | number)[];

export const types = ['string', 'integer', 'number', 'boolean', 'null', 'array', 'object'] as const;
export type Type = (typeof types)[number];

/** Keywords that describe and change nothing, as far as they can stand in two schemas that are joined. Unknown ones are such, too. */
export const notes = [
  'title',
  'description',
  'default',
  'examples',
  'example',
  'deprecated',
  'readOnly',
  'writeOnly',
  'contentEncoding',
  'contentMediaType',
  'definitions',
  'discriminator',
  'id',
  'nullable',
  'format',
];

/** Keywords that a grammar holds, by the type that they concern. */
export const held: Readonly<Record<'any' | Type, readonly string[]>> = {
  any: ['type', 'enum', 'const', 'anyOf', 'oneOf', 'allOf', '$ref'],
  string: ['minLength', 'maxLength', 'pattern'],
  integer: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
  number: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
  boolean: [],
  null: [],
  array: ['items', 'prefixItems', 'additionalItems', 'minItems', 'maxItems', 'uniqueItems'],
  object: [
    'properties',
    'required',
    'additionalProperties',
    'unevaluatedProperties',
    'propertyNames',
    'minProperties',
    'maxProperties',
  ],
};
export const known: readonly string[] = Object.values(held).flat();
/** Every other keyword of the drafts: it would change which texts are right. */
export const refused = [
  'not',
  'if',
  'then',
  'else',
  'dependentRequired',
  'dependentSchemas',
  'dependencies',
  'patternProperties',
  'contains',
  'minContains',
  'maxContains',
  'unevaluatedItems',
  '$dynamicRef',
  '$recursiveRef',
];

/** Formats whose texts a pattern tells; days to the 28th are in every month. Another format only describes. */
const DATE = '\\d{4}-(0[1-9]|1[0-2])-(0[1-9]|1\\d|2[0-8])';
const TIME = '([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,6})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)';
const BYTE = '(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
const NAME = '[A-Za-z0-9]([A-Za-z0-9-]{0,20}[A-Za-z0-9])?';
export const formats: Readonly<Record<string, string>> = {
  date: `^${DATE}$`,
  time: `^${TIME}$`,
  'date-time': `^${DATE}T${TIME}$`,
  uuid: '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$',
  email: `^[A-Za-z0-9_]+([.+-][A-Za-z0-9_]+)*@${NAME}(\\.${NAME})+$`,
  hostname: `^${NAME}(\\.${NAME})*$`,
  ipv4: `^${BYTE}(\\.${BYTE}){3}$`,
  uri: '^[a-z][a-z0-9+-]*://[A-Za-z0-9._~:/?#@!$&()*+,;=%-]+$',
};
