/** POST /v1/completions and /v1/chat/completions: one engine, two shapes of answer. */
import { randomUUID } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { EngineApi, TokenEvent } from '../engine/types.ts';
import type { ChatMessage } from '../model/types.ts';
import { Choice, type Piece, type Usage, interleave, usageOf } from './choice.ts';
import { ApiError, toApiError } from './errors.ts';
import { generateRequest, stopStrings } from './sampling.ts';
import type { ChatRequest, CommonRequest, CompletionRequest } from './schemas.ts';
import { EventStream } from './sse.ts';
import type { Encoder } from './encode.ts';

export interface Service {
  readonly engine: EngineApi;
  readonly encoder: Encoder;
  readonly modelName: string;
  /** requests that wait or run are at most this many; more get a 429 */
  readonly maxQueue: number;
  readonly draining: () => boolean;
}

/** How one of the two endpoints writes its answers. */
interface Shape {
  readonly id: string;
  readonly object: string;
  readonly chunkObject: string;
  /** a choice of a whole answer */
  whole(index: number, text: string, events: TokenEvent[], choice: Choice): object;
  /** a choice of a streamed event; null text: the end */
  delta(index: number, piece: Piece | undefined, choice: Choice): object;
  /** what comes before the first token of a choice, if anything */
  opening?(index: number): object;
}

/** Admission, generation, and the answer, whole or streamed. */
async function respond(service: Service, body: CommonRequest, prompts: Int32Array[], maxTokens: number | undefined, logprobs: number | undefined, shape: Shape, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const { engine } = service;
  const { running, waiting } = engine.stats();
  const n = body.n ?? 1;
  if (service.draining()) throw new ApiError(503, 'The server is shutting down.', null, null, { 'retry-after': '5' });
  if (running + waiting + n * prompts.length > service.maxQueue) throw new ApiError(429, `The server has ${running + waiting} requests under way, its limit is ${service.maxQueue}. Try again soon.`, null, 'queue_full', { 'retry-after': '1' });
  const choices: Choice[] = [];
  const abort = () => {
    for (const choice of choices) choice.generation.abort();
  };
  try {
    for (const prompt of prompts) for (let i = 0; i < n; i++) choices.push(new Choice(engine, generateRequest(engine, body, prompt, maxTokens, logprobs, i), stopStrings(body), body.include_stop_str_in_output ?? false));
  } catch (error) {
    abort(); // the choices before the one that was refused
    throw error;
  }
  const head = { id: shape.id, created: Math.floor(Date.now() / 1000), model: service.modelName };
  if (!body.stream) {
    request.raw.socket.once('close', abort);
    const texts = choices.map(() => '');
    const events = choices.map((): TokenEvent[] => []);
    try {
      for await (const { index, piece } of interleave(choices)) {
        texts[index] += piece?.text ?? '';
        events[index].push(...(piece?.events ?? []));
      }
    } finally {
      request.raw.socket.off('close', abort);
    }
    const usage: Usage = usageOf(choices, prompts.length);
    return void reply.send({ ...head, object: shape.object, choices: choices.map((choice, index) => shape.whole(index, texts[index], events[index], choice)), usage });
  }
  const stream = new EventStream(reply, abort);
  const chunk = (list: object[], more: object = {}) => stream.send({ ...head, object: shape.chunkObject, choices: list, ...more });
  try {
    if (shape.opening) for (const index of choices.keys()) await chunk([shape.opening(index)]);
    for await (const { index, piece } of interleave(choices)) await chunk([shape.delta(index, piece, choices[index])]);
    if (body.stream_options?.include_usage) await chunk([], { usage: usageOf(choices, prompts.length) });
    await stream.end();
  } catch (error) {
    abort();
    await stream.send(toApiError(error).body);
    await stream.end();
  }
}

const bytesOf = (engine: EngineApi, token: number): number[] => [...engine.model.tokenizer.bytes(token)];
const textOf = (engine: EngineApi, token: number): string => engine.model.tokenizer.decode([token]);

