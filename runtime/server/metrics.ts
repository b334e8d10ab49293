/** Prometheus metrics under vLLM's names, and skv's own per policy. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { EngineApi } from '../engine/types.ts';

export function metricsOf(engine: EngineApi, modelName: string): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ model_name: modelName });
  const registers = [registry];
  const gauge = (name: string, help: string, read: () => number) => new Gauge({ name, help, registers, collect() { this.set(read()); } });
  /** A counter that follows a number the engine counts itself. */
  const follow = (name: string, help: string, read: () => number) => {
    let seen = 0;
    return new Counter({ name, help, registers, collect() { const now = read(); this.inc(now - seen); seen = now; } });
  };
  const stats = () => engine.stats();
  gauge('vllm:num_requests_running', 'Requests in the running batch', () => stats().running);
  gauge('vllm:num_requests_waiting', 'Requests waiting to be scheduled', () => stats().waiting);
  gauge('vllm:kv_cache_usage_perc', 'Used part of the KV cache, 1 is full', () => (stats().pagesUsed - stats().pagesCached) / stats().pagesTotal);
  follow('vllm:num_preemptions_total', 'Preemptions', () => stats().preemptions);
  follow('vllm:prefix_cache_queries_total', 'Prefix blocks looked up', () => stats().prefixQueries);
  follow('vllm:prefix_cache_hits_total', 'Prefix blocks found', () => stats().prefixHits);
  follow('vllm:prompt_tokens_total', 'Prompt tokens computed', () => stats().promptTokens);
  follow('vllm:generation_tokens_total', 'Tokens generated', () => stats().generatedTokens);

  const seconds = [0.001, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.5, 5, 10, 20, 40, 80];
  const ttft = new Histogram({ name: 'vllm:time_to_first_token_seconds', help: 'Time to first token', buckets: seconds, registers });
  const itl = new Histogram({ name: 'vllm:inter_token_latency_seconds', help: 'Mean time between tokens of a request', buckets: seconds, registers });
  const e2e = new Histogram({ name: 'vllm:e2e_request_latency_seconds', help: 'Whole request', buckets: seconds, registers });
  const iteration = new Histogram({ name: 'vllm:iteration_tokens_total', help: 'Tokens of a step', buckets: [1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096], registers });
  const success = new Counter({ name: 'vllm:request_success_total', help: 'Requests that ended, by reason', labelNames: ['finished_reason'], registers });
  engine.onStep = ({ tokens }) => iteration.observe(tokens);
  engine.onFinish = (finished) => {
    success.inc({ finished_reason: finished.reason });
    e2e.observe(finished.totalSeconds);
    if (finished.firstTokenSeconds === undefined) return;
    ttft.observe(finished.firstTokenSeconds);
    if (finished.generatedTokens > 1) itl.observe((finished.totalSeconds - finished.firstTokenSeconds) / (finished.generatedTokens - 1));
  };

  const seen = new Map<string, { compactions: number; evicted: number; requests: number }>();
  const labelNames = ['policy'];
  const compactions = new Counter({ name: 'skv:compactions_total', help: 'Compactions', labelNames, registers });
  const evicted = new Counter({ name: 'skv:slots_evicted_total', help: 'Slots evicted', labelNames, registers });
  const requests = new Counter({ name: 'skv:requests_total', help: 'Requests', labelNames, registers });
  new Gauge({
    name: 'skv:kept_ratio', help: 'Slots kept of those live at compactions', labelNames, registers,
    collect() {
      for (const policy of stats().policies) {
        const last = seen.get(policy.name) ?? { compactions: 0, evicted: 0, requests: 0 };
        compactions.inc({ policy: policy.name }, policy.compactions - last.compactions);
        evicted.inc({ policy: policy.name }, policy.slotsEvicted - last.evicted);
        requests.inc({ policy: policy.name }, policy.requests - last.requests);
        seen.set(policy.name, { compactions: policy.compactions, evicted: policy.slotsEvicted, requests: policy.requests });
        this.set({ policy: policy.name }, policy.slotsSeen ? 1 - policy.slotsEvicted / policy.slotsSeen : 1);
      }
    },
  });
  return registry;
}
