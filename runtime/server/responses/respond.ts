/** POST /v1/responses: a chat in the words of OpenAI's newer API. */
import { randomUUID } from 'node:crypto';
import type { FastifyReply } from 'fastify';
import type { Service } from '../active-request.ts';
import { chat } from '../chat.ts';
import { type ChatAnswer, type Protocol, chatEvents } from '../chat-events.ts';
import type { Encoder } from '../encode.ts';
import { ApiError, invalid, toApiError } from '../errors.ts';
import type { Output } from '../output.ts';
import { type Usage, chatRequest, firstOnly } from '../schemas.ts';
import { EventStream } from '../sse.ts';
import { chatBody, messagesOf, ownName } from './input.ts';
import type { Item, ResponsesRequest } from './schema.ts';
import type { ResponseStore } from './store.ts';
import { ResponseWriter, endOf, failureOf, usageOf } from './writer.ts';

/** The items of a request: those before it, with references resolved. */
function itemsOf(body: ResponsesRequest, store: ResponseStore): Item[] {
  const { input, previous_response_id: previous } = body;
  const before = previous ? store.get(previous) : undefined;
  if (previous && !before)
    throw new ApiError(
      400,
      `There is no response ${previous}; the newest are kept, in memory.`,
      'previous_response_id',
      'previous_response_not_found',
    );
  if (input === undefined || input === null)
    throw new ApiError(400, 'Missing required parameter: input.', 'input', 'missing_required_parameter');
  const items: Item[] = typeof input === 'string' ? [{ role: 'user', content: input }] : input;
  const resolved = items.map((item, i) => {
    if (item.type !== 'item_reference') return item;
    const found = store.item(String(item.id));
    if (!found) throw new ApiError(400, `There is no item ${item.id}.`, `input[${i}].id`);
    return found;
  });
  return [...(before?.items ?? []), ...resolved];
}

/** The response as it is before anything is generated. */
function blank(service: Service, body: ResponsesRequest) {
  return {
    id: `resp_${randomUUID().replaceAll('-', '')}`,
    object: 'response',
    created_at: Math.floor(Date.now() / 1000),
    status: 'in_progress',
    error: null,
    incomplete_details: null,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    metadata: body.metadata ?? {},
    model: service.modelName,
    output: [] as Item[],
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    previous_response_id: body.previous_response_id ?? null,
    reasoning: { effort: body.reasoning?.effort ?? null, summary: null },
    store: body.store ?? true,
    temperature: body.temperature ?? null,
    text: body.text ?? { format: { type: 'text' } },
    tool_choice: body.tool_choice ?? 'auto',
    tools: body.tools ?? [],
    top_p: body.top_p ?? null,
    truncation: 'disabled',
    usage: null as object | null,
  };
}

export async function respond(
  service: Service,
  encoder: Encoder,
  store: ResponseStore,
  body: ResponsesRequest,
  reply: FastifyReply,
): Promise<void> {
  const items = itemsOf(body, store);
  const { data, error } = chatRequest.safeParse(chatBody(body, messagesOf(items)), firstOnly);
  const start = blank(service, body);
  const writer = new ResponseWriter();
  const finish = (end: object, usage?: Usage | null) => {
    const response = { ...start, ...end, output: writer.output, usage: usage ? usageOf(usage) : null };
    if (body.store !== false) store.set({ response, input: items, items: [...items, ...writer.output] });
    return response;
  };
  const out: Output = {
    raw: reply.raw,
    whole: (answer) => {
      const { choices, usage } = answer as Required<ChatAnswer>;
      const [{ message = {}, finish_reason: reason, logprobs }] = choices;
      writer.take(message, logprobs?.content ?? []);
      const end = endOf(reason);
      writer.close(end.status === 'completed' ? 'completed' : 'incomplete');
      reply.send(finish(end, usage));
    },
    stream: () => chatEvents(new EventStream(reply, service.streams), responseEvents(writer, start, finish), true),
  };
  try {
    if (error) throw invalid(error.issues[0], { messages: items });
    await chat(service, encoder, data, out);
  } catch (thrown) {
    const { status, message, param, code, headers } = toApiError(thrown);
    throw status >= 500 ? thrown : new ApiError(status, message, ownName(param), code, headers);
  }
}

/** The events of a response. */
const responseEvents = (
  writer: ResponseWriter,
  start: object,
  finish: (end: object, usage?: Usage | null) => object,
): Protocol => ({
  begin: () => [
    { type: 'response.created', response: start },
    { type: 'response.in_progress', response: start },
  ],
  take: (delta, logprobs) => writer.take(delta, logprobs),
  end({ reason, usage, failure }) {
    const end = failure ? failureOf({ error: failure }) : endOf(reason);
    const last = writer.close(end.status === 'completed' ? 'completed' : 'incomplete');
    return [...last, { type: `response.${end.status}`, response: finish(end, usage) }];
  },
});
