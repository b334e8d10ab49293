/** Server-sent events by hand: one JSON object an event, `[DONE]` at the end, no faster than the client reads. */
import { once } from 'node:events';
import type { FastifyReply } from 'fastify';

export class EventStream {
  private open = true;

  constructor(private readonly reply: FastifyReply, onClose: () => void) {
    reply.hijack();
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache', connection: 'keep-alive', 'x-accel-buffering': 'no' });
    reply.raw.on('close', () => {
      this.open = false;
      onClose();
    });
    reply.raw.on('error', () => {}); // a client that is gone; 'close' follows
  }

  async send(event: unknown): Promise<void> {
    await this.write(`data: ${JSON.stringify(event)}\n\n`);
  }

  async end(): Promise<void> {
    await this.write('data: [DONE]\n\n');
    if (this.open) this.reply.raw.end();
  }

  private async write(text: string): Promise<void> {
    if (!this.open || this.reply.raw.write(text)) return;
    await Promise.race([once(this.reply.raw, 'drain'), once(this.reply.raw, 'close')]).catch(() => {});
  }
}
