/** Generation and its answer, whole or streamed; the two endpoints differ in their shapes alone. */
import type { LogitMask, TokenEvent } from '../engine/types.ts';
import type { ActiveRequest, Service } from './active-request.ts';
import { type Answered, Choice, type Piece, emptyChoice, interleave, usageOf } from './choice.ts';
import { requestError, toApiError } from './errors.ts';
import type { Events, Output } from './output.ts';
import { generateRequest, writingOf } from './sampling.ts';
import type { CommonRequest } from './schemas.ts';

/** How one of the two endpoints writes its answers. */
export interface Shape {
  readonly id: string;
  readonly object: string;
  readonly chunkObject: string;
  /** a choice of a whole answer */
  whole(index: number, text: string, events: TokenEvent[]): object | Promise<object>;
  /** a choice of a streamed event; no piece: the end; undefined: nothing to tell yet */
  delta(index: number, piece: Piece | undefined): object | undefined;
  /** why a choice has ended, where its text tells more */
  reason?(index: number, reason: Reason): string | null;
  /** the first event of a choice, if it needs one */
  opening?(index: number): object;
  /** the event of a choice that holds the prompt (echo) */
  prefix?(index: number): Promise<object>;
  /** what a whole answer says of the request */
  more?(): Promise<object>;
}

/** What both endpoints ask for. */
export interface Asked {
  body: CommonRequest;
  prompts: Int32Array[];
  maxTokens?: number;
  /** alternatives per token; undefined: no log-probabilities */
  logprobs?: number;
  /** starts a mask for one generation, where the answer has a form */
  mask?: Masking;
  /** special tokens are text, whatever the body says */
  special?: boolean;
  /** choices generated of each prompt, of which the likeliest n are answered; default n */
  bestOf?: number;
}

/** A mask for a generation that these tokens end. */
export type Masking = (stops: readonly number[]) => LogitMask;

type Reason = Answered['reason'];

const ending = ({ reason, stopReason }: Answered, index: number, shape: Shape) => ({
  finish_reason: shape.reason?.(index, reason) ?? reason,
  stop_reason: stopReason,
});

/** Starts all choices of every prompt, or none. */
function start(
  service: Service,
  active: ActiveRequest,
  { body, prompts, maxTokens, ...asked }: Asked,
  shape: Shape,
): Answered[] {
  const { engine } = service;
  const n = body.n ?? 1;
  const { bestOf = n } = asked;
  const logprobs = asked.logprobs ?? (bestOf > n ? 0 : undefined);
  const own = writingOf(body);
  const writing = { ...own, special: asked.special || own.special };
  const choices: Answered[] = [];
  try {
    for (const prompt of prompts)
      for (let i = 0; i < bestOf; i++) {
        if (maxTokens === 0) choices.push(emptyChoice(prompt.length));
        else {
          const request = generateRequest(service, body, prompt, maxTokens, logprobs, i);
          const mask = asked.mask?.(request.stopTokens ?? []);
          const named = { ...request, mask, name: shape.id };
          choices.push(new Choice(active, engine.model, named, writing));
        }
      }
  } catch (error) {
    active.abort(); // the choices before the one that was refused
    throw requestError(error, body);
  }
  active.pending = 0;
  return choices;
}

/** Of each prompt the n likeliest choices, by their indices. */
function best(choices: readonly Answered[], prompts: number, n: number): number[] {
  const each = choices.length / prompts;
  const likelihood = (index: number) => choices[index].likelihood;
  return Array.from({ length: prompts }, (_, prompt) => {
    const own = Array.from({ length: each }, (_, i) => prompt * each + i);
    return each === n ? own : own.sort((a, b) => likelihood(b) - likelihood(a)).slice(0, n);
  }).flat();
}

export async function answer(
  service: Service,
  active: ActiveRequest,
  asked: Asked,
  shape: Shape,
  out: Output,
): Promise<void> {
  const { body, prompts } = asked;
  const choices = start(service, active, asked, shape);
  const head = { id: shape.id, created: Math.floor(Date.now() / 1000), model: service.modelName };
  if (body.stream) {
    await active.begun(service.streams.patience);
    return stream(active, choices, asked, shape, head, out.stream());
  }
  const texts = choices.map(() => '');
  const events: TokenEvent[][] = choices.map(() => []);
  try {
    for await (const { index, piece } of interleave(choices)) {
      texts[index] += piece?.text ?? '';
      events[index].push(...(piece?.events ?? []));
    }
    const list = await Promise.all(
      best(choices, prompts.length, body.n ?? 1).map(async (from, index) => ({
        index,
        ...(await shape.whole(from, texts[from], events[from])),
        ...ending(choices[from], from, shape),
      })),
    );
    const more = await shape.more?.();
    out.whole({ ...head, object: shape.object, choices: list, usage: usageOf(choices, prompts.length), ...more });
  } catch (error) {
    active.abort();
    throw error;
  }
}

async function stream(
  active: ActiveRequest,
  choices: Answered[],
  { body, prompts }: Asked,
  shape: Shape,
  head: object,
  events: Events,
): Promise<void> {
  const includeUsage = body.stream_options?.include_usage ?? false;
  const send = (list: object[], usage: object | null = null) =>
    events.send({ ...head, object: shape.chunkObject, choices: list, ...(includeUsage ? { usage } : {}) });
  const going = { finish_reason: null, stop_reason: null };
  try {
    for (const index of choices.keys()) {
      if (shape.opening) await send([{ index, ...shape.opening(index), ...going }]);
      if (shape.prefix) await send([{ index, ...(await shape.prefix(index)), ...going }]);
    }
    for await (const { index, piece } of interleave(choices)) {
      // The choice may have ended since this piece; only its last event says so.
      const delta = shape.delta(index, piece);
      const end = piece ? going : ending(choices[index], index, shape);
      if (delta) await send([{ index, ...delta, ...end }]);
    }
    if (includeUsage) await send([], usageOf(choices, prompts.length));
  } catch (error) {
    active.abort();
    const api = toApiError(error);
    if (api.status >= 500) events.log(error);
    await events.send(api.body);
  }
  await events.end();
}
