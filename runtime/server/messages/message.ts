/** POST /v1/messages: a chat in the words of Anthropic's API. */
import { randomUUID } from 'node:crypto';
import type { FastifyReply } from 'fastify';
import type { Service } from '../active-request.ts';
import { chat } from '../chat.ts';
import { type ChatAnswer, type Protocol, chatEvents } from '../chat-events.ts';
import type { Encoder } from '../encode.ts';
import { toApiError } from '../errors.ts';
import { EventStream } from '../sse.ts';
import { chatOf } from './input.ts';
import type { MessagesRequest } from './schema.ts';
import { MessageWriter, endOf, usageOf } from './writer.ts';

const types: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  503: 'overloaded_error',
};

/** An error in Anthropic's form. */
export const anthropicError = (error: unknown) => {
  const { status, message, headers } = toApiError(error);
  const type = types[status] ?? (status >= 500 ? 'api_error' : 'invalid_request_error');
  return { status, headers, body: { type: 'error', error: { type, message } } };
};

export async function message(
  service: Service,
  encoder: Encoder,
  body: MessagesRequest,
  reply: FastifyReply,
): Promise<void> {
  const writer = new MessageWriter();
  const start = {
    id: `msg_${randomUUID().replaceAll('-', '')}`,
    type: 'message',
    role: 'assistant',
    model: service.modelName,
    content: writer.content,
    stop_reason: null,
    stop_sequence: null,
    usage: usageOf(undefined),
  };
  await chat(service, encoder, chatOf(body), {
    raw: reply.raw,
    whole: (answer) => {
      const { choices, usage } = answer as Required<ChatAnswer>;
      const [{ message: whole = {}, finish_reason: reason, stop_reason: stop }] = choices;
      writer.take(whole);
      writer.close();
      reply.send({ ...start, ...endOf(reason, stop), usage: usageOf(usage) });
    },
    stream: () => chatEvents(new EventStream(reply, service.streams), messageEvents(writer, start)),
  });
}

/** The events of a message. */
const messageEvents = (writer: MessageWriter, start: object): Protocol => ({
  begin: () => [{ type: 'message_start', message: { ...start, content: [] } }],
  take: (delta) => writer.take(delta),
  end({ reason, stop, usage, failure }) {
    if (failure) return [{ type: 'error', error: { type: failure.type, message: failure.message } }];
    const end = { type: 'message_delta', delta: endOf(reason, stop), usage: usageOf(usage) };
    return [...writer.close(), end, { type: 'message_stop' }];
  },
});
