/** A client's request → the engine's. */
import type { EngineApi, GenerateRequest } from '../engine/types.ts';
import { isBounded } from '../engine/rules.ts';
import { PAGE } from '../contract/records.ts';
import type { Tokenizer } from '../model/types.ts';
import type { Service } from './active-request.ts';
import type { Writing } from './choice.ts';
import { ApiError } from './errors.ts';
import type { CommonRequest } from './schemas.ts';

/**
 * The policy, its parameters and a ratio instead of its budget, from sparse_kv or vLLM's vllm_xargs (sparse_kv_policy,
 * sparse_kv_ratio, sparse_kv_<parameter>).
 */
function policyOf(body: CommonRequest): Pick<GenerateRequest, 'policy' | 'params' | 'ratio'> {
  const given: Record<string, unknown> = { ...body.sparse_kv };
  const spelled: Record<string, string> = {};
  for (const [long, value] of Object.entries(body.vllm_xargs ?? {})) {
    if (!long.startsWith('sparse_kv_')) continue;
    const name = long.slice('sparse_kv_'.length);
    if (Object.hasOwn(given, name))
      throw new ApiError(
        400,
        `sparse_kv.${name} and vllm_xargs.${long} say the same thing: send one.`,
        `vllm_xargs.${long}`,
      );
    given[name] = value;
    spelled[name] = `vllm_xargs.${long}`;
  }
  const wrong = (name: string, why: string) => {
    const field = spelled[name] ?? `sparse_kv.${name}`;
    return new ApiError(400, `${field} must be ${why}.`, field);
  };
  const { policy, ...rest } = given;
  if (policy !== undefined && policy !== null && typeof policy !== 'string')
    throw wrong('policy', 'the name of a policy');
  const numbers: Record<string, number> = {};
  for (const [name, value] of Object.entries(rest)) {
    if (name === 'ratio' && value === null) continue;
    if (typeof value !== 'number') throw wrong(name, 'a number');
    numbers[name] = value;
  }
  const { ratio, ...params } = numbers;
  return { policy: policy ?? undefined, params, ratio };
}

function biasOf(body: CommonRequest, vocab: number): ReadonlyMap<number, number> | undefined {
  if (!body.logit_bias) return undefined;
  const bias = new Map<number, number>();
  for (const [key, value] of Object.entries(body.logit_bias)) {
    const token = Number(key);
    if (!Number.isInteger(token) || token < 0 || token >= vocab)
      throw new ApiError(400, `logit_bias: ${key} is not a token of this model.`, 'logit_bias');
    bias.set(token, value);
  }
  return bias;
}

/**
 * Tokens to generate: what the client asks for, as far as the context has room. One that asks for no number gets all of it,
 * or what the pool holds where the policy has no bound. Positions of the cache's own have no end.
 */
function maxTokensOf(engine: EngineApi, policy: string | undefined, prompt: number, asked: number | undefined): number {
  const { plan } = engine.policies.find((each) => each.plan.name === policy) ?? engine.policies[0];
  const bounded = isBounded(plan);
  if (bounded && plan.positions === 'cache') return asked ?? engine.maxModelLen;
  const context = Math.max(1, engine.maxModelLen - prompt);
  if (asked !== undefined) return Math.min(asked, context);
  const { layers, kvHeads } = engine.model.spec;
  const pool = (Math.floor(engine.stats().pagesTotal / (layers * kvHeads)) - 1) * PAGE;
  return bounded ? context : Math.max(1, Math.min(context, pool - prompt));
}

/** A seed of this request; -1 asks for a new draw, as at vLLM and llama.cpp. */
const seedOf = ({ seed }: CommonRequest): number =>
  seed === undefined || seed === null || seed === -1 ? Math.floor(Math.random() * 2 ** 48) : seed;

/** Words as the model may write them: as they are, and after a space. */
const badWordsOf = ({ bad_words: words }: CommonRequest, tokenizer: Tokenizer): Int32Array[] =>
  (words ?? [])
    .flatMap((word) => [tokenizer.encode(word), tokenizer.encode(` ${word}`)])
    .filter((tokens) => tokens.length > 0);

/** One generation. `logprobs`: alternatives per token, undefined for none; `choice` varies the seed of n > 1. */
export function generateRequest(
  { engine, defaultMaxTokens }: Pick<Service, 'engine' | 'defaultMaxTokens'>,
  body: CommonRequest,
  prompt: Int32Array,
  maxTokens: number | undefined,
  logprobs: number | undefined,
  choice: number,
): GenerateRequest {
  const { tokenizer, sampling: own } = engine.model;
  const { min_tokens: minTokens } = body;
  if (minTokens && maxTokens !== undefined && minTokens > maxTokens)
    throw new ApiError(400, `min_tokens ${minTokens} is more than max_tokens ${maxTokens}.`, 'min_tokens');
  const stopTokens = [...(body.ignore_eos ? [] : tokenizer.eos), ...(body.stop_token_ids ?? [])];
  const chosen = policyOf(body);
  return {
    prompt,
    maxTokens: maxTokensOf(engine, chosen.policy, prompt.length, maxTokens ?? defaultMaxTokens),
    minTokens: minTokens ?? 0,
    stopTokens,
    allowedTokens: body.allowed_token_ids ?? undefined,
    badWords: badWordsOf(body, tokenizer),
    priority: body.priority ?? 0,
    sampling: {
      temperature: body.temperature ?? own.temperature ?? 1,
      topP: body.top_p ?? own.topP ?? 1,
      topK: Math.max(0, body.top_k ?? own.topK ?? 0),
      minP: body.min_p ?? own.minP ?? 0,
      presencePenalty: body.presence_penalty ?? 0,
      frequencyPenalty: body.frequency_penalty ?? 0,
      repetitionPenalty: body.repetition_penalty ?? own.repetitionPenalty ?? 1,
      logitBias: biasOf(body, tokenizer.vocab),
      seed: seedOf(body) + choice,
      logprobs,
    },
    ...chosen,
  };
}

export const writingOf = (body: CommonRequest): Writing => ({
  stops: (body.stop === null || body.stop === undefined ? [] : [body.stop].flat()).filter((text) => text !== ''),
  includeStop: body.include_stop_str_in_output ?? false,
  special: body.skip_special_tokens === false,
});

/** Tokens of its end that truncate_prompt_tokens keeps of a prompt; -1: what the context has room for. */
export function keptTokens({ maxModelLen }: EngineApi, body: CommonRequest, maxTokens: number): number | undefined {
  const { truncate_prompt_tokens: keep } = body;
  if (keep === 0) throw new ApiError(400, 'truncate_prompt_tokens keeps at least 1 token.', 'truncate_prompt_tokens');
  return keep === -1 ? Math.max(1, maxModelLen - maxTokens) : (keep ?? undefined);
}
