/** What monitors, routers and clients ask of the server itself. */
import type { Service } from './active-request.ts';
import { metricsOf } from './metrics.ts';
import type { App } from './routes.ts';

/** Health, load, version, metrics, what is served, and the description of the API itself. */
export function addStatusRoutes(app: App, service: Service, version: string): void {
  const { engine } = service;
  const metrics = metricsOf(service);
  const health = () => {
    const { broken } = engine;
    const status = broken ? 'broken' : service.draining ? 'draining' : 'ok';
    return { code: status === 'ok' ? 200 : 503, body: { status, reason: broken?.message } };
  };
  app.route({
    method: ['GET', 'POST'],
    url: '/ping', // SageMaker's
    handler: (_, reply) => void reply.code(health().code).send(health().body),
  });
  app.get('/health', (_, reply) => void reply.code(health().code).send(health().body));
  app.get('/load', async () => ({ server_load: service.active.size }));
  app.get('/version', async () => ({ version }));
  app.get('/metrics', async (_, reply) => reply.type(metrics.contentType).send(await metrics.metrics()));
  app.get('/openapi.json', async () => app.swagger());
  app.get('/server_info', async () => serverInfo(service, version));
  app.get('/tokenizer_info', async () => tokenizerInfo(service));
}

function serverInfo({ engine, modelName, ...service }: Service, version: string) {
  const { model, policies, maxModelLen } = engine;
  const { pagesTotal, pageBytes } = engine.stats();
  return {
    version,
    model: { name: modelName, source: model.source, architecture: model.architecture, max_model_len: maxModelLen },
    sampling_defaults: model.sampling,
    kv_cache: { pages: pagesTotal, page_bytes: pageBytes },
    sparse_kv: policies.map(({ plan }) => ({ policy: plan.name, params: plan.params })),
    limits: { max_queue: service.maxQueue, request_timeout: service.timeLimit },
  };
}

/** What a client needs to build prompts as the model wants them; names as in tokenizer_config.json. */
function tokenizerInfo({ engine: { model, maxModelLen } }: Service) {
  const { tokenizer } = model;
  const text = (token: number | undefined) => (token === undefined ? null : tokenizer.decode([token]));
  return {
    tokenizer_class: 'skv',
    vocab_size: tokenizer.vocab,
    bos_token: text(tokenizer.bos),
    eos_token: text(tokenizer.eos[0]),
    pad_token: text(tokenizer.eos[0]),
    chat_template: model.chatTemplate ?? null,
    model_max_length: maxModelLen,
  };
}
