/** The routes: what each path takes and answers. */
import type {
  FastifyBaseLogger,
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
} from 'fastify';
import type { RawServerDefault } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { z } from 'zod';
import type { Service } from './active-request.ts';
import { chat } from './chat.ts';
import { chatPrompt } from './chat-form.ts';
import { complete } from './completions.ts';
import type { Encoder } from './encode.ts';
import { ApiError } from './errors.ts';
import { tokenText } from './logprobs.ts';
import { chatOf } from './messages/input.ts';
import { anthropicError, message } from './messages/message.ts';
import { countRequest, messagesRequest } from './messages/schema.ts';
import { replyOutput } from './output.ts';
import { renderChat, renderCompletion } from './render.ts';
import { respond } from './responses/respond.ts';
import { responsesRequest } from './responses/schema.ts';
import { ResponseStore } from './responses/store.ts';
import { chatRequest, completionRequest, detokenizeRequest, tokenizeRequest } from './schemas.ts';

export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  ZodTypeProvider
>;

/** Throws a 404 for a model that is not this server's. */
function checkModel({ engine, modelName }: Service, asked: string | null | undefined): void {
  if (!asked || [modelName, engine.model.name, engine.model.source].includes(asked)) return;
  throw new ApiError(
    404,
    `The model ${asked} does not exist; this server has ${modelName}.`,
    'model',
    'model_not_found',
  );
}

export function addModelRoutes(app: App, service: Service): void {
  const { engine, modelName } = service;
  const created = Math.floor(Date.now() / 1000);
  const model = () => ({
    id: modelName,
    object: 'model',
    created,
    owned_by: 'skv',
    max_model_len: engine.maxModelLen,
    sparse_kv: engine.policies.map(({ plan }) => ({ policy: plan.name, params: plan.params })),
  });
  const list = () => ({ object: 'list', data: [model()] });
  app.get('/v1/models', async () => list());
  app.get('/v1/models/*', async ({ params }) => {
    const name = (params as { '*': string })['*'];
    if (!name) return list();
    checkModel(service, name);
    return model();
  });
}

export function addGenerationRoutes(app: App, service: Service, encoder: Encoder): void {
  app.post('/v1/completions', { schema: { body: completionRequest } }, async ({ body }, reply) => {
    checkModel(service, body.model);
    await complete(service, encoder, body, replyOutput(service, reply as FastifyReply));
    return reply;
  });
  app.post('/v1/chat/completions', { schema: { body: chatRequest } }, async ({ body }, reply) => {
    checkModel(service, body.model);
    await chat(service, encoder, body, replyOutput(service, reply as FastifyReply));
    return reply;
  });
}

/** OpenAI's newer API. */
export function addResponseRoutes(app: App, service: Service, encoder: Encoder): void {
  const store = new ResponseStore();
  const stored = (id: string) => {
    const found = store.get(id);
    if (!found) throw new ApiError(404, `There is no response ${id}.`, 'response_id', 'not_found');
    return found;
  };
  app.post('/v1/responses', { schema: { body: responsesRequest } }, async ({ body }, reply) => {
    checkModel(service, body.model);
    await respond(service, encoder, store, body, reply as FastifyReply);
    return reply;
  });
  app.get('/v1/responses/:id', async ({ params }) => stored((params as { id: string }).id).response);
  app.get('/v1/responses/:id/input_items', async ({ params }) => {
    const { input } = stored((params as { id: string }).id);
    return { object: 'list', data: input, has_more: false };
  });
  app.delete('/v1/responses/:id', async ({ params }) => {
    const { id } = params as { id: string };
    store.delete(stored(id).response.id);
    return { id, object: 'response', deleted: true };
  });
}

/** Anthropic's API. */
export function addMessageRoutes(app: App, service: Service, encoder: Encoder): void {
  const errorHandler = (error: unknown, { log }: FastifyRequest, reply: FastifyReply) => {
    const { status, headers, body } = anthropicError(error);
    if (status >= 500) log.error(error);
    reply.code(status).headers(headers).send(body);
  };
  const options = <T extends z.ZodType>(body: T) => ({ schema: { body }, errorHandler });
  app.post('/v1/messages', options(messagesRequest), async ({ body }, reply) => {
    checkModel(service, body.model);
    await message(service, encoder, body, reply as FastifyReply);
    return reply;
  });
  app.post('/v1/messages/count_tokens', options(countRequest), async ({ body }) => {
    checkModel(service, body.model);
    const { text } = chatPrompt(service, chatOf(body));
    return { input_tokens: (await encoder.encode(text, { special: true })).length };
  });
}

/** Text to token ids and back, as generation would see them. */
export function addTokenRoutes(app: App, service: Service, encoder: Encoder): void {
  const { model, maxModelLen } = service.engine;
  app.post('/v1/completions/render', { schema: { body: completionRequest } }, async ({ body }) => {
    checkModel(service, body.model);
    return renderCompletion(service, encoder, body);
  });
  app.post('/v1/chat/completions/render', { schema: { body: chatRequest } }, async ({ body }) => {
    checkModel(service, body.model);
    return renderChat(service, encoder, body);
  });
  app.post('/tokenize', { schema: { body: tokenizeRequest } }, async ({ body }) => {
    checkModel(service, body.model);
    if ((body.prompt ?? body.messages ?? undefined) === undefined)
      throw new ApiError(400, 'Send prompt or messages.', 'prompt', 'missing_required_parameter');
    const text = body.prompt ?? chatPrompt(service, { ...body, messages: body.messages! }).text;
    const addBos = body.add_special_tokens ?? typeof body.prompt === 'string';
    const tokens = [...(await encoder.encode(text, { addBos, special: true }))];
    const strings = body.return_token_strs ? { token_strs: tokens.map((token) => tokenText(model, token)) } : {};
    return { tokens, count: tokens.length, max_model_len: maxModelLen, ...strings };
  });
  app.post('/detokenize', { schema: { body: detokenizeRequest } }, async ({ body }) => {
    checkModel(service, body.model);
    const wrong = body.tokens.find((token) => token >= model.tokenizer.vocab);
    if (wrong !== undefined) throw new ApiError(400, `${wrong} is not a token of this model.`, 'tokens');
    return { prompt: model.tokenizer.decode(body.tokens) };
  });
}
