/** Tokens → text, with stop strings that may begin in one token and end in another. */
import type { Detokenizer } from '../model/types.ts';
import { unsure } from './held-text.ts';

export class TextStream {
  private held = '';
  /** the stop string that ended the text */
  stopped?: string;

  constructor(
    private readonly detokenizer: Detokenizer,
    private readonly stops: readonly string[],
    private readonly includeStop: boolean,
  ) {}

  /** Text that is certain now: nothing of it can turn out to be part of a stop string. `mayStop`: false before min_tokens. */
  push(token: number, mayStop = true): string {
    return this.take(this.detokenizer.push(token), mayStop);
  }

  /** The rest, when generation has ended. */
  end(): string {
    const text = this.take(this.detokenizer.end(), true);
    const rest = this.stopped === undefined ? this.held : '';
    this.held = '';
    return text + rest;
  }

  private take(text: string, mayStop: boolean): string {
    if (this.stopped !== undefined || !mayStop) return this.stopped === undefined ? text : '';
    this.held += text;
    const out = this.cut() ?? this.certain();
    this.held = this.stopped === undefined ? this.held.slice(out.length) : '';
    return out;
  }

  /** The text up to the stop string that is complete first (of two that end together, the longer): token borders do not matter. */
  private cut(): string | undefined {
    let begin = 0;
    let end = Number.POSITIVE_INFINITY;
    for (const stop of this.stops) {
      const at = this.held.indexOf(stop);
      if (at < 0 || at + stop.length > end || (at + stop.length === end && at >= begin)) continue;
      begin = at;
      end = at + stop.length;
      this.stopped = stop;
    }
    return this.stopped === undefined ? undefined : this.held.slice(0, this.includeStop ? end : begin);
  }

  /** All but the longest end of the held text that a stop string begins with. */
  private certain(): string {
    return this.held.slice(0, this.held.length - unsure(this.held, this.stops));
  }
}
