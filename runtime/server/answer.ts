/** Generation and its answer, whole or streamed; the two endpoints differ in their shapes alone. */
import type { FastifyReply } from 'fastify';
import type { TokenEvent } from '../engine/types.ts';
import type { ActiveRequest, Service } from './active-request.ts';
import { Choice, type Piece, interleave, usageOf } from './choice.ts';
import { requestError, toApiError } from './errors.ts';
import { generateRequest, stopStrings } from './sampling.ts';
import type { CommonRequest } from './schemas.ts';
import { EventStream } from './sse.ts';

/** How one of the two endpoints writes its answers. */
export interface Shape {
  readonly id: string;
  readonly object: string;
  readonly chunkObject: string;
  /** a choice of a whole answer */
  whole(index: number, text: string, events: TokenEvent[]): object;
  /** a choice of a streamed event; no piece: the end */
  delta(index: number, piece: Piece | undefined): object;
  /** the first event of a choice, if it needs one */
  opening?(index: number): object;
  /** what stands before the generated text (echo) */
  prefix?(index: number): Piece;
}

/** What both endpoints ask for. */
export interface Asked {
  body: CommonRequest;
  prompts: Int32Array[];
  maxTokens?: number;
  /** alternatives per token; undefined: no log-probabilities */
  logprobs?: number;
}

const ending = ({ reason, stopReason }: Choice) => ({ finish_reason: reason, stop_reason: stopReason });

/** Starts n choices of every prompt, or none. */
function start(service: Service, active: ActiveRequest, { body, prompts, maxTokens, logprobs }: Asked): Choice[] {
  const { engine } = service;
  const [stops, includeStop] = [stopStrings(body), body.include_stop_str_in_output ?? false];
  const choices: Choice[] = [];
  try {
    for (const prompt of prompts)
      for (let i = 0; i < (body.n ?? 1); i++)
        choices.push(
          new Choice(
            active,
            engine.model,
            generateRequest(engine, body, prompt, maxTokens, logprobs, i),
            stops,
            includeStop,
          ),
        );
  } catch (error) {
    active.abort(); // the choices before the one that was refused
    throw requestError(error, body);
  }
  active.pending = 0;
  return choices;
}

export async function answer(
  service: Service,
  active: ActiveRequest,
  asked: Asked,
  shape: Shape,
  reply: FastifyReply,
): Promise<void> {
  const choices = start(service, active, asked);
  const head = { id: shape.id, created: Math.floor(Date.now() / 1000), model: service.modelName };
  if (asked.body.stream) return stream(active, choices, asked, shape, head, reply);
  const prefixes = choices.map((_, index) => shape.prefix?.(index));
  const texts = prefixes.map((piece) => piece?.text ?? '');
  const events = prefixes.map((piece) => [...(piece?.events ?? [])]);
  try {
    for await (const { index, piece } of interleave(choices)) {
      texts[index] += piece?.text ?? '';
      events[index].push(...(piece?.events ?? []));
    }
  } catch (error) {
    active.abort();
    throw error;
  }
  const list = choices.map((choice, index) => ({
    index,
    ...shape.whole(index, texts[index], events[index]),
    ...ending(choice),
  }));
  reply.send({ ...head, object: shape.object, choices: list, usage: usageOf(choices, asked.prompts.length) });
}

async function stream(
  active: ActiveRequest,
  choices: Choice[],
  { body, prompts }: Asked,
  shape: Shape,
  head: object,
  reply: FastifyReply,
): Promise<void> {
  const events = new EventStream(reply);
  const includeUsage = body.stream_options?.include_usage ?? false;
  const send = (list: object[], usage: object | null = null) =>
    events.send({ ...head, object: shape.chunkObject, choices: list, ...(includeUsage ? { usage } : {}) });
  const chunk = (index: number, delta: object) => send([{ index, ...delta, ...ending(choices[index]) }]);
  try {
    for (const index of choices.keys()) {
      if (shape.opening) await chunk(index, shape.opening(index));
      if (shape.prefix) await chunk(index, shape.delta(index, shape.prefix(index)));
    }
    for await (const { index, piece } of interleave(choices)) {
      // The choice may have ended since this piece; only its last event says so.
      const end = piece ? { finish_reason: null, stop_reason: null } : ending(choices[index]);
      await send([{ index, ...shape.delta(index, piece), ...end }]);
    }
    if (includeUsage) await send([], usageOf(choices, prompts.length));
  } catch (error) {
    active.abort();
    const api = toApiError(error);
    if (api.status >= 500) reply.log.error(error);
    await events.send(api.body);
  }
  await events.end();
}
