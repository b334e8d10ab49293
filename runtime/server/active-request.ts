/** One HTTP request that generates: admitted, and stopped as a whole when its client leaves or its time is up. */
import type { ServerResponse } from 'node:http';
import type { EngineApi, GenerateRequest, Generation } from '../engine/types.ts';
import type { Matchers } from '../grammar/index.ts';
import { ApiError, shuttingDown } from './errors.ts';
import type { Pace } from './pace.ts';
import type { StreamPace } from './sse.ts';

export interface Service {
  readonly engine: EngineApi;
  readonly modelName: string;
  /** sequences that wait or run are at most this many; more get a 429 */
  readonly maxQueue: number;
  /** seconds a request may take until its last byte */
  readonly timeLimit: number;
  /** most tokens of an answer whose request names no number */
  readonly defaultMaxTokens?: number;
  readonly streams: StreamPace;
  readonly pace: Pace;
  /** --tool-call-parser and --reasoning-parser: a format's name, auto or none */
  readonly toolFormat?: string;
  readonly reasoningFormat?: string;
  /** who follows grammars */
  readonly matchers: Matchers;
  readonly active: Set<ActiveRequest>;
  draining: boolean;
}

/** Seconds that a client gets to read the error after its time is up. */
const GRACE = 5;

export class ActiveRequest {
  private readonly generations: Generation[] = [];
  /** why the server stopped it */
  failure?: ApiError;
  private gone = false;
  private stop!: () => void;
  private readonly stopped = new Promise<void>((resolve) => (this.stop = resolve));

  /** Throws 503 while draining and 429 when the queue is full. `pending`: sequences it will start. */
  constructor(
    private readonly service: Service,
    raw: ServerResponse,
    public pending: number,
  ) {
    if (service.draining) throw shuttingDown();
    const { running, waiting } = service.engine.stats();
    const now = performance.now();
    if (running + waiting === 0) service.pace.begin(now);
    const busy = [...service.active].reduce((sum, active) => sum + active.pending, running + waiting);
    if (busy + pending > service.maxQueue)
      throw new ApiError(
        429,
        `${busy} sequences run or wait and this request has ${pending}; the limit is ${service.maxQueue}. Try again later.`,
        null,
        'queue_full',
        { 'retry-after': String(service.pace.wait(waiting + pending, now)) },
      );
    service.active.add(this);
    const timer = setTimeout(() => {
      this.failure = new ApiError(503, `The request took longer than ${service.timeLimit} s.`, null, 'request_timeout');
      this.abort();
      setTimeout(() => raw.destroy(), GRACE * 1000).unref();
    }, service.timeLimit * 1000);
    raw.once('close', () => {
      clearTimeout(timer);
      service.active.delete(this);
      this.gone = true;
      this.abort(); // nothing to do when all have finished
    });
    if (raw.destroyed) raw.emit('close');
  }

  /** Starts a generation; a request whose client left while its prompt was read starts none. */
  submit(request: GenerateRequest): Generation {
    if (this.failure || this.gone) request.mask?.close();
    if (this.failure) throw this.failure;
    if (this.gone) throw new ApiError(499, 'The client has closed the connection.');
    const generation = this.service.engine.submit(request);
    this.generations.push(generation);
    generation.finished.then(() => this.service.pace.ended(performance.now()));
    return generation;
  }

  /** Resolves when something of this request runs or has ended, and after `seconds` in any case; throws when its time is up. */
  async begun(seconds: number): Promise<void> {
    if (this.generations.length === 0) return;
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => (timer = setTimeout(resolve, seconds * 1000)));
    await Promise.race([patience, this.stopped, ...this.generations.map((generation) => generation.admitted)]);
    clearTimeout(timer);
    if (this.failure) throw this.failure;
  }

  abort(): void {
    this.stop();
    for (const generation of this.generations) generation.abort();
  }
}
