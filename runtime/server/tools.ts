/** Tools of a request: checked, as the chat template wants them, and as the grammar of the calls that it may answer with. */
import { GrammarError, type Rules, either, literal, repeated, schemaIn, sequence } from '../grammar/index.ts';
import type { ChatMessage, LoadedModel } from '../model/types.ts';
import { ApiError } from './errors.ts';
import type { ConversationRequest, RequestMessage } from './schemas.ts';
import { grammarError } from './structured.ts';
import { type ToolFormat, firstMarks, toolFormats } from './tool-formats.ts';

export type Tool = NonNullable<ConversationRequest['tools']>[number];

export interface Tools {
  readonly list: readonly Tool[];
  readonly format: ToolFormat;
  /** auto: it may call; required: it must; a tool: it must call this one */
  readonly choice: 'auto' | 'required' | Tool;
  /** most calls of an answer */
  readonly most: number;
}

/** What is asked for; undefined: no calls. Throws a 400 with the field at fault. */
export function toolsOf(
  body: ConversationRequest,
  model: LoadedModel,
  format: ToolFormat | undefined,
): Tools | undefined {
  const list = body.tools ?? [];
  const given = body.tool_choice ?? (list.length ? 'auto' : 'none');
  if (given === 'none') return undefined;
  if (list.length === 0) {
    if (given === 'auto') return undefined;
    throw new ApiError(400, 'tool_choice asks for a call, and tools lists none.', 'tool_choice');
  }
  const names = list.map((tool) => tool.function.name);
  const twice = names.findIndex((name, i) => names.indexOf(name) < i);
  if (twice >= 0) throw new ApiError(400, `Two tools are called ${names[twice]}.`, `tools[${twice}].function.name`);
  if (!/\btools\b/.test(model.chatTemplate ?? ''))
    throw new ApiError(
      400,
      `The chat template of ${model.name} shows no tools to the model, so it would know of none. Take a model made for tools, or give its template with --chat-template.`,
      'tools',
    );
  if (!format)
    throw new ApiError(
      400,
      `How ${model.name} writes tool calls is not known from its chat template: start the server with --tool-call-parser and one of ${toolFormats.map(({ name }) => name).join(', ')}.`,
      'tools',
    );
  const choice = typeof given === 'string' ? given : list[names.indexOf(given.function.name)];
  if (!choice)
    throw new ApiError(
      400,
      `tool_choice names ${(given as { function: { name: string } }).function.name}; the tools are ${names.join(', ')}.`,
      'tool_choice',
    );
  const one = typeof choice === 'object' || body.parallel_tool_calls === false;
  return { list, format, choice, most: one ? 1 : Number.POSITIVE_INFINITY };
}

/** An object whose arguments a tool takes. Where nobody asks for strictness, a schema that no grammar holds is any object. */
function argumentsOf(rules: Rules, tool: Tool, at: number): string {
  const { parameters, strict } = tool.function;
  try {
    return schemaIn(rules, parameters ?? { type: 'object' });
  } catch (error) {
    if (strict || !(error instanceof GrammarError)) throw grammarError(error, `tools[${at}].function.parameters`);
    return schemaIn(rules, { type: 'object' });
  }
}

/** A tool that may be called, and the rule of its arguments. */
interface Called {
  readonly name: string;
  readonly value: string;
}

const calledOf = (rules: Rules, { list, choice }: Tools): Called[] =>
  list
    .filter((tool) => typeof choice === 'string' || tool === choice)
    .map((tool) => ({ name: tool.function.name, value: argumentsOf(rules, tool, list.indexOf(tool)) }));

