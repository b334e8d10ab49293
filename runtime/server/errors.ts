/** Errors as OpenAI's clients expect them: { error: { message, type, param, code } }. */
import { RequestError } from '../engine/types.ts';
import { ModelError } from '../model/types.ts';
import type { CommonRequest } from './schemas.ts';

export class ApiError extends Error {
  override name = 'ApiError';

  constructor(
    readonly status: number,
    message: string,
    readonly param: string | null = null,
    readonly code: string | null = null,
    readonly headers: Record<string, string> = {},
  ) {
    super(message);
  }

  get body() {
    return { error: { message: this.message, type: typeOf(this.status), param: this.param, code: this.code } };
  }
}

function typeOf(status: number): string {
  if (status === 401) return 'authentication_error';
  if (status === 429) return 'rate_limit_error';
  return status >= 500 ? 'server_error' : 'invalid_request_error';
}

export const shuttingDown = () =>
  new ApiError(503, 'The server is shutting down.', null, 'service_unavailable', {
    'retry-after': '5',
    connection: 'close',
  });

/** A refusal of the engine, with the field of this request that it means. */
export function requestError(error: unknown, body: CommonRequest & { messages?: unknown }): unknown {
  if (!(error instanceof RequestError)) return error;
  const { param = null } = error;
  const code = /context/.test(error.message) ? 'context_length_exceeded' : 'invalid_value';
  if (param === 'prompt') return new ApiError(400, error.message, body.messages ? 'messages' : 'prompt', code);
  const ours = param === 'policy' || (param !== null && param !== 'max_tokens');
  return new ApiError(400, error.message, ours ? `sparse_kv.${param}` : param, code);
}

interface HttpError {
  statusCode?: number;
  message: string;
}

/** messages, 0, role → messages[0].role */
const pathOf = (path: readonly PropertyKey[]): string =>
  path.map((part, i) => (/^\d+$/.test(String(part)) ? `[${String(part)}]` : `${i ? '.' : ''}${String(part)}`)).join('');

/** A body that is not what its schema says. */
export function invalid({ path, message: why }: { path: readonly PropertyKey[]; message: string }): ApiError {
  const param = pathOf(path) || null;
  if (param && /received undefined$/.test(why))
    return new ApiError(400, `Missing required parameter: ${param}.`, param, 'missing_required_parameter');
  return new ApiError(400, param ? `${param}: ${why}.` : `The request body: ${why}.`, param, 'invalid_value');
}

const messages: Record<number, string> = {
  413: 'The request body is larger than this server accepts.',
  415: 'Send JSON, with content-type: application/json.',
};

/** Any failure as an ApiError; what nobody foresaw is a 500 without details of the machine. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof RequestError) return new ApiError(400, error.message, error.param ?? null);
  if (error instanceof ModelError) return new ApiError(400, error.message);
  const { statusCode = 500, message } = error as HttpError;
  if (statusCode >= 400 && statusCode < 500) return new ApiError(statusCode, messages[statusCode] ?? message);
  if (statusCode === 503) return shuttingDown();
  const stopped = error instanceof Error && /^The engine has stopped/.test(error.message);
  return new ApiError(500, stopped ? (error as Error).message : 'The server failed on this request; its log says why.');
}
