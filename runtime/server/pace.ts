/** How long a request would wait, from how fast the last ones ended: what Retry-After tells. */

/** Ends that the mean is taken over. */
const ENDS = 32;

export class Pace {
  private readonly ends: number[] = [];
  private since = 0;

  /** The server has work again: what was before says nothing of what comes. */
  begin(now: number): void {
    this.ends.length = 0;
    this.since = now;
  }

  /** A sequence has ended. Times are milliseconds. */
  ended(now: number): void {
    this.ends.push(now);
    if (this.ends.length > ENDS) this.since = this.ends.shift()!;
  }

  /** Whole seconds, 1 to 600, until `sequences` more will have ended; before the first end, as long as it has taken so far. */
  wait(sequences: number, now: number): number {
    const elapsed = (now - this.since) / 1000;
    const expected = this.ends.length ? (sequences * elapsed) / this.ends.length : elapsed;
    return Math.min(600, Math.max(1, Math.ceil(expected)));
  }
}
