/** The page at `/`, and what it shows: the pool, the requests, and what one request's cache holds while it runs. */
import { readFileSync } from 'node:fs';
import type { Service } from './active-request.ts';
import { ApiError } from './errors.ts';
import type { App } from './routes.ts';

/** It loads nothing from anywhere, and talks to this server alone. */
const POLICY =
  "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

export function addPage(app: App, { engine }: Service): void {
  const page = readFileSync(new URL('./page.html', import.meta.url), 'utf8');
  app.get('/', (_, reply) => void reply.type('text/html').header('content-security-policy', POLICY).send(page));
  app.get('/skv/state', async () => {
    const { pagesTotal, pagesUsed, pagesCached, policies } = engine.stats();
    return {
      pool: { pages: pagesTotal, used: pagesUsed, cached: pagesCached },
      requests: engine.requests(),
      policies: policies.map(({ name, requests, compactions, slotsEvicted }, i) => ({
        policy: name,
        params: engine.policies[i].plan.params,
        requests,
        compactions,
        slots_evicted: slotsEvicted,
      })),
    };
  });
  app.get('/skv/cache/:id', async ({ params }) => {
    const { id } = params as { id: string };
    const view = await engine.look(id);
    if (!view) throw new ApiError(404, `No request ${id} runs.`, 'id', 'not_found');
    return view;
  });
}
