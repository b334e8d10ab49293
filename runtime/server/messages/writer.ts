/** A chat's answer → blocks of Anthropic's message, with the event of each step. */
import { randomUUID } from 'node:crypto';
import type { Delta, Event } from '../chat-events.ts';
import type { Usage } from '../schemas.ts';

type Block =
  | { type: 'text'; text: string }
  | { type: 'thinking'; thinking: string; signature: string }
  | { type: 'tool_use'; id: string; name: string; input: unknown };

/** Blocks are written one after another; the last is open while it grows. */
export class MessageWriter {
  readonly content: Block[] = [];
  private open = false;
  /** of the call that is open: which it is, and its arguments so far */
  private call?: number;
  private json = '';
  private events: Event[] = [];

  take({ reasoning_content: thinking, content, tool_calls: calls }: Delta): Event[] {
    this.events = [];
    if (thinking) {
      const block = this.block('thinking', () => ({ type: 'thinking', thinking: '', signature: '' }));
      block.thinking += thinking;
      this.delta({ type: 'thinking_delta', thinking });
    }
    if (content) {
      const block = this.block('text', () => ({ type: 'text', text: '' }));
      block.text += content;
      this.delta({ type: 'text_delta', text: content });
    }
    for (const { index, id, function: called } of calls ?? []) {
      if (!this.open || this.content.at(-1)?.type !== 'tool_use' || (index === undefined ? id : this.call !== index)) {
        this.begin({ type: 'tool_use', id: id ?? `toolu_${randomUUID()}`, name: called?.name ?? '', input: {} });
        this.call = index;
      }
      if (!called?.arguments) continue;
      this.json += called.arguments;
      this.delta({ type: 'input_json_delta', partial_json: called.arguments });
    }
    return this.events;
  }

  /** Closes what is open. */
  close(): Event[] {
    this.events = [];
    if (!this.open) return this.events;
    const block = this.content.at(-1)!;
    if (block.type === 'tool_use') block.input = parsed(this.json);
    this.open = false;
    this.json = '';
    this.events.push({ type: 'content_block_stop', index: this.content.length - 1 });
    return this.events;
  }

  private block<K extends Block['type']>(
    type: K,
    make: () => Extract<Block, { type: K }>,
  ): Extract<Block, { type: K }> {
    if (!this.open || this.content.at(-1)?.type !== type) this.begin(make());
    return this.content.at(-1) as Extract<Block, { type: K }>;
  }

  private begin(block: Block): void {
    const before = [...this.events, ...this.close()];
    this.content.push(block);
    this.open = true;
    const begun = { type: 'content_block_start', index: this.content.length - 1, content_block: { ...block } };
    this.events = [...before, begun];
  }

  private delta(delta: object): void {
    this.events.push({ type: 'content_block_delta', index: this.content.length - 1, delta });
  }
}

/** Arguments that were cut off are no JSON. */
function parsed(json: string): unknown {
  try {
    return JSON.parse(json || '{}');
  } catch {
    return {};
  }
}

export const usageOf = (usage: Usage | null | undefined) => {
  const cached = usage?.prompt_tokens_details.cached_tokens ?? 0;
  return {
    input_tokens: (usage?.prompt_tokens ?? 0) - cached,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: cached,
    output_tokens: usage?.completion_tokens ?? 0,
  };
};

/** `stop`: the stop string that ended it, or the number of a token. */
export function endOf(reason: string | null, stop: unknown) {
  if (reason === 'length') return { stop_reason: 'max_tokens', stop_sequence: null };
  if (reason === 'tool_calls') return { stop_reason: 'tool_use', stop_sequence: null };
  if (typeof stop === 'string') return { stop_reason: 'stop_sequence', stop_sequence: stop };
  return { stop_reason: 'end_turn', stop_sequence: null };
}
