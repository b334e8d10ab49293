/** Where an answer goes. Other protocols stand in between: they take chat completions and write what their clients know. */
import type { ServerResponse } from 'node:http';
import type { FastifyReply } from 'fastify';
import type { Service } from './active-request.ts';
import { EventStream } from './sse.ts';

/** A stream of chunks, or of an error instead of the rest. */
export interface Events {
  send(chunk: object): Promise<void>;
  end(): Promise<void>;
  log(error: unknown): void;
}

export interface Output {
  readonly raw: ServerResponse;
  whole(answer: object): void;
  /** Begins a stream. */
  stream(): Events;
}

export const replyOutput = (service: Service, reply: FastifyReply): Output => ({
  raw: reply.raw,
  whole: (answer) => void reply.send(answer),
  stream: () => new EventStream(reply, service.streams),
});