/** The calls that an answer may hold, from the first one's mark on. */
function callsOf(rules: Rules, called: readonly Called[], { format, most }: Tools): string {
  const { open = '', begin = '', end = '', separator, close = '', middle, argumentsKey } = format;
  const calls = called.map(({ name, value }) => {
    const body = middle
      ? [literal(name + middle), value]
      : [literal(`{"name": ${JSON.stringify(name)}, "${argumentsKey}": `), value, literal('}')];
    return sequence([...(begin ? [literal(begin)] : []), ...body, ...(end ? [literal(end)] : [])]);
  });
  const call = rules.add(either(calls));
  const more = most === 1 ? '""' : repeated(sequence([...(separator ? [literal(separator)] : []), call]), 0, undefined);
  return rules.add(sequence([...(open ? [literal(open)] : []), call, more, ...(close ? [literal(close)] : [])]));
}

/** The same without marks, one after another. */
function unmarkedOf(rules: Rules, called: readonly Called[], { format, most }: Tools): string {
  const { instead = [], argumentsKey } = format;
  const space = rules.add('[ \\n\\t]{0,20}');
  const parts = ({ name, value }: Called) => {
    const texts = ['{', '"name":', JSON.stringify(name), ',', `"${argumentsKey}":`].map(literal);
    return [...texts, value, literal('}')].join(` ${space} `);
  };
  const call = rules.add(either(called.map((each) => sequence([parts(each)]))));
  const around = instead.map(([begin, end]) => `${literal(begin)} ${space} ${call} ${space} ${literal(end)}`);
  const one = rules.add(around.join(' | '));
  return most === 1 ? one : `${one} (${space} ${one})*`;
}

/** What the answer may be: calls, or where they are free, calls after text, or `text` alone. Undefined: anything. */
export function callGrammar(rules: Rules, tools: Tools, structure: string | undefined): string | undefined {
  const { list, format, choice } = tools;
  const strict = list.some((tool) => tool.function.strict);
  if (choice === 'auto' && !structure && !strict) return undefined;
  const called = calledOf(rules, tools);
  const calls = callsOf(rules, called, tools);
  if (choice !== 'auto') return calls;
  if (structure) return either([structure, calls]);
  const [mark] = firstMarks(format);
  if (mark && format.instead) {
    // what begins like a call without marks is one, and holds its schema
    const unlike = [' ', '\n', '\t', ...format.instead.map(([begin]) => begin[0] ?? '{')];
    const text = rules.textWithout(mark, [...new Set(unlike)].join(''));
    return either([`${text} (${calls})?`, unmarkedOf(rules, called, tools)]);
  }
  if (mark) return `${rules.textWithout(mark)} (${calls})?`;
  return either(['""', sequence(['[^{ \\n\\t]', '[^\\x00]*']), calls]);
}

/** Messages as transformers gives them to templates: arguments of calls as objects. */
export function withCalls(
  messages: readonly ChatMessage[],
  given: readonly RequestMessage[],
  { chatTemplate = '', name }: LoadedModel,
): ChatMessage[] {
  return messages.map((message, i) => {
    if (message.role === 'function')
      throw new ApiError(
        400,
        "Messages of role function are OpenAI's older way: send role tool with tool_call_id.",
        `messages[${i}].role`,
      );
    const calls = given[i].tool_calls;
    if (!calls?.length) return message;
    if (!chatTemplate.includes('tool_calls'))
      throw new ApiError(
        400,
        `The chat template of ${name} does not show tool calls to the model.`,
        `messages[${i}].tool_calls`,
      );
    return {
      ...message,
      tool_calls: calls.map((call, c) => ({
        ...call,
        function: {
          ...call.function,
          arguments: objectOf(call.function.arguments, `messages[${i}].tool_calls[${c}].function.arguments`),
        },
      })),
    };
  });
}

function objectOf(given: string | Record<string, unknown> | null | undefined, param: string): unknown {
  if (typeof given !== 'string') return given ?? {};
  if (given.trim() === '') return {};
  try {
    return JSON.parse(given);
  } catch (error) {
    throw new ApiError(400, `${param} is no JSON: ${(error as Error).message}.`, param);
  }
}
