/** Log-probabilities in the shapes of the two endpoints. */
import type { TokenEvent } from '../engine/types.ts';
import type { Detokenizer, LoadedModel } from '../model/types.ts';

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

type Alternative = NonNullable<TokenEvent['alternatives']>[number];

/** The likeliest tokens, and the one that was drawn where it is none of them. */
export function withDrawn({ token, logprob, alternatives = [] }: TokenEvent): Alternative[] {
  const among = logprob === undefined || alternatives.some((each) => each.token === token);
  return among ? alternatives : [...alternatives, { token, logprob }];
}

/** Characters as users count them: not UTF-16's halves. */
const lengthOf = (text: string): number => {
  let n = 0;
  for (const _ of text) n++;
  return n;
};

/** Of one choice of /v1/completions; offsets are characters of its text and go on from piece to piece. */
export class CompletionLogs {
  private offset = 0;
  private readonly detokenizer: Detokenizer;

  /** `special`: special tokens are part of the text */
  constructor(
    private readonly model: LoadedModel,
    special: boolean,
  ) {
    this.detokenizer = model.detokenizer({ special });
  }

  of(events: readonly TokenEvent[]) {
    return this.entries(
      events,
      events.map(({ token }) => {
        const at = this.offset;
        this.offset += lengthOf(this.detokenizer.push(token));
        return at;
      }),
    );
  }

  /** Of the prompt that stands before the text (echo). A BOS, or the space that SentencePiece puts first, is none of it. */
  prompt(scored: readonly TokenEvent[], text: string, wanted: number) {
    const events = scored.map(({ alternatives, ...event }) => ({
      ...event,
      alternatives: alternatives?.slice(0, wanted),
    }));
    const detokenizer = this.model.detokenizer({ special: true });
    let at = 0;
    const starts = events.map(({ token }) => {
      const start = at;
      at += lengthOf(detokenizer.push(token));
      return start;
    });
    this.offset = lengthOf(text);
    const before = at - this.offset;
    return this.entries(
      events,
      starts.map((start) => Math.max(0, start - before)),
    );
  }

  private entries(events: readonly TokenEvent[], offsets: number[]) {
    const named = (event: TokenEvent) =>
      event.alternatives
        ? Object.fromEntries(withDrawn(event).map(({ token, logprob }) => [tokenText(this.model, token), logprob]))
        : null;
    return {
      tokens: events.map(({ token }) => tokenText(this.model, token)),
      token_logprobs: events.map(({ logprob }) => logprob ?? null),
      top_logprobs: events.map(named),
      text_offset: offsets,
    };
  }
}

export type CompletionLog = ReturnType<CompletionLogs['of']>;

/** One log after another. */
export const joinLogs = (first: CompletionLog, second: CompletionLog): CompletionLog => ({
  tokens: [...first.tokens, ...second.tokens],
  token_logprobs: [...first.token_logprobs, ...second.token_logprobs],
  top_logprobs: [...first.top_logprobs, ...second.top_logprobs],
  text_offset: [...first.text_offset, ...second.text_offset],
});

export function chatLogs(model: LoadedModel, events: readonly TokenEvent[]) {
  const entry = ({ token, logprob }: TokenEvent) => ({
    token: tokenText(model, token),
    logprob: logprob ?? null,
    bytes: [...model.tokenizer.bytes(token)],
  });
  const top = (event: TokenEvent) => (event.alternatives?.length ? withDrawn(event) : []);
  return { content: events.map((event) => ({ ...entry(event), top_logprobs: top(event).map(entry) })), refusal: null };
}
