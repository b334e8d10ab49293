/** Errors as OpenAI's clients expect them: { error: { message, type, param, code } }. */
import { UserError } from '../../toolchain/errors.ts';
import { EngineStopped, RequestError } from '../engine/types.ts';

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

/** A refusal of the engine, with the field of this request that it means: prompts of a chat are its messages. */
export function requestError(error: unknown, body: object): unknown {
  if (!(error instanceof RequestError)) return error;
  const { status, code, param = null } = error.api;
  const named = param === 'prompt' && 'messages' in body ? 'messages' : param;
  const ofRequest =
    named === null ||
    ['prompt', 'messages', 'max_tokens', 'allowed_token_ids', 'bad_words', 'logit_bias'].includes(named);
  return new ApiError(status, error.message, ofRequest ? named : `sparse_kv.${named}`, code);
}

interface HttpError {
  statusCode?: number;
  message: string;
}

/** messages, 0, role → messages[0].role */
const pathOf = (path: readonly PropertyKey[]): string =>
  path.map((part, i) => (/^\d+$/.test(String(part)) ? `[${String(part)}]` : `${i ? '.' : ''}${String(part)}`)).join('');

/** What a body has at a path. */
const at = (body: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce((value, key) => (value as Record<PropertyKey, unknown> | undefined | null)?.[key], body);

/** What zod says of the first thing that is wrong; `params.missing`: a null that stands for nothing. */
interface Issue {
  path: readonly PropertyKey[];
  message: string;
  params?: { missing?: boolean };
}

/** A body that is not what its schema says. */
export function invalid({ path, message: why, params }: Issue, body: unknown): ApiError {
  const param = pathOf(path) || null;
  if (param && (params?.missing || at(body, path) === undefined))
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
  if (error instanceof UserError && error.api) {
    const { status, param, code } = error.api;
    return new ApiError(status, error.message, param, code);
  }
  const { statusCode = 500, message } = error as HttpError;
  if (statusCode >= 400 && statusCode < 500) return new ApiError(statusCode, messages[statusCode] ?? message);
  if (statusCode === 503) return shuttingDown();
  if (error instanceof EngineStopped) return new ApiError(500, error.message);
  return new ApiError(500, 'The server failed on this request; its log says why.');
}
