/** A chat's answer as protocols read it that stand on chats, and how its chunks become the events that their clients know. */
import type { ApiError } from './errors.ts';
import type { Events } from './output.ts';
import type { Usage } from './schemas.ts';
import type { EventStream } from './sse.ts';

/** What a chunk brings, or the whole message of an answer. */
export interface Delta {
  content?: string | null;
  reasoning_content?: string | null;
  tool_calls?: readonly {
    index?: number;
    id?: string;
    function?: { name?: string; arguments?: string };
  }[];
}

export interface Logprob {
  token: string;
  logprob: number;
  bytes?: number[];
  top_logprobs?: Logprob[];
}

interface ChatChoice {
  message?: Delta;
  delta?: Delta;
  finish_reason: string | null;
  stop_reason?: unknown;
  logprobs?: { content?: readonly Logprob[] | null } | null;
}

/** An answer or a chunk, as far as it is read. */
export interface ChatAnswer {
  choices?: ChatChoice[];
  usage?: Usage | null;
  error?: ApiError['body']['error'];
}

/** What is known of an answer at its end. */
export interface Ended {
  readonly reason: string | null;
  readonly stop: unknown;
  readonly usage?: Usage | null;
  readonly failure?: ChatAnswer['error'];
}

export type Event = { type: string } & Record<string, unknown>;

/** What a protocol says at each point. */
export interface Protocol {
  begin(): readonly Event[];
  take(delta: Delta, logprobs: readonly Logprob[]): readonly Event[];
  end(ended: Ended): readonly Event[];
}

/** A chat's chunks → a protocol's events. `number`: each event says which it is. */
export function chatEvents(stream: EventStream, protocol: Protocol, number = false): Events {
  let sequence = 0;
  const send = async (events: readonly Event[]) => {
    for (const { type, ...event } of events)
      await stream.send({ type, ...(number ? { sequence_number: sequence++ } : {}), ...event }, type);
  };
  let ended: Ended = { reason: null, stop: null };
  let begun = false;
  const begin = async () => {
    if (begun) return;
    begun = true;
    await send(protocol.begin());
  };
  return {
    log: stream.log,
    send: async (chunk) => {
      await begin();
      const { error, usage, choices = [] } = chunk as ChatAnswer;
      ended = { ...ended, failure: ended.failure ?? error, usage: usage ?? ended.usage };
      for (const { delta = {}, finish_reason: reason, stop_reason: stop, logprobs } of choices) {
        if (reason) ended = { ...ended, reason, stop };
        await send(protocol.take(delta, logprobs?.content ?? []));
      }
    },
    end: async () => {
      await begin();
      await send(protocol.end(ended));
      await stream.end('');
    },
  };
}