export async function complete(service: Service, body: CompletionRequest, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  if (body.suffix) throw new ApiError(400, 'suffix is not supported.', 'suffix');
  if (body.best_of && body.best_of > (body.n ?? 1)) throw new ApiError(400, 'best_of larger than n is not supported.', 'best_of');
  const { engine } = service;
  const list = (Array.isArray(body.prompt) && typeof body.prompt[0] !== 'number' ? body.prompt : [body.prompt]) as (string | number[])[];
  const prompts = await Promise.all(list.map(async (prompt) => (typeof prompt === 'string' ? service.encoder.encode(prompt, { addBos: true }) : Int32Array.from(prompt))));
  const logprobs = body.logprobs ?? undefined;
  const n = body.n ?? 1;
  const offsets = new Map<number, number>();
  const logs = (index: number, events: TokenEvent[]) => {
    if (logprobs === undefined) return null;
    let offset = offsets.get(index) ?? 0;
    const text_offset = events.map(({ token }) => {
      const at = offset;
      offset += textOf(engine, token).length;
      return at;
    });
    offsets.set(index, offset);
    return {
      tokens: events.map(({ token }) => textOf(engine, token)),
      token_logprobs: events.map(({ logprob }) => logprob ?? null),
      top_logprobs: events.map(({ alternatives }) => Object.fromEntries((alternatives ?? []).map(({ token, logprob }) => [textOf(engine, token), logprob]))),
      text_offset,
    };
  };
  const echo = (index: number): string => {
    if (!body.echo) return '';
    const at = Math.floor(index / n);
    return typeof list[at] === 'string' ? (list[at] as string) : engine.model.tokenizer.decode(prompts[at]);
  };
  const shape: Shape = {
    id: `cmpl-${randomUUID()}`,
    object: 'text_completion',
    chunkObject: 'text_completion',
    whole: (index, text, events, choice) => ({ index, text: echo(index) + text, logprobs: logs(index, events), finish_reason: choice.reason, stop_reason: choice.stopReason }),
    delta: (index, piece, choice) => ({ index, text: piece?.text ?? '', logprobs: piece ? logs(index, piece.events) : null, finish_reason: piece ? null : choice.reason }),
    opening: body.echo ? (index) => ({ index, text: echo(index), logprobs: null, finish_reason: null }) : undefined,
  };
  await respond(service, body, prompts, body.max_tokens ?? 16, logprobs, shape, request, reply);
}

/** Content parts as text; what is not text is refused. */
function messagesOf(body: ChatRequest): ChatMessage[] {
  return body.messages.map((message, i) => {
    const { content } = message;
    if (!Array.isArray(content)) return { ...message, content: content ?? '' };
    for (const part of content) if (part.type !== 'text' || part.text === undefined) throw new ApiError(400, `messages.${i}.content: parts of type ${part.type} are not supported; only text is.`, `messages.${i}.content`);
    return { ...message, content: content.map((part) => part.text).join('') };
  });
}

export async function chat(service: Service, body: ChatRequest, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const { engine } = service;
  if (body.top_logprobs && !body.logprobs) throw new ApiError(400, 'top_logprobs needs logprobs: true.', 'top_logprobs');
  const text = engine.model.chat(messagesOf(body), { addGenerationPrompt: body.add_generation_prompt ?? true });
  const prompt = await service.encoder.encode(text, { special: true });
  const logprobs = body.logprobs ? (body.top_logprobs ?? 0) : undefined;
  const entry = ({ token, logprob }: { token: number; logprob?: number }) => ({ token: textOf(engine, token), logprob: logprob ?? null, bytes: bytesOf(engine, token) });
  const logs = (events: TokenEvent[]) =>
    logprobs === undefined ? null : { content: events.map((event) => ({ ...entry(event), top_logprobs: (event.alternatives ?? []).map(entry) })), refusal: null };
  const shape: Shape = {
    id: `chatcmpl-${randomUUID()}`,
    object: 'chat.completion',
    chunkObject: 'chat.completion.chunk',
    whole: (index, content, events, choice) => ({ index, message: { role: 'assistant', content, refusal: null }, logprobs: logs(events), finish_reason: choice.reason, stop_reason: choice.stopReason }),
    delta: (index, piece, choice) => ({ index, delta: piece ? { content: piece.text } : {}, logprobs: piece ? logs(piece.events) : null, finish_reason: piece ? null : choice.reason }),
    opening: (index) => ({ index, delta: { role: 'assistant', content: '' }, logprobs: null, finish_reason: null }),
  };
  await respond(service, body, [prompt], body.max_completion_tokens ?? body.max_tokens ?? undefined, logprobs, shape, request, reply);
}
