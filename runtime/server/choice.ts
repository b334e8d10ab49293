/** One choice of a response: its generation, and its text as it becomes certain. */
import type { Finished, GenerateRequest, Generation, TokenEvent } from '../engine/types.ts';
import type { LoadedModel } from '../model/types.ts';
import type { ActiveRequest } from './active-request.ts';
import type { Usage } from './schemas.ts';
import { TextStream } from './text.ts';

export interface Piece {
  text: string;
  /** the tokens since the last piece */
  events: TokenEvent[];
}

/** How a choice's text is made of its tokens. */
export interface Writing {
  readonly stops: readonly string[];
  /** what ended the text stays part of it */
  readonly includeStop: boolean;
  /** special tokens are text */
  readonly special: boolean;
}

/** A choice as answers see it. */
export interface Answered {
  readonly finished?: Pick<Finished, 'promptTokens' | 'cachedTokens'>;
  /** tokens generated, one that ended it included */
  readonly tokens: number;
  readonly reason: 'stop' | 'length' | 'abort' | null;
  readonly stopReason: string | number | null;
  /** mean log-probability of a token, where it was asked for */
  readonly likelihood: number;
  pieces(): AsyncGenerator<Piece>;
}

/** A choice of no token: its prompt alone was asked for. */
export const emptyChoice = (promptTokens: number): Answered => ({
  finished: { promptTokens, cachedTokens: 0 },
  tokens: 0,
  reason: 'length',
  stopReason: null,
  likelihood: 0,
  async *pieces() {},
});

export class Choice implements Answered {
  private readonly generation: Generation;
  private readonly text: TextStream;
  finished?: Finished;
  tokens = 0;
  private logprobs = 0;
  reason: 'stop' | 'length' | 'abort' | null = null;
  stopReason: string | number | null = null;

  constructor(
    private readonly active: ActiveRequest,
    model: LoadedModel,
    private readonly request: GenerateRequest,
    private readonly writing: Writing,
  ) {
    this.generation = active.submit(request);
    this.text = new TextStream(model.detokenizer(writing), writing.stops, writing.includeStop);
  }

  get likelihood(): number {
    return this.tokens ? this.logprobs / this.tokens : 0;
  }

  /** Text piece by piece. A stop string ends the generation; the engine frees its pages in the next step. */
  async *pieces(): AsyncGenerator<Piece> {
    const { text, request } = this;
    const stopTokens = new Set(request.stopTokens);
    const minTokens = request.minTokens ?? 0;
    let events: TokenEvent[] = [];
    for await (const event of this.generation) {
      const certain = ++this.tokens > minTokens;
      this.logprobs += event.logprob ?? 0;
      if (certain && stopTokens.has(event.token) && !this.writing.includeStop) break; // it ends the text, it is not part of it
      events.push(event);
      const piece = text.push(event.token, certain);
      if (text.stopped !== undefined) this.generation.abort('stop');
      if (piece !== '' || request.sampling?.logprobs !== undefined) {
        yield { text: piece, events };
        events = [];
      }
      if (text.stopped !== undefined) break;
    }
    const rest = text.end();
    if (rest !== '' || events.length > 0) yield { text: rest, events };
    this.finished = await this.generation.finished;
    if (this.finished.error) throw this.finished.error;
    if (this.finished.reason === 'abort' && this.active.failure) throw this.active.failure;
    const { reason, stopToken } = this.finished;
    this.reason = text.stopped !== undefined ? 'stop' : reason === 'error' ? 'abort' : reason;
    this.stopReason = text.stopped ?? stopToken ?? null;
  }
}

/** Tokens of a request with several choices of one prompt: the prompt counts once. */
export function usageOf(choices: readonly Answered[], prompts: number): Usage {
  const perPrompt = choices.length / prompts;
  const firsts = choices.filter((_, i) => i % perPrompt === 0);
  const prompt = firsts.reduce((sum, { finished }) => sum + (finished?.promptTokens ?? 0), 0);
  const cached = firsts.reduce((sum, { finished }) => sum + (finished?.cachedTokens ?? 0), 0);
  const completion = choices.reduce((sum, { tokens }) => sum + tokens, 0);
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: cached },
  };
}

/** Runs all choices side by side; pieces arrive in the order in which they come. */
export async function* interleave(choices: readonly Answered[]): AsyncGenerator<{ index: number; piece?: Piece }> {
  const sources = choices.map((choice) => choice.pieces());
  const next = (index: number) => {
    const coming = sources[index].next().then((result) => ({ index, result }));
    coming.catch(() => {}); // it may fail while the reader of the last piece takes its time: the next race says so
    return coming;
  };
  const pending = new Map(sources.map((_, index) => [index, next(index)]));
  while (pending.size > 0) {
    const { index, result } = await Promise.race(pending.values());
    if (result.done) {
      pending.delete(index);
      yield { index };
    } else {
      pending.set(index, next(index));
      yield { index, piece: result.value };
    }
  }
}
