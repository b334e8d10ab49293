/** Whether an engine can run a request at all, whatever else is running. */
import type { BuiltPolicy } from '../../codegen/plan/types.ts';
import { MAX_BIASES } from '../contract/records.ts';
import type { ModelSpec } from '../native/index.ts';
import { ratioOf } from './params.ts';
import { Rules } from './rules.ts';
import { type GenerateRequest, RequestError } from './types.ts';

/** What of an engine decides. */
interface Offer {
  readonly spec: ModelSpec;
  /** of its layers, as far as they concern the engine */
  readonly windows: readonly number[];
  readonly policies: readonly BuiltPolicy[];
  readonly maxModelLen: number;
  /** of the server; a request may have its own */
  readonly ratio?: number;
}

export interface Admitted {
  /** of the policy */
  readonly index: number;
  readonly rules: Rules;
  readonly maxTokens: number;
}

/** Throws a RequestError with the field at fault. */
export function checkRequest(request: GenerateRequest, offer: Offer): Admitted {
  const { spec, policies } = offer;
  const name = request.policy ?? policies[0].plan.name;
  const index = policies.findIndex(({ plan }) => plan.name === name);
  if (index < 0)
    throw new RequestError(
      `There is no policy ${name}; loaded are ${policies.map(({ plan }) => plan.name).join(', ')}.`,
      'policy',
    );
  const { plan } = policies[index];
  if (plan.positions === 'cache' && spec.positions > 0)
    throw new RequestError(
      `${name} counts positions as if evicted tokens had never been: it rotates keys, and this model has learned positions instead of RoPE. Take a policy with positions 'original'.`,
      'policy',
    );
  const given = request.params ?? {};
  const rules = new Rules(plan, given, ratioOf(plan, given, request.ratio, offer.ratio), offer.windows);
  checkTokens(request, spec.vocab);
  checkBiases(request);
  const maxTokens = (request.forced?.length ?? 0) || request.maxTokens;
  if (!Number.isInteger(maxTokens) || maxTokens < 1)
    throw new RequestError('max_tokens must be at least 1.', 'max_tokens');
  checkContext(rules, request.prompt.length, maxTokens, offer);
  return { index, rules, maxTokens };
}

function checkTokens({ prompt, forced = [], allowedTokens, badWords = [] }: GenerateRequest, vocab: number): void {
  if (prompt.length === 0) throw new RequestError('The prompt is empty.', 'prompt');
  if (allowedTokens?.length === 0) throw new RequestError('allowed_token_ids is empty.', 'allowed_token_ids');
  const lists: [ArrayLike<number>, string][] = [
    [prompt, 'prompt'],
    [forced, 'prompt'],
    [allowedTokens ?? [], 'allowed_token_ids'],
    ...badWords.map((word): [ArrayLike<number>, string] => [word, 'bad_words']),
  ];
  for (const [tokens, param] of lists)
    for (let i = 0; i < tokens.length; i++)
      if (!(tokens[i] >= 0 && tokens[i] < vocab))
        throw new RequestError(`Token ${tokens[i]} is not in the vocabulary of ${vocab}.`, param);
}

/** Until minTokens are there, stop tokens are moved out of reach as well. */
function checkBiases({ sampling, minTokens, stopTokens }: GenerateRequest): void {
  const stops = minTokens ? new Set(stopTokens).size : 0;
  const biases = (sampling?.logitBias?.size ?? 0) + stops;
  if (biases > MAX_BIASES)
    throw new RequestError(
      `logit_bias moves ${biases} tokens${stops ? `, the ${stops} that end the text among them` : ''}; at most ${MAX_BIASES} can be.`,
      'logit_bias',
    );
}

/** Lengths against the context: logical ones, or live slots where positions are the cache's own. */
function checkContext(rules: Rules, prompt: number, maxTokens: number, { spec, maxModelLen }: Offer): void {
  const exceeds = (message: string, param: string): never => {
    throw new RequestError(message, param, 'context_length_exceeded');
  };
  const { plan } = rules;
  const unlimited = plan.positions === 'cache' && rules.bounded;
  if (prompt > maxModelLen && !(unlimited && rules.boundedPrompt))
    exceeds(`The prompt has ${prompt} tokens, the context is ${maxModelLen}.`, 'prompt');
  if (!unlimited && prompt + maxTokens > maxModelLen)
    exceeds(
      `The prompt's ${prompt} tokens and max_tokens ${maxTokens} exceed the context of ${maxModelLen}. Policies with cache-relative positions (streaming) have no such limit.`,
      'max_tokens',
    );
  const peaks = rules.peaks(prompt, prompt + maxTokens);
  // budgets that flow may all flow to one head
  const most = Math.max(peaks.prompt, peaks.decode) * (plan.heads.kind === 'pooled' ? spec.kvHeads : 1);
  if (unlimited && most > maxModelLen)
    exceeds(`With this budget a head holds up to ${most} slots, more than the context of ${maxModelLen}.`, 'budget');
}
