/** Tokens → text, with stop strings that may begin in one token and end in another. */
import type { Detokenizer } from '../model/types.ts';

export class TextStream {
  private held = '';
  /** the stop string that ended the text */
  stopped?: string;

  constructor(private readonly detokenizer: Detokenizer, private readonly stops: readonly string[], private readonly includeStop: boolean) {}

  /** Text that is certain now: nothing of it can turn out to be part of a stop string. */
  push(token: number): string {
    return this.take(this.detokenizer.push(token));
  }

  /** The rest, when generation has ended. */
  end(): string {
    const text = this.take(this.detokenizer.end());
    const rest = this.stopped === undefined ? this.held : '';
    this.held = '';
    return text + rest;
  }

  private take(text: string): string {
    if (this.stopped !== undefined) return '';
    this.held += text;
    let first = -1;
    for (const stop of this.stops) {
      const at = this.held.indexOf(stop);
      if (at >= 0 && (first < 0 || at < first)) {
        first = at;
        this.stopped = stop;
      }
    }
    if (first >= 0) {
      const out = this.held.slice(0, first + (this.includeStop ? this.stopped!.length : 0));
      this.held = '';
      return out;
    }
    const keep = Math.max(0, ...this.stops.map((stop) => this.overlap(stop)));
    const out = this.held.slice(0, this.held.length - keep);
    this.held = this.held.slice(this.held.length - keep);
    return out;
  }

  /** Length of the longest end of the held text that a stop string begins with. */
  private overlap(stop: string): number {
    for (let n = Math.min(stop.length - 1, this.held.length); n > 0; n--) if (this.held.endsWith(stop.slice(0, n))) return n;
    return 0;
  }
}
