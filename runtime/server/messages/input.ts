/** A request of /v1/messages → one of /v1/chat/completions. */
import { ApiError, invalid } from '../errors.ts';
import { present } from '../present.ts';
import { type ChatRequest, chatRequest, firstOnly } from '../schemas.ts';
import type { Block, CountRequest } from './schema.ts';

/** What of a request stays in this protocol. */
const own = [
  'messages',
  'system',
  'tools',
  'tool_choice',
  'thinking',
  'max_tokens',
  'stop_sequences',
  'stream',
  'output_config',
];

/** What changes the answer and is not done. */
const refused = ['mcp_servers', 'container', 'context_management'];

type Message = Record<string, unknown>;

function textOf(content: string | readonly Block[], where: string): string {
  if (typeof content === 'string') return content;
  for (const { type, text } of content)
    if (type !== 'text' || typeof text !== 'string')
      throw new ApiError(400, `Content of type ${type} is not supported; only text is.`, where);
  return content.map(({ text }) => text).join('');
}

/** What a tool gave back; a failure says so in its text, for templates know of none. */
const resultOf = (block: Block, where: string): Message => ({
  role: 'tool',
  tool_call_id: block.tool_use_id,
  content: `${block.is_error ? 'Error: ' : ''}${textOf((block.content ?? '') as string | Block[], where)}`,
});

function userMessages(blocks: readonly Block[], where: string): Message[] {
  const results = blocks.filter(({ type }) => type === 'tool_result').map((block) => resultOf(block, where));
  const rest = blocks.filter(({ type }) => type !== 'tool_result');
  return rest.length ? [...results, { role: 'user', content: textOf(rest, where) }] : results;
}

function assistantMessage(blocks: readonly Block[], where: string): Message {
  const of = (kind: string) => blocks.filter(({ type }) => type === kind);
  const message: Message = {
    role: 'assistant',
    content: textOf(
      blocks.filter(({ type }) => !['tool_use', 'thinking', 'redacted_thinking'].includes(type)),
      where,
    ),
  };
  const thoughts = of('thinking').map(({ thinking }) => thinking);
  if (thoughts.length) message.reasoning_content = thoughts.join('');
  const calls = of('tool_use').map(({ id, name, input }) => ({
    id,
    type: 'function',
    function: { name, arguments: JSON.stringify(input ?? {}) },
  }));
  if (calls.length) message.tool_calls = calls;
  return message;
}

function messagesOf({ system, messages }: CountRequest): Message[] {
  const before = system ? [{ role: 'system', content: textOf(system, 'system') }] : [];
  return [
    ...before,
    ...messages.flatMap(({ role, content }, i): Message[] => {
      if (typeof content === 'string') return [{ role, content }];
      const where = `messages[${i}].content`;
      if (role === 'assistant') return [assistantMessage(content, where)];
      return role === 'user' ? userMessages(content, where) : [{ role, content: textOf(content, where) }];
    }),
  ];
}

const toolsOf = ({ tools }: CountRequest) =>
  tools?.map(({ type, name, description, input_schema: parameters, strict }, i) => {
    if (type && type !== 'custom')
      throw new ApiError(400, `Tools of type ${type} are not supported.`, `tools[${i}].type`);
    return { type: 'function', function: present({ name, description, parameters, strict }) };
  });

function toolChoiceOf({ tool_choice: choice }: CountRequest): unknown {
  if (!choice) return undefined;
  if (choice.type === 'tool') return { type: 'function', function: { name: choice.name } };
  return choice.type === 'any' ? 'required' : choice.type;
}

/** How an answer shall be: as JSON of a schema, with how much effort. */
interface OutputConfig {
  format?: { type?: string; schema?: unknown } | null;
  effort?: string | null;
}
const configOf = (body: CountRequest): OutputConfig => (body.output_config ?? {}) as OutputConfig;

function formatOf(body: CountRequest): unknown {
  const { format } = configOf(body);
  if (!format) return undefined;
  if (format.type !== 'json_schema')
    throw new ApiError(400, `An output format of type ${format.type} is not supported.`, 'output_config.format');
  return { type: 'json_schema', json_schema: { name: 'output', schema: format.schema, strict: true } };
}

/** A request as a chat's body, not yet looked at. */
export function chatBody(body: CountRequest): Record<string, unknown> {
  for (const field of refused) if (body[field]) throw new ApiError(400, `${field} is not supported.`, field);
  const messages = messagesOf(body);
  const { thinking } = body;
  const given = body.chat_template_kwargs as Record<string, unknown> | undefined;
  const chat: Record<string, unknown> = {
    ...Object.fromEntries(Object.entries(body).filter(([name]) => !own.includes(name))),
    messages,
    // a conversation that ends with the assistant goes on with its words
    ...(messages.at(-1)?.role === 'assistant' ? { continue_final_message: true, add_generation_prompt: false } : {}),
    ...(thinking ? { chat_template_kwargs: { enable_thinking: thinking.type !== 'disabled', ...given } } : {}),
    tools: toolsOf(body),
    tool_choice: toolChoiceOf(body),
    stream: body.stream,
    stream_options: body.stream ? { include_usage: true } : undefined,
    max_tokens: body.max_tokens,
    stop: body.stop_sequences,
    response_format: formatOf(body),
    reasoning_effort: configOf(body).effort,
    parallel_tool_calls: body.tool_choice?.disable_parallel_tool_use ? false : undefined,
  };
  return present(chat);
}

export function chatOf(body: CountRequest): ChatRequest {
  const chat = chatBody(body);
  const { data, error } = chatRequest.safeParse(chat, firstOnly);
  if (error) throw invalid(error.issues[0], chat);
  return data;
}
