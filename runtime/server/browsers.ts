/**
 * Pages of other origins. Without --allowed-origins a browser lets none of them read an answer. JSON as text/plain needs no
 * preflight, so it is read only where no page of a foreign origin can have sent it.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { ApiError } from './errors.ts';
import type { App } from './routes.ts';

/** Seconds that a browser may remember a preflight. */
const REMEMBERED = 86_400;

/** Whether a page of the server's own may have sent it, or no page. */
const isOwn = ({ headers }: FastifyRequest): boolean =>
  headers.origin === undefined || /^https?:\/\/(.*)$/.exec(headers.origin)?.[1] === headers.host;

function preflight(request: FastifyRequest, reply: FastifyReply, allowed: boolean): FastifyReply {
  if (!allowed)
    throw new ApiError(403, `Pages of ${request.headers.origin} are not allowed here; see --allowed-origins.`);
  const { headers } = request;
  return reply
    .headers({
      'access-control-allow-methods': 'GET, POST, OPTIONS',
      'access-control-allow-headers': headers['access-control-request-headers'] ?? 'authorization, content-type',
      'access-control-max-age': String(REMEMBERED),
      ...(headers['access-control-request-private-network'] ? { 'access-control-allow-private-network': 'true' } : {}),
    })
    .code(204)
    .send();
}

/** Before the key is asked for: a preflight carries none. `origins`: `*`, or scheme://host:port. */
export function admitOrigins(app: App, origins: readonly string[]): void {
  const any = origins.includes('*');
  app.addHook('onRequest', async (request, reply) => {
    const { origin } = request.headers;
    if (origin === undefined) return;
    const allowed = any || origins.includes(origin);
    if (allowed)
      reply.headers({
        'access-control-allow-origin': any ? '*' : origin,
        'access-control-expose-headers': 'retry-after',
        ...(any ? {} : { vary: 'origin' }),
      });
    if (request.method === 'OPTIONS' && request.headers['access-control-request-method'])
      return preflight(request, reply, allowed);
  });
  app.removeContentTypeParser('text/plain');
  const parse = app.getDefaultJsonParser('error', 'error');
  app.addContentTypeParser('text/plain', { parseAs: 'string' }, (request, body, done) => {
    if (isOwn(request) || any || origins.includes(request.headers.origin!)) return parse(request, String(body), done);
    done(new ApiError(415, 'Send JSON, with content-type: application/json.'));
  });
}
