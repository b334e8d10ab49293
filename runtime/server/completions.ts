/** POST /v1/completions */
import { randomUUID } from 'node:crypto';
import type { FastifyReply } from 'fastify';
import type { TokenEvent } from '../engine/types.ts';
import { type Shape, answer } from './answer.ts';
import { ActiveRequest, type Service } from './active-request.ts';
import type { Encoder } from './encode.ts';
import { ApiError, requestError } from './errors.ts';
import { CompletionLogs, scorePrompt } from './logprobs.ts';
import { generateRequest } from './sampling.ts';
import { type CompletionRequest, MAX_SEQUENCES } from './schemas.ts';

export async function complete(
  service: Service,
  encoder: Encoder,
  body: CompletionRequest,
  reply: FastifyReply,
): Promise<void> {
  if (body.suffix) throw new ApiError(400, 'suffix is not supported.', 'suffix');
  const n = body.n ?? 1;
  if (body.best_of && body.best_of > n) throw new ApiError(400, 'best_of larger than n is not supported.', 'best_of');
  const list = (Array.isArray(body.prompt) && typeof body.prompt[0] !== 'number' ? body.prompt : [body.prompt]) as (
    | string
    | number[]
  )[];
  if (list.length * n > MAX_SEQUENCES)
    throw new ApiError(400, `${list.length} prompts × n ${n} are more than ${MAX_SEQUENCES} sequences.`, 'n');
  const { engine } = service;
  const active = new ActiveRequest(service, reply.raw, list.length * n);
  const prompts = await Promise.all(
    list.map(async (prompt) =>
      typeof prompt === 'string' ? encoder.encode(prompt, { addBos: true, special: true }) : Int32Array.from(prompt),
    ),
  );
  const asked = { body, prompts, maxTokens: body.max_tokens ?? 16, logprobs: body.logprobs ?? undefined };
  let scores: TokenEvent[][] | undefined;
  if (body.echo && asked.logprobs !== undefined) {
    try {
      scores = await Promise.all(
        prompts.map((prompt) =>
          scorePrompt(active, generateRequest(engine, body, prompt, asked.maxTokens, asked.logprobs, 0)),
        ),
      );
    } catch (error) {
      active.abort();
      throw requestError(error, body);
    }
  }
  const logs = Array.from({ length: list.length * n }, () => new CompletionLogs(engine.model));
  const logsOf = (index: number, events: TokenEvent[]) =>
    asked.logprobs === undefined ? null : logs[index].of(events);
  const echo = (index: number) => {
    const at = Math.floor(index / n);
    const prompt = list[at];
    return {
      text: typeof prompt === 'string' ? prompt : engine.model.tokenizer.decode(prompts[at]),
      events: scores?.[at] ?? [],
    };
  };
  const shape: Shape = {
    id: `cmpl-${randomUUID()}`,
    object: 'text_completion',
    chunkObject: 'text_completion',
    whole: (index, text, events) => ({ text, logprobs: logsOf(index, events) }),
    delta: (index, piece) => ({ text: piece?.text ?? '', logprobs: piece ? logsOf(index, piece.events) : null }),
    prefix: body.echo ? echo : undefined,
  };
  await answer(service, active, asked, shape, reply);
}
