/** What a request's owner holds: tokens as they come, and how it ended. */
import type { Finished, Generation, TokenEvent } from './types.ts';

/** Taken events that may stay in memory. */
const FORGET = 64;

export class GenerationQueue implements Generation {
  private events: TokenEvent[] = [];
  /** events that have been taken */
  private read = 0;
  private wake?: () => void;
  private done?: Finished;
  private settle!: (finished: Finished) => void;
  private begin!: () => void;
  readonly admitted = new Promise<void>((resolve) => (this.begin = resolve));
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

  admit(): void {
    this.begin();
  }

  finish(finished: Finished): void {
    this.begin();
    this.done = finished;
    this.settle(finished);
    this.wake?.();
  }

  /** What has been taken is forgotten. */
  private take(): TokenEvent {
    const event = this.events[this.read++];
    if (this.read >= FORGET && this.read * 2 >= this.events.length) {
      this.events = this.events.slice(this.read);
      this.read = 0;
    }
    return event;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TokenEvent> {
    for (;;) {
      while (this.read === this.events.length && !this.done)
        await new Promise<void>((resolve) => (this.wake = resolve));
      if (this.read === this.events.length) return;
      yield this.take();
    }
  }
}
