/** One choice of a response: its generation, and its text as it becomes certain. */
import type { EngineApi, Finished, GenerateRequest, Generation, TokenEvent } from '../engine/types.ts';
import { TextStream } from './text.ts';

export interface Piece {
  text: string;
  /** the tokens since the last piece */
  events: TokenEvent[];
}

export class Choice {
  readonly generation: Generation;
  finished?: Finished;
  reason: 'stop' | 'length' | 'abort' | null = null;
  stopReason: string | number | null = null;

  constructor(private readonly engine: EngineApi, private readonly request: GenerateRequest, private readonly stops: readonly string[], private readonly includeStop: boolean) {
    this.generation = engine.submit(request);
  }

  /** Text piece by piece. A stop string aborts the generation; the engine frees its pages in the next step. */
  async *pieces(): AsyncGenerator<Piece> {
    const text = new TextStream(this.engine.model.detokenizer(), this.stops, this.includeStop);
    const stopTokens = new Set(this.request.stopTokens);
    let events: TokenEvent[] = [];
    let count = 0;
    for await (const event of this.generation) {
      count++;
      events.push(event);
      const stopToken = stopTokens.has(event.token) && count > (this.request.minTokens ?? 0);
      const piece = stopToken ? '' : text.push(event.token);
      if (text.stopped !== undefined) {
        this.generation.abort();
        yield { text: piece, events };
        events = [];
        break;
      }
      if (stopToken) events.pop(); // it ends the text, it is not part of it
      if (piece !== '' || (this.request.sampling?.logprobs !== undefined && events.length > 0)) {
        yield { text: piece, events };
        events = [];
      }
    }
    const rest = text.end();
    if (rest !== '' || events.length > 0) yield { text: rest, events };
    this.finished = await this.generation.finished;
    if (this.finished.error) throw this.finished.error;
    this.reason = text.stopped !== undefined ? 'stop' : this.finished.reason === 'length' ? 'length' : this.finished.reason === 'stop' ? 'stop' : 'abort';
    this.stopReason = text.stopped ?? this.finished.stopToken ?? null;
  }
}

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  prompt_tokens_details: { cached_tokens: number };
}

/** Tokens of a request with several choices of one prompt: the prompt counts once. */
export function usageOf(choices: readonly Choice[], prompts: number): Usage {
  const perPrompt = choices.length / prompts;
  const prompt = choices.reduce((sum, { finished }, i) => sum + (i % perPrompt === 0 ? (finished?.promptTokens ?? 0) : 0), 0);
  const completion = choices.reduce((sum, { finished }) => sum + (finished?.generatedTokens ?? 0), 0);
  const cached = choices.reduce((sum, { finished }, i) => sum + (i % perPrompt === 0 ? (finished?.cachedTokens ?? 0) : 0), 0);
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion, prompt_tokens_details: { cached_tokens: cached } };
}

/** Runs all choices side by side; pieces arrive in the order in which they come. */
export async function* interleave(choices: readonly Choice[]): AsyncGenerator<{ index: number; piece?: Piece }> {
  const sources = choices.map((choice) => choice.pieces());
  const next = (index: number) => sources[index].next().then((result) => ({ index, result }));
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
