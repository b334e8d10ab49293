/**
 * What clients may send. Unknown fields pass; the first wrong one is named, and ends the reading: a body may hold millions,
 * and zod would keep an issue for each. So what stands in lists and records is wrong with `abort`, where zod would go on.
 */
import type { FastifySchemaCompiler } from 'fastify';
import { z } from 'zod';
import { invalid } from './errors.ts';

/** Most sequences one request may start (prompts × n). */
export const MAX_SEQUENCES = 256;

const count = (max: number) => z.number().int().min(1).max(max);
const token = z.uint32({ abort: true });

/** zod has it for `validate` alone: its containers end at the first wrong entry. */
export const firstOnly: z.core.ParseContextInternal<z.core.$ZodIssue> = { abortEarly: true };

export const validator: FastifySchemaCompiler<z.ZodType> =
  ({ schema }) =>
  (body) => {
    const { data, error } = schema.safeParse(body, firstOnly);
    return error ? { error: invalid(error.issues[0], body) } : { value: data };
  };

/** Any names, with values of one kind; unlike z.record it ends at the first wrong one. */
export const record = <T extends z.ZodType>(value: T) => z.object({}).catchall(value);

/** Per-request policy: { policy, ratio, …declared parameters }. */
export const sparseKv = z
  .object({
    policy: z.string().nullish(),
    ratio: z.number().nullish(),
  })
  .catchall(z.number());

const sampling = {
  model: z.string().nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  top_k: z.number().int().min(-1).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  repetition_penalty: z.number().gt(0).max(10).nullish(),
  logit_bias: record(z.number().min(-100, { abort: true }).max(100, { abort: true })).nullish(),
  seed: z.number().int().nullish(),
  n: count(128).nullish(),
  stop: z
    .union([z.string(), z.array(z.string()).max(16)], { error: 'must be a string or at most 16 of them' })
    .nullish(),
  stop_token_ids: z.array(token).max(64).nullish(),
  allowed_token_ids: z.array(token).nullish(),
  bad_words: z.array(z.string().min(1)).max(1024).nullish(),
  include_stop_str_in_output: z.boolean().nullish(),
  skip_special_tokens: z.boolean().nullish(),
  ignore_eos: z.boolean().nullish(),
  min_tokens: z.number().int().min(0).nullish(),
  max_tokens: z
    .number()
    .int()
    .min(0)
    .max(1 << 24)
    .nullish(),
  prompt_logprobs: z.number().int().min(0).max(20).nullish(),
  truncate_prompt_tokens: z.number().int().min(-1).nullish(),
  add_special_tokens: z.boolean().nullish(),
  priority: z.number().int().nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).loose().nullish(),
  user: z.string().nullish(),
  sparse_kv: sparseKv.nullish(),
  vllm_xargs: record(z.union([z.string(), z.number(), z.boolean()])).nullish(),
  response_format: z.object({ type: z.string() }).loose().nullish(),
  structured_outputs: z.object({}).catchall(z.unknown()).nullish(),
};

/** One pass over a prompt, which may hold a million token ids: a union of arrays would collect an issue for each. */
function promptProblem(prompt: unknown): string | undefined {
  const expected = 'must be a string, a list of strings, a list of token ids, or a list of such lists';
  const isTokens = (list: unknown[]) =>
    list.length > 0 && list.every((id) => Number.isInteger(id) && (id as number) >= 0 && (id as number) < 2 ** 31);
  if (typeof prompt === 'string') return undefined;
  if (!Array.isArray(prompt)) return expected;
  if (prompt.length === 0) return 'must not be empty';
  if (typeof prompt[0] === 'number') return isTokens(prompt) ? undefined : 'token ids are whole numbers from 0';
  if (prompt.length > MAX_SEQUENCES) return `at most ${MAX_SEQUENCES} prompts in one request`;
  if (prompt.every((item) => typeof item === 'string')) return undefined;
  if (!prompt.every((item) => Array.isArray(item))) return expected;
  return prompt.every(isTokens) ? undefined : 'each list holds at least one token id, a whole number from 0';
}

