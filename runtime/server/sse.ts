/**
 * Server-sent events by hand: one JSON object an event, `[DONE]` at the end, no faster than the client reads. While there is
 * nothing to say a comment goes out now and then, so that no proxy takes the stream for dead; a client that takes nothing is
 * let go.
 */
import type { FastifyReply } from 'fastify';

/** Seconds. */
export interface StreamPace {
  /** that a request may wait in the queue before its stream begins all the same */
  readonly patience: number;
  /** between comments while there is nothing to say */
  readonly keepAlive: number;
  /** that a client may take nothing of what waits for it */
  readonly stall: number;
}

/** Bytes that a client must take at a time, to count as one that reads. */
const SLICE = 16_384;

export class EventStream {
  private readonly raw;
  readonly log: (error: unknown) => void;
  private readonly comments: NodeJS.Timeout;

  /** The status line and the headers leave at once. */
  constructor(
    reply: FastifyReply,
    private readonly pace: StreamPace,
  ) {
    const { raw } = reply;
    this.raw = raw;
    this.log = (error) => reply.log.error(error);
    reply.hijack();
    raw.on('error', () => {}); // a client that is gone; 'close' follows
    raw.writeHead(200, {
      ...(reply.getHeaders() as Record<string, string>), // CORS
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'x-accel-buffering': 'no',
    });
    raw.flushHeaders();
    this.comments = setInterval(() => {
      if (!raw.writableNeedDrain && !raw.writableEnded) raw.write(': still there\n\n');
    }, pace.keepAlive * 1000).unref();
    raw.once('close', () => clearInterval(this.comments));
  }

  /** `name`: of the event, where the protocol has names. */
  async send(event: unknown, name?: string): Promise<void> {
    await this.write(`${name === undefined ? '' : `event: ${name}\n`}data: ${JSON.stringify(event)}\n\n`);
  }

  /** `last`: what the protocol ends with. */
  async end(last = 'data: [DONE]\n\n'): Promise<void> {
    clearInterval(this.comments);
    if (last) await this.write(last);
    const { raw } = this;
    if (raw.destroyed) return;
    const stalled = setTimeout(() => raw.destroy(), this.pace.stall * 1000);
    raw.once('close', () => clearTimeout(stalled));
    raw.end();
  }

  /** Resolves when more may be written, or nobody reads any more. */
  private async write(text: string): Promise<void> {
    this.comments.refresh();
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; at += SLICE) await this.writeSlice(bytes.subarray(at, at + SLICE));
  }

  private async writeSlice(bytes: Uint8Array): Promise<void> {
    const { raw } = this;
    if (raw.destroyed || raw.write(bytes)) return;
    await new Promise<void>((resolve) => {
      const stalled = setTimeout(() => raw.destroy(), this.pace.stall * 1000);
      const done = () => {
        clearTimeout(stalled);
        raw.off('drain', done).off('close', done);
        resolve();
      };
      raw.on('drain', done).on('close', done);
    });
  }
}
