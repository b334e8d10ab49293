/** Log-probabilities in the shapes of the two endpoints, and those of a prompt. */
import type { GenerateRequest, TokenEvent } from '../engine/types.ts';
import type { LoadedModel } from '../model/types.ts';
import type { ActiveRequest } from './active-request.ts';

/** A token as text; bytes that are no whole character as OpenAI writes them: `bytes:\xe2\x96`. */
export function tokenText({ tokenizer }: LoadedModel, token: number): string {
  const bytes = tokenizer.bytes(token);
  if (bytes.length === 0) return tokenizer.decode([token]);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return `bytes:${[...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')}`;
  }
}

/** Of one choice of /v1/completions; offsets go on from piece to piece. */
export class CompletionLogs {
  private offset = 0;

  constructor(private readonly model: LoadedModel) {}

  of(events: readonly TokenEvent[]) {
    const tokens = events.map(({ token }) => tokenText(this.model, token));
    const named = (list: TokenEvent['alternatives']) =>
      list && Object.fromEntries(list.map(({ token, logprob }) => [tokenText(this.model, token), logprob]));
    return {
      tokens,
      token_logprobs: events.map(({ logprob }) => logprob ?? null),
      top_logprobs: events.map(({ alternatives }) => named(alternatives) ?? null),
      text_offset: tokens.map((text) => (this.offset += text.length) - text.length),
    };
  }
}

export function chatLogs(model: LoadedModel, events: readonly TokenEvent[]) {
  const entry = ({ token, logprob }: TokenEvent) => ({
    token: tokenText(model, token),
    logprob: logprob ?? null,
    bytes: [...model.tokenizer.bytes(token)],
  });
  const content = events.map((event) => ({ ...entry(event), top_logprobs: (event.alternatives ?? []).map(entry) }));
  return { content, refusal: null };
}

/**
 * The log-probability of each prompt token, for `echo` with `logprobs`: the prompt is fed token by token as if it had
 * been generated. The first token has none.
 */
export async function scorePrompt(active: ActiveRequest, request: GenerateRequest): Promise<TokenEvent[]> {
  const events: TokenEvent[] = [{ token: request.prompt[0] }];
  if (request.prompt.length === 1) return events;
  const tokens = Int32Array.from(request.prompt);
  const generation = active.submit({
    ...request,
    prompt: tokens.subarray(0, 1),
    forced: tokens.subarray(1),
    stopTokens: [],
  });
  for await (const event of generation) events.push(event);
  const { error, reason } = await generation.finished;
  if (error) throw error;
  if (reason === 'abort' && active.failure) throw active.failure;
  return events;
}
