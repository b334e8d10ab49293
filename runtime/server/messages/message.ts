/** POST /v1/messages: a chat in the words of Anthropic's API. */
import { randomUUID } from 'node:crypto';
import type { FastifyReply } from 'fastify';
import type { Service } from '../active-request.ts';
import { chat } from '../chat.ts';
import type { Encoder } from '../encode.ts';
import { type ApiError, invalid, toApiError } from '../errors.ts';
import type { Events } from '../output.ts';
import type { Delta } from '../responses/writer.ts';
import { type Usage, chatRequest, firstOnly } from '../schemas.ts';
import { EventStream } from '../sse.ts';
import { chatBody } from './input.ts';
import type { MessagesRequest } from './schema.ts';
import { MessageWriter, endOf, usageOf } from './writer.ts';

/** A chat's answer or chunk, as far as it is read here. */
interface ChatAnswer {
  choices?: { message?: Delta; delta?: Delta; finish_reason: string | null; stop_reason?: unknown }[];
  usage?: Usage | null;
  error?: ApiError['body']['error'];
}

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
  const { data, error } = chatRequest.safeParse(chatBody(body), firstOnly);
  if (error) throw invalid(error.issues[0], body);
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
  await chat(service, encoder, data, {
    raw: reply.raw,
    whole: (answer) => {
      const { choices, usage } = answer as Required<ChatAnswer>;
      const [{ message: whole = {}, finish_reason: reason, stop_reason: stop }] = choices;
      writer.take(whole);
      writer.close();
      reply.send({ ...start, ...endOf(reason, stop), usage: usageOf(usage) });
    },
    stream: () => messageEvents(new EventStream(reply, service.streams), writer, start),
  });
}

/** A chat's chunks → the events of a message. */
function messageEvents(stream: EventStream, writer: MessageWriter, start: object): Events {
  const send = async (events: readonly { type: string }[]) => {
    for (const event of events) await stream.send(event, event.type);
  };
  let usage: Usage | null | undefined;
  let end = endOf(null, null);
  let failure: ChatAnswer['error'];
  let begun = false;
  const begin = async () => {
    if (!begun) await send([{ type: 'message_start', message: { ...start, content: [] } } as { type: string }]);
    begun = true;
  };
  return {
    log: stream.log,
    send: async (chunk) => {
      await begin();
      const answer = chunk as ChatAnswer;
      failure ??= answer.error;
      usage = answer.usage ?? usage;
      for (const { delta, finish_reason: reason, stop_reason: stop } of answer.choices ?? []) {
        if (reason) end = endOf(reason, stop);
        await send(writer.take(delta ?? {}));
      }
    },
    end: async () => {
      await begin();
      if (failure) await send([{ type: 'error', error: { type: failure.type, message: failure.message } } as never]);
      else
        await send([
          ...writer.close(),
          { type: 'message_delta', delta: end, usage: usageOf(usage) } as { type: string },
          { type: 'message_stop' },
        ]);
      await stream.end('');
    },
  };
}
