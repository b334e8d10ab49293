/** POST /v1/chat/completions */
import { randomUUID } from 'node:crypto';
import type { TokenEvent } from '../engine/types.ts';
import { type Asked, type Shape, answer } from './answer.ts';
import { ActiveRequest, type Service } from './active-request.ts';
import { chatForm, chatPrompt } from './chat-form.ts';
import type { Encoder } from './encode.ts';
import { ApiError } from './errors.ts';
import { chatLogs } from './logprobs.ts';
import type { Output } from './output.ts';
import { readPrompt } from './prompt.ts';
import { Reply, deltaOf, messageOf } from './reply.ts';
import { keptTokens } from './sampling.ts';
import { checkScores, promptLogs, score } from './scores.ts';
import type { ChatRequest } from './schemas.ts';
import { maskingOf } from './structured.ts';
import { refuseUnsupported } from './unsupported.ts';

/** What would change the answer, and is not there yet, is refused rather than ignored. */
function refuse(body: ChatRequest): void {
  refuseUnsupported(body, 'chat');
  checkScores(body);
  if (body.max_tokens === 0 && (body.max_completion_tokens ?? 0) === 0)
    throw new ApiError(400, 'max_tokens must be at least 1.', 'max_tokens');
  if (body.top_logprobs && !body.logprobs)
    throw new ApiError(400, 'top_logprobs needs logprobs: true.', 'top_logprobs');
}

export async function chat(service: Service, encoder: Encoder, body: ChatRequest, out: Output): Promise<void> {
  refuse(body);
  const { engine } = service;
  const { model } = engine;
  const { text, tools } = chatPrompt(service, body);
  const { form, reading: read, special } = chatForm(service, body, text, tools);
  const maxTokens = body.max_completion_tokens ?? body.max_tokens ?? undefined;
  const reading = {
    addBos: body.add_special_tokens ?? false,
    keep: keptTokens(engine, body, maxTokens ?? service.defaultMaxTokens ?? 1),
  };
  const active = new ActiveRequest(service, out.raw, body.n ?? 1);
  const prompts = [await readPrompt(encoder, model.tokenizer.bos, text, reading)];
  const logprobs = body.logprobs ? (body.top_logprobs ?? 0) : undefined;
  const logs = (events: TokenEvent[]) => (logprobs === undefined ? null : chatLogs(model, events));
  const mask = await maskingOf(service.matchers, form);
  const asked: Asked = { body, prompts, maxTokens, logprobs, mask, special };
  const scores = score(service, active, asked)?.[0];
  const replies = Array.from({ length: body.n ?? 1 }, () => new Reply(read));
  const shape: Shape = {
    id: `chatcmpl-${randomUUID()}`,
    object: 'chat.completion',
    chunkObject: 'chat.completion.chunk',
    whole: (index, said, events) => ({ message: messageOf(said, replies[index]), logprobs: logs(events) }),
    delta: (index, piece) => {
      const delta = deltaOf(piece ? replies[index].push(piece.text) : replies[index].end());
      if (!delta && piece && logprobs === undefined) return undefined;
      return { delta: delta ?? {}, logprobs: piece ? logs(piece.events) : null };
    },
    reason: (index, reason) => (reason === 'stop' && replies[index].calls ? 'tool_calls' : reason),
    more: scores && (async () => ({ prompt_logprobs: promptLogs(model, await scores(), body.prompt_logprobs!) })),
    opening: () => ({ delta: { role: 'assistant', content: '' }, logprobs: null }),
  };
  await answer(service, active, asked, shape, out);
}
