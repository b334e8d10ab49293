/** The HTTP server: routes, limits, errors, draining. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Socket } from 'node:net';
import swagger from '@fastify/swagger';
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import { type ZodTypeProvider, jsonSchemaTransform, serializerCompiler } from 'fastify-type-provider-zod';
import type { EngineApi } from '../engine/types.ts';
import type { Service } from './active-request.ts';
import { matchersOf } from './vocabulary.ts';
import { Encoder } from './encode.ts';
import { ApiError, toApiError } from './errors.ts';
import { Pace } from './pace.ts';
import { addPage } from './page.ts';
import { admitOrigins } from './browsers.ts';
import {
  type App,
  addGenerationRoutes,
  addMessageRoutes,
  addModelRoutes,
  addResponseRoutes,
  addTokenRoutes,
} from './routes.ts';
import { validator } from './schemas.ts';
import type { StreamPace } from './sse.ts';
import { addStatusRoutes } from './status.ts';
import { version } from '../../toolchain/folders.mjs';

export interface ServerOptions {
  /** clients must send it as a bearer token */
  apiKey?: string;
  /** whose pages may call the API from a browser: scheme://host:port, or * */
  allowedOrigins?: readonly string[];
  /** bytes of a request body */
  bodyLimit?: number;
  /** requests that may run or wait */
  maxQueue?: number;
  /** milliseconds a client may take to send its request */
  requestTimeout?: number;
  /** seconds a request may take until its last byte */
  timeLimit?: number;
  /** seconds after which a client that takes nothing of its stream is let go */
  streamStallTimeout?: number;
  /** most tokens of an answer whose request names no number; default: 16 for completions, the context's rest for chats */
  defaultMaxTokens?: number;
  /** what of streams' times is not as usual */
  streams?: Partial<StreamPace>;
  modelName?: string;
  /** how tool calls and thoughts are read: a format's name, auto (as the chat template says) or none */
  toolFormat?: string;
  reasoningFormat?: string;
  /** pino's level; default: silent */
  logLevel?: string;
}

/** What needs no API key: monitors seldom have one, and the page asks for it. */
const keyless = new Set(['/', '/health', '/ping', '/metrics']);

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
  const encoder = new Encoder(engine.model);
  const service: Service = {
    engine,
    modelName: options.modelName ?? engine.model.name,
    maxQueue: options.maxQueue ?? 1024,
    timeLimit: options.timeLimit ?? 3600,
    defaultMaxTokens: options.defaultMaxTokens,
    streams: { patience: 3, keepAlive: 15, stall: options.streamStallTimeout ?? 60, ...options.streams },
    pace: new Pace(),
    toolFormat: options.toolFormat,
    reasoningFormat: options.reasoningFormat,
    matchers: matchersOf(engine.model),
    active: new Set(),
    draining: false,
  };
  const app = Fastify({
    bodyLimit: options.bodyLimit ?? 8 << 20,
    requestTimeout: options.requestTimeout ?? 60_000,
    logger: options.logLevel ? { level: options.logLevel } : false,
    forceCloseConnections: true,
    routerOptions: { ignoreTrailingSlash: true, ignoreDuplicateSlashes: true },
    frameworkErrors: (error, _, reply) =>
      void (reply as FastifyReply).status(error.statusCode ?? 400).send(toApiError(error).body),
    clientErrorHandler: refuseSocket,
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(validator);
  app.setSerializerCompiler(serializerCompiler);
  await app.register(swagger, { openapi: { info: { title: 'skv', version } }, transform: jsonSchemaTransform });
  answerErrors(app);
  admitOrigins(app, options.allowedOrigins ?? []);
  if (options.apiKey !== undefined) askForKey(app, options.apiKey);
  addStatusRoutes(app, service, version);
  addModelRoutes(app, service);
  addGenerationRoutes(app, service, encoder);
  addResponseRoutes(app, service, encoder);
  addMessageRoutes(app, service, encoder);
  addTokenRoutes(app, service, encoder);
  addPage(app, service);

  return {
    app,
    drain: () => {
      service.draining = true;
    },
    active: () => service.active.size,
    close: async () => {
      await app.close();
      service.matchers.close();
      await encoder.close();
    },
  };
}

/** A request's path as routes are written. */
const pathOf = ({ url }: { url: string }): string =>
  url
    .split('?')[0]
    .replaceAll(/\/+/g, '/')
    .replace(/(.)\/$/, '$1');

/** Every failure in OpenAI's form; a path with another method says which one it has. */
function answerErrors(app: App): void {
  const send = (reply: FastifyReply, { status, headers, body }: ApiError) =>
    void reply.code(status).headers(headers).send(body);
  app.setErrorHandler((error, request, reply) => {
    const api = toApiError(error);
    if (api.status >= 500) request.log.error(error);
    send(reply as FastifyReply, api);
  });
  app.setNotFoundHandler((request, reply) => {
    const url = pathOf(request);
    const allowed = (['GET', 'POST'] as const).filter((method) => app.hasRoute({ url, method })).join(', ');
    const api = allowed
      ? new ApiError(405, `${request.method} is not possible here; ${allowed} is.`, null, null, { allow: allowed })
      : new ApiError(404, `There is no ${request.method} ${url}.`, null, 'not_found');
    send(reply as FastifyReply, api);
  });
}

/** Digests have one length, so that comparing them tells nothing of the key. */
function askForKey(app: App, apiKey: string): void {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  const expected = digest(apiKey);
  app.addHook('onRequest', async (request) => {
    if (keyless.has(request.routeOptions.url ?? '')) return;
    const { authorization = '', 'x-api-key': anthropic = '' } = request.headers;
    const given = /^bearer +(.*)$/i.exec(authorization)?.[1] ?? String(anthropic);
    if (!timingSafeEqual(digest(given), expected))
      throw new ApiError(401, 'Send the API key as Authorization: Bearer …', null, 'invalid_api_key');
  });
}