const tokenList = { type: 'array', items: { type: 'integer', minimum: 0 } };
const prompt = z
  .unknown()
  .superRefine((value, context) => {
    const missing = value === undefined || value === null;
    const message = missing ? 'is missing' : promptProblem(value);
    if (message) context.addIssue({ code: 'custom', message, params: { missing } });
  })
  .meta({
    anyOf: [
      { type: 'string' },
      { type: 'array', items: { type: 'string' } },
      tokenList,
      { type: 'array', items: tokenList },
    ],
  });

export const completionRequest = z
  .object({
    ...sampling,
    prompt,
    logprobs: z.number().int().min(0).max(20).nullish(),
    echo: z.boolean().nullish(),
    best_of: count(128).nullish(),
  })
  .loose();

export const schema = z.union([z.boolean(), z.object({}).loose()], { error: 'must be a schema' });
/** A call of an earlier answer. */
const toolCall = z
  .object({
    function: z
      .object({
        name: z.string(),
        arguments: z.union([z.string(), z.object({}).loose()], { error: 'must be JSON as text' }).nullish(),
      })
      .loose(),
  })
  .loose();
export const toolName = z.string().regex(/^[\w.:-]{1,128}$/, { error: 'must be 1 to 128 letters, digits, _ . : or -' });
const tool = z
  .object({
    type: z.literal('function', { error: 'must be function: other tools are not supported' }),
    function: z
      .object({
        name: toolName,
        description: z.string().nullish(),
        parameters: schema.nullish(),
        strict: z.boolean().nullish(),
      })
      .loose(),
  })
  .loose();
const toolChoice = z.union(
  [
    z.enum(['none', 'auto', 'required']),
    z.object({ type: z.literal('function'), function: z.object({ name: z.string() }).loose() }).loose(),
  ],
  { error: 'must be none, auto, required, or a function by its name' },
);

const part = z.object({ type: z.string(), text: z.string().optional() }).loose();

const message = z
  .object({
    role: z.enum(['system', 'developer', 'user', 'assistant', 'tool', 'function']),
    content: z.union([z.string(), z.array(part)], { error: 'must be a string or a list of text parts' }).nullish(),
    tool_calls: z.array(toolCall).nullish(),
  })
  .loose();
export type RequestMessage = z.infer<typeof message>;

/** Variables of the chat template, vLLM's name; those that the server fills in are not among them. */
const FILLED = ['messages', 'tools', 'documents', 'add_generation_prompt', 'bos_token', 'eos_token'];
const templateVariables = record(z.unknown())
  .refine((given) => !FILLED.some((name) => Object.hasOwn(given, name)), {
    error: `cannot set ${FILLED.join(', ')}`,
  })
  .nullish();

/** What shapes a chat's prompt. */
const conversation = {
  messages: z.array(message).min(1),
  add_generation_prompt: z.boolean().nullish(),
  continue_final_message: z.boolean().nullish(),
  documents: z.array(z.unknown()).nullish(),
  chat_template_kwargs: templateVariables,
  tools: z.array(tool).max(256).nullish(),
  tool_choice: toolChoice.nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  reasoning_effort: z.string().nullish(),
};
const conversationRequest = z.object(conversation).loose();
export type ConversationRequest = z.infer<typeof conversationRequest>;

export const chatRequest = z
  .object({
    ...sampling,
    ...conversation,
    max_completion_tokens: count(1 << 24).nullish(),
    logprobs: z.boolean().nullish(),
    top_logprobs: z.number().int().min(0).max(20).nullish(),
  })
  .loose();

export const tokenizeRequest = z
  .object({
    model: z.string().nullish(),
    prompt: z.string().nullish(),
    ...conversation,
    messages: conversation.messages.nullish(),
    add_special_tokens: z.boolean().nullish(),
    return_token_strs: z.boolean().nullish(),
  })
  .loose();
export const detokenizeRequest = z.object({ tokens: z.array(token), model: z.string().nullish() }).loose();

export type CompletionRequest = z.infer<typeof completionRequest>;
export type ChatRequest = z.infer<typeof chatRequest>;
const commonRequest = z.object(sampling);
export type CommonRequest = z.infer<typeof commonRequest>;

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  prompt_tokens_details: { cached_tokens: number };
}
