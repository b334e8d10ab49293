/** Server-sent events by hand: one JSON object an event, `[DONE]` at the end, no faster than the client reads. */
import type { FastifyReply } from 'fastify';

export class EventStream {
  private readonly raw;

  constructor(reply: FastifyReply) {
    this.raw = reply.raw;
    reply.hijack();
    this.raw.on('error', () => {}); // a client that is gone; 'close' follows
    this.raw.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      connection: 'keep-alive',
      'x-accel-buffering': 'no',
    });
  }

  async send(event: unknown): Promise<void> {
    await this.write(`data: ${JSON.stringify(event)}\n\n`);
  }

  async end(): Promise<void> {
    await this.write('data: [DONE]\n\n');
    this.raw.end();
  }

  /** Resolves when more may be written, or nobody reads any more. */
  private async write(text: string): Promise<void> {
    const { raw } = this;
    if (raw.destroyed || raw.write(text)) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        raw.off('drain', done).off('close', done);
        resolve();
      };
      raw.on('drain', done).on('close', done);
    });
  }
}
