/** What a request's owner holds: tokens as they come, and how it ended. */
import type { Finished, Generation, TokenEvent } from './types.ts';

export class GenerationQueue implements Generation {
  private readonly events: TokenEvent[] = [];
  private wake?: () => void;
  private done?: Finished;
  private settle!: (finished: Finished) => void;
  readonly finished = new Promise<Finished>((resolve) => (this.settle = resolve));

  constructor(
    readonly id: number,
    private readonly onAbort: (reason: 'stop' | 'abort') => void,
  ) {}

  abort(reason: 'stop' | 'abort' = 'abort'): void {
    if (!this.done) this.onAbort(reason);
  }

  push(event: TokenEvent): void {
    this.events.push(event);
    this.wake?.();
  }

  finish(finished: Finished): void {
    this.done = finished;
    this.settle(finished);
    this.wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TokenEvent> {
    for (let i = 0; ; i++) {
      while (i >= this.events.length && !this.done) await new Promise<void>((resolve) => (this.wake = resolve));
      if (i >= this.events.length) return;
      yield this.events[i];
    }
  }
}
