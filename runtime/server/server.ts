/** The HTTP server: routes, limits, errors, draining. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import swagger from '@fastify/swagger';
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import { type ZodTypeProvider, jsonSchemaTransform, serializerCompiler } from 'fastify-type-provider-zod';
import type { EngineApi } from '../engine/types.ts';
import type { Service } from './active-request.ts';
import { chat, messagesOf } from './chat.ts';
import { complete } from './completions.ts';
import { Encoder } from './encode.ts';
import { ApiError, toApiError } from './errors.ts';
import { tokenText } from './logprobs.ts';
import { metricsOf } from './metrics.ts';
import { chatRequest, completionRequest, detokenizeRequest, tokenizeRequest, validator } from './schemas.ts';

export interface ServerOptions {
  /** clients must send it as a bearer token */
  apiKey?: string;
  /** bytes of a request body */
  bodyLimit?: number;
  /** requests that may run or wait */
  maxQueue?: number;
  /** milliseconds a client may take to send its request */
  requestTimeout?: number;
  /** seconds a request may take until its last byte */
  timeLimit?: number;
  modelName?: string;
  /** pino's level; default: silent */
  logLevel?: string;
}

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

/** What needs no API key: monitors seldom have one. */
const open = new Set(['/health', '/metrics']);

/** Bytes that are not HTTP. */
function refuseSocket(error: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable) return void socket.destroy();
  const [status, text] = (
    {
      HPE_HEADER_OVERFLOW: [431, 'Request Header Fields Too Large'],
      ERR_HTTP_REQUEST_TIMEOUT: [408, 'Request Timeout'],
    } as Record<string, [number, string]>
  )[error.code ?? ''] ?? [400, 'Bad Request'];
  const body = JSON.stringify(new ApiError(status, `${text}: this is not a request that HTTP allows.`).body);
  socket.end(
    `HTTP/1.1 ${status} ${text}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}

export interface Server {
  readonly app: FastifyInstance;
  /** New requests get a 503 from now on. */
  drain(): void;
  /** requests whose answers are not written to the end */
  active(): number;
  close(): Promise<void>;
}

export async function createServer(engine: EngineApi, options: ServerOptions = {}): Promise<Server> {
  const modelName = options.modelName ?? engine.model.name;
  const encoder = new Encoder(engine.model);
  const service: Service = {
    engine,
    modelName,
    maxQueue: options.maxQueue ?? 1024,
    timeLimit: options.timeLimit ?? 3600,
    active: new Set(),
    draining: false,
  };
  const metrics = metricsOf(engine, modelName);
  const app = Fastify({
    bodyLimit: options.bodyLimit ?? 8 << 20,
    requestTimeout: options.requestTimeout ?? 60_000,
    logger: options.logLevel ? { level: options.logLevel } : false,
    forceCloseConnections: true,
    frameworkErrors: (error, _, reply) =>
      void (reply as FastifyReply).status(error.statusCode ?? 400).send(toApiError(error).body),
    clientErrorHandler: refuseSocket,
  }).withTypeProvider<ZodTypeProvider>();
  app.removeContentTypeParser('text/plain'); // JSON alone: a web page cannot post it to a local server unasked
  app.setValidatorCompiler(validator);
  app.setSerializerCompiler(serializerCompiler);
  await app.register(swagger, { openapi: { info: { title: 'skv', version } }, transform: jsonSchemaTransform });

  app.setErrorHandler((error, request, reply) => {
    const api = toApiError(error);
    if (api.status >= 500) request.log.error(error);
    reply
      .code(api.status as 400)
      .headers(api.headers)
      .send(api.body as never);
  });
  app.setNotFoundHandler((request, reply) => {
    const [url] = request.url.split('?');
    const allowed = (['GET', 'POST'] as const).filter((method) => app.hasRoute({ url, method }));
    const api = allowed.length
      ? new ApiError(405, `${request.method} is not possible here; ${allowed} is.`, null, null, {
          allow: allowed.join(', '),
        })
      : new ApiError(404, `There is no ${request.method} ${url}.`, null, 'not_found');
    reply
      .code(api.status as 400)
      .headers(api.headers)
      .send(api.body as never);
  });
  if (options.apiKey !== undefined) {
    const digest = (text: string) => createHash('sha256').update(text).digest();
    const expected = digest(`Bearer ${options.apiKey}`);
    app.addHook('onRequest', async (request) => {
      if (open.has(request.url.split('?')[0])) return;
      if (!timingSafeEqual(digest(request.headers.authorization ?? ''), expected))
        throw new ApiError(401, 'Send the API key as Authorization: Bearer …', null, 'invalid_api_key');
    });
  }
  const knownModel = (asked: string | null | undefined) => {
    if (asked && asked !== modelName && asked !== engine.model.name && asked !== engine.model.source)
      throw new ApiError(
        404,
        `The model ${asked} does not exist; this server has ${modelName}.`,
        'model',
        'model_not_found',
      );
  };

  app.get('/health', async (_, reply) => {
    const { broken } = engine;
    const status = broken ? 'broken' : service.draining ? 'draining' : 'ok';
    return reply.status(status === 'ok' ? 200 : 503).send({ status, reason: broken?.message });
  });
  app.get('/version', async () => ({ version }));
  app.get('/metrics', async (_, reply) => reply.type(metrics.contentType).send(await metrics.metrics()));
  app.get('/openapi.json', async () => app.swagger());
  const created = Math.floor(Date.now() / 1000);
  const model = () => ({
    id: modelName,
    object: 'model',
    created,
    owned_by: 'skv',
    max_model_len: engine.maxModelLen,
    sparse_kv: engine.policies.map(({ plan }) => ({ policy: plan.name, params: plan.params })),
  });
  app.get('/v1/models', async () => ({ object: 'list', data: [model()] }));
  app.get('/v1/models/*', async ({ params }) => {
    knownModel((params as { '*': string })['*']);
    return model();
  });
  app.post('/v1/completions', { schema: { body: completionRequest } }, async ({ body }, reply) => {
    knownModel(body.model);
    await complete(service, encoder, body, reply);
    return reply;
  });
  app.post('/v1/chat/completions', { schema: { body: chatRequest } }, async ({ body }, reply) => {
    knownModel(body.model);
    await chat(service, encoder, body, reply);
    return reply;
  });
  app.post('/tokenize', { schema: { body: tokenizeRequest } }, async ({ body }) => {
    knownModel(body.model);
    if ((body.prompt ?? body.messages ?? undefined) === undefined)
      throw new ApiError(400, 'Send prompt or messages.', 'prompt', 'missing_required_parameter');
    const text =
      body.prompt ??
      engine.model.chat(messagesOf(body.messages!), { addGenerationPrompt: body.add_generation_prompt ?? true });
    const addBos = typeof body.prompt === 'string' && (body.add_special_tokens ?? true);
    const tokens = [...(await encoder.encode(text, { addBos, special: true }))];
    const strings = body.return_token_strs ? { token_strs: tokens.map((token) => tokenText(engine.model, token)) } : {};
    return { tokens, count: tokens.length, max_model_len: engine.maxModelLen, ...strings };
  });
  app.post('/detokenize', { schema: { body: detokenizeRequest } }, async ({ body }) => {
    knownModel(body.model);
    const wrong = body.tokens.find((token) => token >= engine.model.tokenizer.vocab);
    if (wrong !== undefined) throw new ApiError(400, `${wrong} is not a token of this model.`, 'tokens');
    return { prompt: engine.model.tokenizer.decode(body.tokens) };
  });

  return {
    app,
    drain: () => {
      service.draining = true;
    },
    active: () => service.active.size,
    close: async () => {
      await app.close();
      await encoder.close();
    },
  };
}
