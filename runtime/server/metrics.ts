/** Prometheus metrics under vLLM's names, and skv's own per policy. */
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import type { EngineApi, EngineStats } from '../engine/types.ts';
import { PAGE } from '../contract/records.ts';
import type { Service } from './active-request.ts';

/** Upper bounds of latencies, in seconds. */
const seconds = [0.001, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.5, 5, 10, 20, 40, 80];

export function metricsOf({ engine, modelName }: Pick<Service, 'engine' | 'modelName'>): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  registry.setDefaultLabels({ model_name: modelName });
  followEngine(registry, engine);
  followPolicies(registry, engine);
  measureRequests(registry, engine);
  return registry;
}

/** A gauge and a counter that read, when they are asked, a number that the engine keeps itself. */
function following(registry: Registry) {
  const registers = [registry];
  return {
    gauge: (name: string, help: string, read: () => number) =>
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(read());
        },
      }),
    counter: (name: string, help: string, read: () => number) =>
      new Counter({
        name,
        help,
        registers,
        collect() {
          this.reset();
          this.inc(read());
        },
      }),
  };
}

/** What the engine counts. */
function followEngine(registry: Registry, engine: EngineApi): void {
  const { gauge, counter } = following(registry);
  const stats = () => engine.stats();
  gauge('vllm:num_requests_running', 'Requests in the running batch', () => stats().running);
  gauge('vllm:num_requests_waiting', 'Requests waiting to be scheduled', () => stats().waiting);
  gauge(
    'vllm:kv_cache_usage_perc',
    'Used part of the KV cache, 1 is full',
    () => (stats().pagesUsed - stats().pagesCached) / stats().pagesTotal,
  );
  counter('vllm:num_preemptions_total', 'Preemptions', () => stats().preemptions);
  counter('vllm:prefix_cache_queries_total', 'Prefix blocks looked up', () => stats().prefixQueries);
  counter('vllm:prefix_cache_hits_total', 'Prefix blocks found', () => stats().prefixHits);
  counter('vllm:prompt_tokens_total', 'Prompt tokens computed', () => stats().promptTokens);
  counter('vllm:generation_tokens_total', 'Tokens generated', () => stats().generatedTokens);
  gauge('skv:kv_cache_bytes', 'Bytes of KV pages that requests hold', () => {
    const { pagesUsed, pagesCached, pageBytes } = stats();
    return (pagesUsed - pagesCached) * pageBytes;
  });
  gauge('skv:kv_cache_bytes_total', 'Bytes of the KV pool', () => stats().pagesTotal * stats().pageBytes);
  const { layers, kvHeads } = engine.model.spec;
  const { pagesTotal } = stats();
  new Gauge({
    name: 'vllm:cache_config_info',
    help: 'The KV cache: slots of a block, and blocks as vLLM counts them, of all layers and heads',
    labelNames: ['block_size', 'num_gpu_blocks', 'num_cpu_blocks', 'enable_prefix_caching'],
    registers: [registry],
  }).set(
    {
      block_size: PAGE,
      num_gpu_blocks: Math.floor(pagesTotal / (layers * kvHeads)),
      num_cpu_blocks: 0,
      enable_prefix_caching: String(engine.prefixCaching),
    },
    1,
  );
}

/** What it counts for each policy. */
function followPolicies(registry: Registry, engine: EngineApi): void {
  const perPolicy = (
    kind: typeof Counter<'policy'> | typeof Gauge<'policy'>,
    name: string,
    help: string,
    read: (policy: EngineStats['policies'][number]) => number,
  ) =>
    new kind({
      name,
      help,
      labelNames: ['policy'],
      registers: [registry],
      collect() {
        this.reset();
        for (const policy of engine.stats().policies) this.inc({ policy: policy.name }, read(policy));
      },
    });
  perPolicy(Counter, 'skv:requests_total', 'Requests', ({ requests }) => requests);
  perPolicy(Counter, 'skv:compactions_total', 'Compactions', ({ compactions }) => compactions);
  perPolicy(Counter, 'skv:slots_evicted_total', 'Slots evicted', ({ slotsEvicted }) => slotsEvicted);
  perPolicy(Gauge, 'skv:kept_ratio', 'Slots kept of those live at compactions', ({ slotsSeen, slotsEvicted }) =>
    slotsSeen ? 1 - slotsEvicted / slotsSeen : 1,
  );
  new Counter({
    name: 'skv:profile_heads_total',
    help: 'Heads that took a rule at a prompt’s end, of policies with a profile',
    labelNames: ['policy', 'rule'],
    registers: [registry],
    collect() {
      this.reset();
      for (const { name: policy, profile = [] } of engine.stats().policies)
        for (const { rule, heads } of profile) this.inc({ policy, rule }, heads);
    },
  });
}

/** Latencies and ends of requests, as the engine reports them. */
function measureRequests(registry: Registry, engine: EngineApi): void {
  const registers = [registry];
  const ttft = new Histogram({
    name: 'vllm:time_to_first_token_seconds',
    help: 'Time to first token',
    buckets: seconds,
    registers,
  });
  const queue = new Histogram({
    name: 'vllm:request_queue_time_seconds',
    help: 'Time in the queue',
    buckets: seconds,
    registers,
  });
  const itl = new Histogram({
    name: 'vllm:inter_token_latency_seconds',
    help: 'Time between the tokens of a request (its mean, once for each)',
    buckets: seconds,
    registers,
  });
  const e2e = new Histogram({
    name: 'vllm:e2e_request_latency_seconds',
    help: 'Whole request',
    buckets: seconds,
    registers,
  });
  const iteration = new Histogram({
    name: 'vllm:iteration_tokens_total',
    help: 'Tokens of a step',
    buckets: [1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096],
    registers,
  });
  const success = new Counter({
    name: 'vllm:request_success_total',
    help: 'Requests that ended, by reason',
    labelNames: ['finished_reason'],
    registers,
  });
  engine.onStep = ({ tokens }) => iteration.observe(tokens);
  engine.onFinish = (finished) => {
    success.inc({ finished_reason: finished.reason });
    e2e.observe(finished.totalSeconds);
    queue.observe(finished.queueSeconds);
    if (finished.firstTokenSeconds === undefined) return;
    ttft.observe(finished.firstTokenSeconds);
    const gaps = finished.generatedTokens - 1;
    for (let i = 0; i < gaps; i++) itl.observe((finished.totalSeconds - finished.firstTokenSeconds) / gaps);
  };
}
