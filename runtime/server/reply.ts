/** One choice's text → what a chat answers with: what was thought, what is said, which tools are called. */
import { type CallDelta, CallReader } from './call-reader.ts';
import { ReasoningSplit } from './reasoning.ts';
import type { ReasoningFormat } from './tool-formats.ts';
import type { Tools } from './tools.ts';

/** How a request's answers are read. */
export interface Reading {
  readonly reasoning?: ReasoningFormat;
  /** the prompt has begun the thinking */
  readonly opened: boolean;
  readonly tools?: Tools;
  /** nothing but the tools says what the answer is, so that calls may stand without their marks */
  readonly free?: boolean;
}

export interface Part {
  reasoning: string;
  content: string;
  calls: CallDelta[];
}

export class Reply {
  private readonly split?: ReasoningSplit;
  private readonly reader?: CallReader;

  constructor({ reasoning, opened, tools, free }: Reading) {
    if (reasoning) this.split = new ReasoningSplit(reasoning, opened);
    const names = tools && free ? tools.list.map((tool) => tool.function.name) : [];
    if (tools) this.reader = new CallReader(tools.format, tools.most, names);
  }

  /** It has called a tool. */
  get calls(): boolean {
    return (this.reader?.count ?? 0) > 0;
  }

  push(text: string): Part {
    const { reasoning, content } = this.split?.push(text) ?? { reasoning: '', content: text };
    return { reasoning, ...this.read(content) };
  }

  /** The rest, when the text has ended. */
  end(): Part {
    const { reasoning, content } = this.split?.end() ?? { reasoning: '', content: '' };
    const last = this.read(content);
    const rest = this.reader?.end() ?? { content: '', calls: [] };
    return { reasoning, content: last.content + rest.content, calls: [...last.calls, ...rest.calls] };
  }

  private read(content: string): Omit<Part, 'reasoning'> {
    return this.reader?.push(content) ?? { content, calls: [] };
  }
}

/** Deltas joined into whole calls. */
function wholeCalls(deltas: readonly CallDelta[]): object[] {
  const calls: { id?: string; type?: string; function: { name?: string; arguments: string } }[] = [];
  for (const { index, id, type, function: called } of deltas) {
    calls[index] ??= { id, type, function: { name: called.name, arguments: '' } };
    calls[index].function.arguments += called.arguments ?? '';
  }
  return calls;
}

/** A whole answer's message. */
export function messageOf(text: string, reply: Reply): object {
  const [first, last] = [reply.push(text), reply.end()];
  const [content, reasoning] = [first.content + last.content, first.reasoning + last.reasoning];
  const calls = wholeCalls([...first.calls, ...last.calls]);
  return {
    role: 'assistant',
    content: calls.length && content === '' ? null : content,
    refusal: null,
    ...(reasoning ? { reasoning_content: reasoning } : {}),
    ...(calls.length ? { tool_calls: calls } : {}),
  };
}

/** A streamed answer's delta; undefined: nothing is certain yet. */
export function deltaOf({ reasoning, content, calls }: Part): object | undefined {
  if (!reasoning && !content && calls.length === 0) return undefined;
  return {
    ...(reasoning ? { reasoning_content: reasoning } : {}),
    ...(content ? { content } : {}),
    ...(calls.length ? { tool_calls: calls } : {}),
  };
}
