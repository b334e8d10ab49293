/** What clients may send. Unknown fields pass; wrong ones are named. */
import { z } from 'zod';

const count = (max: number) => z.number().int().min(1).max(max);
const token = z.number().int().min(0);

/** Per-request policy: { policy, …declared parameters }. */
export const sparseKv = z.object({ policy: z.string().optional() }).catchall(z.union([z.number(), z.string()]));

const sampling = {
  model: z.string().optional(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  top_k: z.number().int().min(-1).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  repetition_penalty: z.number().gt(0).max(10).nullish(),
  logit_bias: z.record(z.string(), z.number().min(-100).max(100)).nullish(),
  seed: z.number().int().nullish(),
  n: count(16).nullish(),
  stop: z.union([z.string(), z.array(z.string()).max(16)]).nullish(),
  stop_token_ids: z.array(token).max(64).nullish(),
  include_stop_str_in_output: z.boolean().nullish(),
  ignore_eos: z.boolean().nullish(),
  min_tokens: z.number().int().min(0).nullish(),
  max_tokens: count(1 << 24).nullish(),
  priority: z.number().int().nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).loose().nullish(),
  user: z.string().nullish(),
  sparse_kv: sparseKv.nullish(),
  vllm_xargs: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).nullish(),
};

export const completionRequest = z
  .object({
    ...sampling,
    prompt: z.union([z.string(), z.array(z.string()).min(1).max(64), z.array(token).min(1), z.array(z.array(token).min(1)).min(1).max(64)]),
    logprobs: z.number().int().min(0).max(20).nullish(),
    echo: z.boolean().nullish(),
    best_of: count(16).nullish(),
    suffix: z.string().nullish(),
  })
  .loose();

const part = z.object({ type: z.string(), text: z.string().optional() }).loose();

export const chatRequest = z
  .object({
    ...sampling,
    messages: z
      .array(z.object({ role: z.string().min(1), content: z.union([z.string(), z.array(part)]).nullish() }).loose())
      .min(1),
    max_completion_tokens: count(1 << 24).nullish(),
    logprobs: z.boolean().nullish(),
    top_logprobs: z.number().int().min(0).max(20).nullish(),
    add_generation_prompt: z.boolean().nullish(),
  })
  .loose();

export const tokenizeRequest = z.object({ prompt: z.string(), add_special_tokens: z.boolean().nullish(), model: z.string().optional() }).loose();
export const detokenizeRequest = z.object({ tokens: z.array(token), model: z.string().optional() }).loose();

export type CompletionRequest = z.infer<typeof completionRequest>;
export type ChatRequest = z.infer<typeof chatRequest>;
const commonRequest = z.object(sampling);
export type CommonRequest = z.infer<typeof commonRequest>;
