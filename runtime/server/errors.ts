/** Every way a request can fail, as OpenAI's error object: {error: {message, type, param, code}} with a status. */
import type { FastifyError, FastifyReply } from 'fastify';
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod';
import { RequestError } from '../engine/types.ts';
import { ModelError } from '../model/types.ts';

export interface ErrorBody {
  error: { message: string; type: string; param: string | null; code: string | null };
}

interface Details {
  param?: string | null;
  code?: string | null;
  /** seconds, for Retry-After */
  retryAfter?: number;
}

/** The type word that OpenAI's clients expect with a status. */
function typeOf(status: number): string {
  if (status === 429) return 'rate_limit_error';
  return status >= 500 ? 'server_error' : 'invalid_request_error';
}

export class ApiError extends Error {
  override name = 'ApiError';
  readonly status: number;
  readonly details: Details;

  constructor(status: number, message: string, details: Details = {}) {
    super(message);
    this.status = status;
    this.details = details;
  }

  get body(): ErrorBody {
    const { param = null, code = null } = this.details;
    return { error: { message: this.message, type: typeOf(this.status), param, code } };
  }
}

/** A 400 that names the field at fault. */
export const invalid = (message: string, param?: string, code?: string) => new ApiError(400, message, { param, code });

/** zod's path as OpenAI writes it: ['messages', 0, 'role'] → messages[0].role */
function pathOf(path: readonly PropertyKey[]): string {
  return path.map((part, i) => (typeof part === 'number' ? `[${part}]` : `${i ? '.' : ''}${String(part)}`)).join('');
}

interface Issue {
  code: string;
  path: PropertyKey[];
  message: string;
  input?: unknown;
}

function fromIssue(issue: Issue): ApiError {
  if (issue.path.length === 0) return invalid(`The request body: ${issue.message}.`);
  const param = pathOf(issue.path);
  if (issue.code === 'invalid_type' && issue.message.endsWith('received undefined'))
    return invalid(`Missing required parameter: '${param}'.`, param, 'missing_required_parameter');
  return invalid(`'${param}': ${issue.message}.`, param, 'invalid_value');
}

/** Fastify's own refusals, by code; the rest keep their status. */
const fastifyMessages: Record<string, string> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'Send the body as JSON, with the header Content-Type: application/json.',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'The body is empty: a JSON object is expected.',
  FST_ERR_CTP_INVALID_JSON_BODY: 'The body is not valid JSON.',
  FST_ERR_CTP_BODY_TOO_LARGE: 'The body is larger than this server takes.',
};

/** Any thrown value → the error its client sees. Nothing internal but the message of an engine failure leaves. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof RequestError) return invalid(error.message, error.param, 'invalid_value');
  if (error instanceof ModelError) return invalid(error.message);
  if (hasZodFastifySchemaValidationErrors(error)) return fromIssue(error.validation[0].params.issue as unknown as Issue);
  const { statusCode, code, message } = error as FastifyError;
  if (statusCode && statusCode >= 400 && statusCode < 500)
    return new ApiError(statusCode, fastifyMessages[code] ?? message, { code: code?.startsWith('FST_') ? null : code });
  if (statusCode === 503) return closing();
  return new ApiError(500, 'The server failed to handle this request; its log says why.', { code: 'internal_error' });
}

export const closing = () =>
  new ApiError(503, 'The server is shutting down.', { code: 'service_unavailable', retryAfter: 5 });

export function sendError(reply: FastifyReply, error: ApiError): FastifyReply {
  if (error.details.retryAfter !== undefined) reply.header('retry-after', String(error.details.retryAfter));
  return reply.code(error.status).type('application/json').serializer(JSON.stringify).send(error.body);
}
