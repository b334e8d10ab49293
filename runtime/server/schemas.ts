/**
 * What requests may say. Objects are loose: fields that are not listed pass, as clients send many that mean nothing
 * here. Every optional field may be null. Ranges are those of OpenAI's API, with vLLM's names for the rest.
 */
import { z } from 'zod';

const int = (low: number, high: number) => z.int().min(low).max(high).nullish();
const within = (low: number, high: number) => z.number().min(low).max(high).nullish();
const flag = z.boolean().nullish();
const text = z.string().nullish();

/** Most sequences one request may start (prompts × n). */
export const MAX_SEQUENCES = 256;
/** Most alternatives per token. */
const MAX_LOGPROBS = 20;
const MAX_TOKENS = 2 ** 31 - 1;

const stopString = z.string().min(1, 'a stop string must not be empty');

const policyChoice = z
  .looseObject({
    policy: z.string().nullish().describe("a policy's name; absent: the server's default"),
    budget: z.number().nullish().describe('and any other parameter the policy declares, by name'),
  })
  .catchall(z.union([z.number(), z.null()], { error: 'a policy parameter is a number' }));

/** Fields of both kinds of completion. */
const generation = {
  model: z.string().nullish().describe("absent: the server's only model"),
  stream: flag,
  stream_options: z.looseObject({ include_usage: flag }).nullish(),
  n: int(1, 128),
  seed: z.int().nullish(),
  temperature: within(0, 2),
  top_p: within(0, 1),
  top_k: int(-1, MAX_TOKENS).describe('0 and -1: all'),
  min_p: within(0, 1),
  presence_penalty: within(-2, 2),
  frequency_penalty: within(-2, 2),
  repetition_penalty: z.number().gt(0).max(100).nullish(),
  logit_bias: z.record(z.string().regex(/^\d+$/, 'keys are token ids'), z.number().min(-100).max(100)).nullish(),
  stop: z
    .union([stopString, z.array(stopString).max(16)], { error: 'a non-empty string or at most 16 of them' })
    .nullish(),
  include_stop_str_in_output: flag,
  stop_token_ids: z.array(z.int().min(0)).max(256).nullish(),
  ignore_eos: flag,
  min_tokens: int(0, MAX_TOKENS),
  priority: int(-MAX_TOKENS, MAX_TOKENS).describe('lower runs first'),
  user: text,
  sparse_kv: policyChoice.nullish().describe('the KV-cache policy of this request and its parameters'),
  vllm_xargs: z.looseObject({}).nullish().describe('sparse_kv_policy, sparse_kv_budget, …: the same in vLLM’s words'),
};

/** One pass over a prompt, which may hold a million token ids: a union would collect an issue for each. */
function promptProblem(prompt: unknown): string | undefined {
  const expected = 'must be a string, a list of strings, a list of token ids, or a list of such lists';
  const isToken = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
  if (typeof prompt === 'string') return undefined;
  if (!Array.isArray(prompt)) return expected;
  if (prompt.length === 0) return 'must not be empty';
  if (typeof prompt[0] === 'number') return prompt.every(isToken) ? undefined : 'token ids are integers from 0';
  if (prompt.length > MAX_SEQUENCES) return `at most ${MAX_SEQUENCES} prompts in one request`;
  if (prompt.every((item) => typeof item === 'string')) return undefined;
  if (!prompt.every(Array.isArray)) return expected;
  if (prompt.some((list) => list.length === 0)) return 'a list of token ids must not be empty';
  return prompt.every((list) => list.every(isToken)) ? undefined : 'token ids are integers from 0';
}

const tokenList = { type: 'array', items: { type: 'integer', minimum: 0 } };

const prompt = z
  .unknown()
  .superRefine((value, context) => {
    const problem =
      value === undefined || value === null ? 'Invalid input: received undefined' : promptProblem(value);
    if (problem) context.addIssue({ code: 'custom', message: problem });
  })
  .meta({
    anyOf: [
      { type: 'string' },
      { type: 'array', items: { type: 'string' } },
      tokenList,
      { type: 'array', items: tokenList },
    ],
  });

export type Prompt = string | string[] | number[] | number[][];

export const completionRequest = z
  .looseObject({
    ...generation,
    prompt,
    max_tokens: int(0, MAX_TOKENS).describe('16 when absent'),
    logprobs: int(0, MAX_LOGPROBS),
    echo: flag,
    best_of: int(1, 128),
    suffix: text,
  })
  .meta({ id: 'CompletionRequest' });
export type CompletionRequest = z.output<typeof completionRequest>;

const part = z.looseObject({ type: z.string(), text: text });

const message = z.looseObject({
  role: z.enum(['system', 'developer', 'user', 'assistant', 'tool', 'function']),
  content: z.union([z.string(), z.array(part)], { error: 'a string or a list of text parts' }).nullish(),
});
export type RequestMessage = z.output<typeof message>;

export const chatRequest = z
  .looseObject({
    ...generation,
    messages: z.array(message).min(1, 'at least one message'),
    max_tokens: int(1, MAX_TOKENS),
    max_completion_tokens: int(1, MAX_TOKENS).describe('what the context leaves, when absent'),
    logprobs: flag,
    top_logprobs: int(0, MAX_LOGPROBS),
    add_generation_prompt: flag,
    response_format: z.looseObject({ type: z.string() }).nullish(),
    tools: z.array(z.unknown()).nullish(),
    tool_choice: z.unknown(),
  })
  .meta({ id: 'ChatCompletionRequest' });
export type ChatRequest = z.output<typeof chatRequest>;

export type GenerationFields = Pick<ChatRequest, keyof typeof generation>;

export const tokenizeRequest = z
  .looseObject({
    model: text,
    prompt: z.string().nullish(),
    messages: z.array(message).min(1).nullish(),
    add_special_tokens: flag,
    add_generation_prompt: flag,
    return_token_strs: flag,
  })
  .meta({ id: 'TokenizeRequest' });

export const detokenizeRequest = z
  .looseObject({ model: text, tokens: z.array(z.int().min(0)) })
  .meta({ id: 'DetokenizeRequest' });

const usage = z.object({
  prompt_tokens: z.number(),
  completion_tokens: z.number(),
  total_tokens: z.number(),
  prompt_tokens_details: z.object({ cached_tokens: z.number() }),
});
export type Usage = z.output<typeof usage>;

/** Answers, for /openapi.json; they are serialised as they are, without a second check. */
const answer = { id: z.string(), object: z.string(), created: z.int(), model: z.string(), usage };
const finish = { finish_reason: z.enum(['stop', 'length', 'abort']), stop_reason: z.union([z.string(), z.int()]).nullable() };

export const completionAnswer = z
  .looseObject({
    ...answer,
    choices: z.array(z.looseObject({ index: z.int(), text: z.string(), logprobs: z.unknown(), ...finish })),
  })
  .meta({ id: 'Completion' });

export const chatAnswer = z
  .looseObject({
    ...answer,
    choices: z.array(
      z.looseObject({
        index: z.int(),
        message: z.object({ role: z.literal('assistant'), content: z.string() }),
        logprobs: z.unknown(),
        ...finish,
      }),
    ),
  })
  .meta({ id: 'ChatCompletion' });

export const errorAnswer = z
  .object({
    error: z.object({
      message: z.string(),
      type: z.string(),
      param: z.string().nullable(),
      code: z.string().nullable(),
    }),
  })
  .meta({ id: 'Error' });
