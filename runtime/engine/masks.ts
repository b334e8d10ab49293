/** What sequences may draw next, settled between two steps, and who sits the next one out. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sequence } from './sequence.ts';
import { type FinishReason, type Finished, RequestError } from './types.ts';

/** Milliseconds that a step waits for masks while others could go on. */
const PATIENCE = 2;

const NOTHING =
  'No token is left to be drawn: what the grammar, allowed_token_ids, bad_words and min_tokens allow has nothing in common.';

export class Masks {
  /** ends the wait */
  private news?: () => void;

  /** `sequences`: those that run, then those that wait */
  constructor(
    private readonly sequences: () => readonly Sequence[],
    private readonly end: (sequence: Sequence, reason: FinishReason, more?: Partial<Finished>) => void,
  ) {}

  /** A request has come or been aborted: masks are waited for no longer. */
  wake(): void {
    this.news?.();
  }

  /**
   * Some sequences end by it. Masks that are not known yet get a moment: their sequences sit out the next step otherwise.
   * Where no other sequence can go on, the first of them is waited for. True: some are late still.
   */
  async settle(): Promise<boolean> {
    const before = this.sequences();
    if (!before.some(({ drawable }) => drawable)) return false;
    const pending = before.flatMap(({ drawable }) => drawable?.mask?.pending ?? []);
    if (pending.length > 0) {
      const news = new Promise<void>((resolve) => (this.news = resolve));
      const others = before.length > pending.length;
      await Promise.race([news, ...(others ? [Promise.all(pending), sleep(PATIENCE)] : pending)]);
    }
    for (const sequence of this.sequences()) this.fill(sequence); // with those that have come meanwhile
    return this.sequences().some(({ late }) => late);
  }

  private fill(sequence: Sequence): void {
    const { drawable } = sequence;
    if (!drawable || drawable.known || drawable.mask?.pending || sequence.aborted) return;
    const { failure, complete } = drawable.mask ?? {};
    if (failure) this.end(sequence, 'error', { error: failure });
    else if (complete) this.end(sequence, 'stop');
    else if (!drawable.fill(sequence.tokens.subarray(sequence.prompt, sequence.known)))
      this.end(sequence, 'error', { error: new RequestError(NOTHING) });
  }
}
