/** A request of /v1/responses → one of /v1/chat/completions. */
import { ApiError } from '../errors.ts';
import { present } from '../present.ts';
import type { Item, ResponsesRequest } from './schema.ts';

/** A chat's message, as it is sent. */
export type Message = { role: string; content?: string } & Record<string, unknown>;

/** What of a request stays in this protocol. */
const own = [
  'input',
  'instructions',
  'previous_response_id',
  'store',
  'stream',
  'stream_options',
  'max_output_tokens',
  'text',
  'tools',
  'tool_choice',
  'reasoning',
  'metadata',
  'include',
  'truncation',
  'top_logprobs',
];

/** What changes the answer and is not done. */
const refused = ['background', 'conversation', 'prompt', 'context_management'];

/** Text of a string, or of parts of text. */
function textOf(content: unknown, where: string): string {
  if (content === undefined || content === null) return '';
  if (typeof content === 'string') return content;
  const parts = Array.isArray(content) ? content : [content];
  for (const { type, text } of parts)
    if (
      !['input_text', 'output_text', 'text', 'reasoning_text', 'summary_text'].includes(type) ||
      typeof text !== 'string'
    )
      throw new ApiError(400, `Content of type ${type} is not supported; only text is.`, where);
  return parts.map(({ text }) => text).join('');
}

/** Items → messages: calls and reasoning belong to the assistant's message that they stand beside. */
class Conversation {
  readonly messages: Message[] = [];
  private reasoning = '';

  /** The assistant's message that is being put together. */
  private assistant(): Message {
    const last = this.messages.at(-1);
    if (last?.role === 'assistant') return last;
    const message: Message = { role: 'assistant', content: '' };
    if (this.reasoning) message.reasoning_content = this.reasoning;
    this.reasoning = '';
    this.messages.push(message);
    return message;
  }

  add(item: Item, where: string): void {
    const type = item.type ?? 'message';
    if (type === 'message') this.message(item, where);
    else if (type === 'function_call') {
      const { call_id: id, name, arguments: text } = item as Record<string, string>;
      const message = this.assistant();
      message.tool_calls = [
        ...((message.tool_calls as object[] | undefined) ?? []),
        { id, type: 'function', function: { name, arguments: text } },
      ];
    } else if (type === 'function_call_output')
      this.messages.push({ role: 'tool', tool_call_id: item.call_id, content: textOf(item.output, `${where}.output`) });
    else if (type === 'reasoning') this.reasoning += textOf(item.content ?? item.summary, where);
    else throw new ApiError(400, `Items of type ${type} are not supported.`, `${where}.type`);
  }

  private message({ role, content }: Item, where: string): void {
    if (role === undefined) throw new ApiError(400, `Missing required parameter: ${where}.role.`, `${where}.role`);
    const text = textOf(content, `${where}.content`);
    if (role !== 'assistant') this.messages.push({ role, content: text });
    else {
      const last = this.messages.at(-1);
      const message = last?.role === 'assistant' && !last.content && !last.tool_calls ? last : undefined;
      if (message) message.content = text;
      else {
        const fresh: Message = { role, content: text };
        if (this.reasoning) fresh.reasoning_content = this.reasoning;
        this.reasoning = '';
        this.messages.push(fresh);
      }
    }
  }
}

export function messagesOf(items: readonly Item[]): Message[] {
  const conversation = new Conversation();
  for (const [i, item] of items.entries()) conversation.add(item, `input[${i}]`);
  return conversation.messages;
}

function toolsOf(body: ResponsesRequest): object | undefined {
  return body.tools?.map(({ type, ...rest }, i) => {
    if (type !== 'function') throw new ApiError(400, `Tools of type ${type} are not supported.`, `tools[${i}].type`);
    // this protocol's tools have every field: what is null would only reach the template
    return { type, function: present(rest) };
  });
}

function toolChoiceOf({ tool_choice: choice }: ResponsesRequest): unknown {
  if (typeof choice !== 'object' || choice === null) return choice;
  if (choice.type !== 'function')
    throw new ApiError(400, `A tool_choice of type ${choice.type} is not supported.`, 'tool_choice');
  return { type: 'function', function: { name: choice.name } };
}

function formatOf({ text }: ResponsesRequest): unknown {
  const format = text?.format;
  if (!format) return undefined;
  if (format.type !== 'json_schema') return format;
  const { type, ...schema } = format;
  return { type, json_schema: schema };
}

/** Of `include` only what concerns generation is looked at; the rest is about tools that are refused. */
const LOGPROBS = 'message.output_text.logprobs';

/** The body of the chat. `messages`: the whole conversation, instructions not among them. */
export function chatBody(body: ResponsesRequest, messages: readonly Message[]): Record<string, unknown> {
  for (const field of refused) if (body[field]) throw new ApiError(400, `${field} is not supported.`, field);
  if (body.truncation && body.truncation !== 'disabled')
    throw new ApiError(400, `truncation ${body.truncation} is not supported; truncate_prompt_tokens is.`, 'truncation');
  const wanted = Array.isArray(body.include) && body.include.includes(LOGPROBS);
  const rest = Object.fromEntries(Object.entries(body).filter(([name]) => !own.includes(name)));
  const system = body.instructions ? [{ role: 'system', content: body.instructions }] : [];
  const chat: Record<string, unknown> = {
    ...rest,
    messages: [...system, ...messages],
    stream: body.stream,
    stream_options: body.stream ? { include_usage: true } : undefined,
    max_completion_tokens: body.max_output_tokens,
    tools: toolsOf(body),
    tool_choice: toolChoiceOf(body),
    response_format: formatOf(body),
    reasoning_effort: body.reasoning?.effort,
    verbosity: body.text?.verbosity,
    ...(wanted || body.top_logprobs ? { logprobs: true, top_logprobs: body.top_logprobs } : {}),
  };
  return present(chat);
}

const names: Readonly<Record<string, string>> = {
  messages: 'input',
  max_tokens: 'max_output_tokens',
  max_completion_tokens: 'max_output_tokens',
  response_format: 'text.format',
  reasoning_effort: 'reasoning.effort',
};

/** The field that the client knows, of one that the chat found wrong. */
export function ownName(param: string | null): string | null {
  const [, name, rest] = /^(\w+)(.*)$/.exec(param ?? '') ?? [];
  return name === undefined ? param : `${names[name] ?? name}${name === 'messages' ? '' : rest}`;
}
