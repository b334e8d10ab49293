/** What a client asks of the form of its answer → a grammar: OpenAI's response_format, vLLM's and llama.cpp's fields. */
import {
  type Grammar,
  GrammarError,
  type Matchers,
  Rules,
  either,
  fromRegex,
  literal,
  schemaIn,
} from '../grammar/index.ts';
import type { Masking } from './answer.ts';
import { ApiError } from './errors.ts';
import type { CommonRequest } from './schemas.ts';

/** What is asked for, and the field that asks. */
interface Asked {
  readonly param: string;
  readonly kind: keyof typeof kinds;
  readonly value: unknown;
}

function parsed(given: unknown): unknown {
  if (typeof given !== 'string') return given;
  try {
    return JSON.parse(given);
  } catch (error) {
    throw new GrammarError(`is no JSON: ${(error as Error).message}`);
  }
}

function text(given: unknown): string {
  if (typeof given !== 'string' || given === '') throw new GrammarError('must be a text');
  return given;
}

function choices(given: unknown): string[] {
  if (!Array.isArray(given) || given.length === 0 || given.some((each) => typeof each !== 'string' || each === ''))
    throw new GrammarError('must be a list of texts');
  return given as string[];
}

/** What an answer may be, as rules and what stands for it; a client's own grammar stands alone. */
const kinds = {
  json: (rules: Rules, given: unknown) => schemaIn(rules, parsed(given)),
  json_object: (rules: Rules) => schemaIn(rules, { type: 'object' }),
  regex: (_: Rules, given: unknown) => fromRegex(text(given)),
  choice: (_: Rules, given: unknown) => either(choices(given).map(literal)),
  grammar: (_: Rules, given: unknown): Grammar => ({ text: text(given), foreign: true }),
} as const;
const kindNames = Object.keys(kinds) as (keyof typeof kinds)[];

/** A field that asks for nothing. */
const idle = (value: unknown): boolean => value === undefined || value === null || value === false;

function fromResponseFormat(format: CommonRequest['response_format']): Asked[] {
  if (!format || format.type === 'text') return [];
  const { type } = format;
  if (type === 'json_object') return [{ param: 'response_format', kind: 'json_object', value: true }];
  if (type !== 'json_schema')
    throw new ApiError(
      400,
      `The response format ${type} is not supported; text, json_object and json_schema are.`,
      'response_format.type',
      'invalid_value',
    );
  const { json_schema: named } = format as { json_schema?: { schema?: unknown } | null };
  if (typeof named !== 'object' || named === null)
    throw new ApiError(
      400,
      'Missing required parameter: response_format.json_schema.',
      'response_format.json_schema',
      'missing_required_parameter',
    );
  return [{ param: 'response_format.json_schema.schema', kind: 'json', value: named.schema ?? { type: 'object' } }];
}

/** vLLM's: exactly one of its kinds. */
function fromStructuredOutputs(given: CommonRequest['structured_outputs']): Asked[] {
  if (!given) return [];
  const asked = kindNames.filter((kind) => !idle(given[kind]));
  if (!idle(given.structural_tag))
    throw new ApiError(
      400,
      'structured_outputs.structural_tag is not supported.',
      'structured_outputs.structural_tag',
      'unsupported_parameter',
    );
  return asked.map((kind) => ({ param: `structured_outputs.${kind}`, kind, value: given[kind] }));
}

/** Fields of vLLM's before and of llama.cpp's that ask for the same. */
const older: Readonly<Record<string, keyof typeof kinds>> = {
  guided_json: 'json',
  guided_regex: 'regex',
  guided_choice: 'choice',
  guided_grammar: 'grammar',
  json_schema: 'json',
  grammar: 'grammar',
};

export interface Structure {
  /** a grammar, or what stands for the answer in the rules */
  readonly body: Grammar | string;
  /** the field that asks for it */
  readonly param: string;
}

/** A grammar and the field that asks for it. */
export interface Form {
  readonly grammar: Grammar;
  readonly param: string;
  /** tokens that its text would not show */
  readonly hidden?: readonly number[];
}

/** The form of an answer that is nothing but its structure. */
export function formOf(body: CommonRequest): Form | undefined {
  const rules = new Rules();
  const structure = structureOf(rules, body);
  if (!structure) return undefined;
  const { body: text, param } = structure;
  return { grammar: typeof text === 'string' ? { text: rules.text(text) } : text, param };
}

/** Compiles a grammar, once for all generations of a request. Throws a 400 with the field at fault. */
export async function maskingOf(matchers: Matchers, form: Form | undefined): Promise<Masking | undefined> {
  if (!form) return undefined;
  try {
    const follow = await matchers.open(form.grammar);
    return (stops) => follow({ stops, hidden: form.hidden });
  } catch (error) {
    throw grammarError(error, form.param);
  }
}

/** What a request asks for; undefined for free text. Throws a 400 that says what is wrong, and where. */
export function structureOf(rules: Rules, body: CommonRequest): Structure | undefined {
  const fields = body as Readonly<Record<string, unknown>>;
  const asked = [
    ...fromResponseFormat(body.response_format),
    ...fromStructuredOutputs(body.structured_outputs),
    ...Object.entries(older)
      .filter(([name]) => !idle(fields[name]) && fields[name] !== '')
      .map(([param, kind]) => ({ param, kind, value: fields[param] })),
  ];
  if (asked.length === 0) return undefined;
  if (asked.length > 1)
    throw new ApiError(
      400,
      `${asked.map(({ param }) => param).join(' and ')} both say what the answer looks like: send one.`,
      asked[1].param,
    );
  const [{ param, kind, value }] = asked;
  return { param, body: refusing(param, () => kinds[kind](rules, value)) };
}

/** A GrammarError as a 400 with the field, and the place in it. */
export function grammarError(error: unknown, param: string): unknown {
  if (!(error instanceof GrammarError)) return error;
  const at = error.path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`)).join('');
  return new ApiError(400, `${param}${at}: ${error.message}.`, param, 'invalid_value');
}

export function refusing<T>(param: string, build: () => T): T {
  try {
    return build();
  } catch (error) {
    throw grammarError(error, param);
  }
}
