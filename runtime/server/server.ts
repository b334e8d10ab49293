/** The HTTP server: routes, limits, errors, draining. */
import { timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import swagger from '@fastify/swagger';
import Fastify, { type FastifyInstance } from 'fastify';
import { type ZodTypeProvider, jsonSchemaTransform, serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod';
import type { EngineApi } from '../engine/types.ts';
import { type Service, chat, complete } from './completions.ts';
import { Encoder } from './encode.ts';
import { ApiError, toApiError } from './errors.ts';
import { metricsOf } from './metrics.ts';
import { chatRequest, completionRequest, detokenizeRequest, tokenizeRequest } from './schemas.ts';

export interface ServerOptions {
  /** clients must send it as a bearer token */
  apiKey?: string;
  /** bytes of a request body */
  bodyLimit?: number;
  /** requests that may run or wait */
  maxQueue?: number;
  /** milliseconds a client may take to send its request */
  requestTimeout?: number;
  modelName?: string;
  /** pino's level; default: silent */
  logLevel?: string;
}

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string };

export interface Server {
  readonly app: FastifyInstance;
  /** New requests get a 503 from now on. */
  drain(): void;
  close(): Promise<void>;
}

export async function createServer(engine: EngineApi, options: ServerOptions = {}): Promise<Server> {
  const modelName = options.modelName ?? engine.model.name;
  const encoder = new Encoder(engine.model);
  let draining = false;
  const service: Service = { engine, encoder, modelName, maxQueue: options.maxQueue ?? 1024, draining: () => draining };
  const metrics = metricsOf(engine, modelName);
  const app = Fastify({
    bodyLimit: options.bodyLimit ?? 8 << 20,
    requestTimeout: options.requestTimeout ?? 60_000,
    logger: options.logLevel ? { level: options.logLevel } : false,
    forceCloseConnections: true,
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  await app.register(swagger, { openapi: { info: { title: 'skv', version } }, transform: jsonSchemaTransform });

  app.setErrorHandler((error, request, reply) => {
    const api = toApiError(error);
    if (api.status >= 500) request.log.error(error);
    reply.status(api.status).headers(api.headers).send(api.body);
  });
  app.setNotFoundHandler((request, reply) => {
    const known = app.hasRoute({ url: request.url.split('?')[0], method: 'POST' }) || app.hasRoute({ url: request.url.split('?')[0], method: 'GET' });
    const api = known ? new ApiError(405, `${request.method} is not possible here.`) : new ApiError(404, `There is no ${request.method} ${request.url.split('?')[0]}.`);
    reply.status(api.status).send(api.body);
  });
  if (options.apiKey !== undefined) {
    const expected = Buffer.from(`Bearer ${options.apiKey}`);
    app.addHook('onRequest', async (request) => {
      if (request.url === '/health' || request.url === '/metrics') return;
      const given = Buffer.from(request.headers.authorization ?? '');
      if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw new ApiError(401, 'Send the API key as Authorization: Bearer …', null, 'invalid_api_key');
    });
  }
  const knownModel = (asked: string | undefined) => {
    if (asked !== undefined && asked !== '' && asked !== modelName && asked !== engine.model.name && asked !== engine.model.source)
      throw new ApiError(404, `The model ${asked} does not exist; this server has ${modelName}.`, 'model', 'model_not_found');
  };

  app.get('/health', async (_, reply) => reply.status(draining ? 503 : 200).send({ status: draining ? 'draining' : 'ok' }));
  app.get('/version', async () => ({ version }));
  app.get('/metrics', async (_, reply) => reply.type(metrics.contentType).send(await metrics.metrics()));
  app.get('/openapi.json', async () => app.swagger());
  app.get('/v1/models', async () => ({
    object: 'list',
    data: [{ id: modelName, object: 'model', created: Math.floor(Date.now() / 1000), owned_by: 'skv', max_model_len: engine.maxModelLen, sparse_kv: engine.policies.map(({ plan }) => ({ policy: plan.name, params: plan.params })) }],
  }));
  app.post('/v1/completions', { schema: { body: completionRequest } }, async (request, reply) => {
    knownModel(request.body.model);
    await complete(service, request.body, request, reply);
    return reply;
  });
  app.post('/v1/chat/completions', { schema: { body: chatRequest } }, async (request, reply) => {
    knownModel(request.body.model);
    await chat(service, request.body, request, reply);
    return reply;
  });
  app.post('/tokenize', { schema: { body: tokenizeRequest } }, async ({ body }) => {
    const tokens = [...(await encoder.encode(body.prompt, { addBos: body.add_special_tokens ?? true }))];
    return { tokens, count: tokens.length, max_model_len: engine.maxModelLen };
  });
  app.post('/detokenize', { schema: { body: detokenizeRequest } }, async ({ body }) => ({ prompt: engine.model.tokenizer.decode(body.tokens) }));

  return {
    app,
    drain: () => {
      draining = true;
    },
    close: async () => {
      await app.close();
      await encoder.close();
    },
  };
}
