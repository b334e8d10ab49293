/** A chat's answer → the items of a response, with the event of each step. */
import { randomUUID } from 'node:crypto';
import type { Delta, Event, Logprob } from '../chat-events.ts';
import type { ApiError } from '../errors.ts';
import type { Usage } from '../schemas.ts';
import type { Item } from './schema.ts';

type Part = Record<string, unknown> & { text: string };
type Output = Item & { id: string; status?: string };

const idOf = (kind: string): string => `${kind}_${randomUUID().replaceAll('-', '')}`;

/** Items are written one after another; each is open while it grows. */
export class ResponseWriter {
  readonly output: Output[] = [];
  private open?: { kind: string; item: Output; index: number; part?: Part; call?: number };
  private events: Event[] = [];

  /** The events of a delta. */
  take(delta: Delta, logprobs: readonly Logprob[] = []): Event[] {
    this.events = [];
    if (delta.reasoning_content) this.text('reasoning', delta.reasoning_content, []);
    if (delta.content) this.text('message', delta.content, logprobs);
    for (const call of delta.tool_calls ?? []) this.call(call);
    return this.events;
  }

  /** The events that close what is open. */
  close(status = 'completed'): Event[] {
    this.events = [];
    const { open } = this;
    this.open = undefined;
    if (!open) return this.events;
    const { item, index, part } = open;
    const at = { item_id: item.id, output_index: index };
    if (part) {
      const kind = part.type === 'output_text' ? 'output_text' : 'reasoning_text';
      const logprobs = part.logprobs ? { logprobs: part.logprobs } : {};
      this.events.push({ type: `response.${kind}.done`, ...at, content_index: 0, text: part.text, ...logprobs });
      this.events.push({ type: 'response.content_part.done', ...at, content_index: 0, part });
    } else
      this.events.push({
        type: 'response.function_call_arguments.done',
        ...at,
        name: item.name,
        arguments: item.arguments,
      });
    item.status = status;
    this.events.push({ type: 'response.output_item.done', output_index: index, item });
    return this.events;
  }

  /** Closes what is open, and begins another item. */
  private begin(kind: string, item: Output, part?: Part, call?: number): void {
    const before = this.close();
    const index = this.output.push(item) - 1;
    this.open = { kind, item, index, part, call };
    this.events = [...before, { type: 'response.output_item.added', output_index: index, item: structuredClone(item) }];
    if (!part) return;
    const added = { type: 'response.content_part.added', item_id: item.id, output_index: index, content_index: 0 };
    this.events.push({ ...added, part: structuredClone(part) });
    item.content = [part];
  }

  private text(kind: 'message' | 'reasoning', text: string, logprobs: readonly Logprob[]): void {
    if (this.open?.kind !== kind) {
      if (kind === 'message') {
        const part = { type: 'output_text', text: '', annotations: [], logprobs: [] };
        const item = { type: kind, id: idOf('msg'), status: 'in_progress', role: 'assistant', content: [] };
        this.begin(kind, item, part);
      } else {
        const item = { type: kind, id: idOf('rs'), status: 'in_progress', summary: [], content: [] };
        this.begin(kind, item, { type: 'reasoning_text', text: '' });
      }
    }
    const { item, index, part } = this.open!;
    part!.text += text;
    const at = { item_id: item.id, output_index: index, content_index: 0, delta: text };
    if (kind === 'reasoning') this.events.push({ type: 'response.reasoning_text.delta', ...at });
    else {
      (part!.logprobs as Logprob[]).push(...logprobs);
      this.events.push({ type: 'response.output_text.delta', ...at, logprobs });
    }
  }

  private call({ index, id, function: called }: NonNullable<Delta['tool_calls']>[number]): void {
    if (this.open?.kind !== 'function_call' || (index !== undefined ? this.open.call !== index : id !== undefined)) {
      const item = { type: 'function_call', id: idOf('fc'), call_id: id ?? idOf('call'), name: called?.name ?? '' };
      this.begin('function_call', { ...item, arguments: '', status: 'in_progress' }, undefined, index);
    }
    const { item, index: at } = this.open!;
    const text = called?.arguments;
    if (!text) return;
    item.arguments = `${item.arguments}${text}`;
    this.events.push({
      type: 'response.function_call_arguments.delta',
      item_id: item.id,
      output_index: at,
      delta: text,
    });
  }
}

export const usageOf = (usage: Usage & { completion_tokens_details?: { reasoning_tokens?: number } }) => ({
  input_tokens: usage.prompt_tokens,
  input_tokens_details: { cached_tokens: usage.prompt_tokens_details.cached_tokens },
  output_tokens: usage.completion_tokens,
  output_tokens_details: { reasoning_tokens: usage.completion_tokens_details?.reasoning_tokens ?? 0 },
  total_tokens: usage.total_tokens,
});

/** How a response ended, of how its chat did. */
export function endOf(reason: string | null | undefined) {
  if (reason === 'length') return { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } };
  if (reason === 'abort') return { status: 'failed', error: { code: 'server_error', message: 'It was cut off.' } };
  return { status: 'completed' };
}

export const failureOf = ({ error }: ApiError['body']) => ({
  status: 'failed',
  error: { code: error.code ?? error.type, message: error.message },
});
