/** Errors as OpenAI's clients expect them: { error: { message, type, param, code } }. */
import { RequestError } from '../engine/types.ts';
import { ModelError } from '../model/types.ts';

export class ApiError extends Error {
  override name = 'ApiError';
  constructor(readonly status: number, message: string, readonly param: string | null = null, readonly code: string | null = null, readonly headers: Record<string, string> = {}) {
    super(message);
  }

  get body() {
    const type = this.status === 401 ? 'authentication_error' : this.status === 429 ? 'rate_limit_error' : this.status >= 500 ? 'server_error' : 'invalid_request_error';
    return { error: { message: this.message, type, param: this.param, code: this.code } };
  }
}

interface HttpError {
  statusCode?: number;
  code?: string;
  validation?: { instancePath?: string; message?: string; params?: unknown }[];
  message: string;
}

/** Any failure as an ApiError; what nobody foresaw is a 500 without details of the machine. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof RequestError) return new ApiError(400, error.message, error.param ?? null, error.param === 'prompt' && /context/.test(error.message) ? 'context_length_exceeded' : null);
  if (error instanceof ModelError) return new ApiError(400, error.message);
  const http = error as HttpError;
  if (http.validation?.length) {
    const [first] = http.validation;
    const param = (first.instancePath ?? '').split('/').filter(Boolean).join('.') || null;
    return new ApiError(400, param ? `${param}: ${first.message}` : (first.message ?? 'The request is not valid.'), param);
  }
  if (http.statusCode === 413) return new ApiError(413, 'The request body is larger than this server accepts.');
  if (http.statusCode === 415) return new ApiError(415, 'Send JSON, with content-type: application/json.');
  if (http.statusCode !== undefined && http.statusCode >= 400 && http.statusCode < 500) return new ApiError(http.statusCode, http.message);
  return new ApiError(500, error instanceof Error && /^The engine has stopped/.test(error.message) ? error.message : 'The server failed on this request; its log says why.');
}
