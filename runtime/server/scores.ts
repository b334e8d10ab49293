/** Log-probabilities of prompts: `echo` with `logprobs`, and vLLM's `prompt_logprobs`. */
import type { GenerateRequest, TokenEvent } from '../engine/types.ts';
import type { LoadedModel } from '../model/types.ts';
import type { ActiveRequest, Service } from './active-request.ts';
import type { Asked } from './answer.ts';
import { ApiError, requestError } from './errors.ts';
import { tokenText, withDrawn } from './logprobs.ts';
import { generateRequest } from './sampling.ts';
import type { CommonRequest } from './schemas.ts';

export function checkScores(body: CommonRequest): void {
  if ((body.prompt_logprobs ?? undefined) !== undefined && body.stream)
    throw new ApiError(400, 'prompt_logprobs cannot be streamed.', 'prompt_logprobs');
}

/**
 * Begins to score the prompts where `echoed` alternatives of each token, or prompt_logprobs, are asked for; each function
 * waits for its prompt. Throws at once what the engine refuses.
 */
export function score(
  service: Service,
  active: ActiveRequest,
  { body, prompts }: Asked,
  echoed?: number,
): (() => Promise<TokenEvent[]>)[] | undefined {
  const most = Math.max(echoed ?? -1, body.prompt_logprobs ?? -1);
  if (most < 0) return undefined;
  try {
    return prompts.map((prompt) => {
      const reading = scorePrompt(active, generateRequest(service, { ...body, min_tokens: null }, prompt, 1, most, 0));
      let scores: ReturnType<typeof reading> | undefined;
      return () => (scores ??= reading());
    });
  } catch (error) {
    active.abort();
    throw requestError(error, body);
  }
}

/** vLLM's prompt_logprobs: of each token by its number; nothing of the first. `rank`: null beyond the alternatives. */
export function promptLogs(model: LoadedModel, events: readonly TokenEvent[], wanted: number) {
  return events.map((event) => {
    if (event.logprob === undefined) return null;
    const alternatives = (event.alternatives ?? []).slice(0, wanted);
    const ranked = event.alternatives?.findIndex(({ token }) => token === event.token) ?? -1;
    const all = withDrawn({ ...event, alternatives }).map(({ token, logprob }, i) => {
      const rank = token !== event.token ? i + 1 : ranked < 0 ? null : ranked + 1;
      return [token, { logprob, rank, decoded_token: tokenText(model, token) }];
    });
    return Object.fromEntries(all) as Record<string, { logprob: number; rank: number | null; decoded_token: string }>;
  });
}

/** Feeds a prompt token by token as if it had been generated; the first token has no log-probability. */
function scorePrompt(active: ActiveRequest, request: GenerateRequest): () => Promise<TokenEvent[]> {
  const first: TokenEvent = { token: request.prompt[0] };
  if (request.prompt.length === 1) return async () => [first];
  const tokens = Int32Array.from(request.prompt);
  const generation = active.submit({
    ...request,
    prompt: tokens.subarray(0, 1),
    forced: tokens.subarray(1),
    stopTokens: [],
  });
  return async () => {
    const events = [first];
    for await (const event of generation) events.push(event);
    const { error, reason } = await generation.finished;
    if (error) throw error;
    if (reason === 'abort' && active.failure) throw active.failure;
    return events;
  };
}
