/** POST /v1/chat/completions */
import { randomUUID } from 'node:crypto';
import type { TokenEvent } from '../engine/types.ts';
import { type Asked, type Shape, answer } from './answer.ts';
import { ActiveRequest, type Service } from './active-request.ts';
import type { Encoder } from './encode.ts';
import { ApiError } from './errors.ts';
import { chatLogs } from './logprobs.ts';
import type { Output } from './output.ts';
import { conversationText, readPrompt } from './prompt.ts';
import { keptTokens } from './sampling.ts';
import { checkScores, promptLogs, score } from './scores.ts';
import type { ChatRequest } from './schemas.ts';
import { maskingOf, structureOf } from './structured.ts';
import { refuseUnsupported } from './unsupported.ts';

/** What would change the answer, and is not there yet, is refused rather than ignored. */
function refuse(body: ChatRequest): void {
  refuseUnsupported(body, 'chat');
  checkScores(body);
  if (body.max_tokens === 0 && (body.max_completion_tokens ?? 0) === 0)
    throw new ApiError(400, 'max_tokens must be at least 1.', 'max_tokens');
  if (body.tools?.length && body.tool_choice !== 'none') throw new ApiError(400, 'Tools are not supported.', 'tools');
  if (body.top_logprobs && !body.logprobs)
    throw new ApiError(400, 'top_logprobs needs logprobs: true.', 'top_logprobs');
}

export async function chat(service: Service, encoder: Encoder, body: ChatRequest, out: Output): Promise<void> {
  refuse(body);
  const structure = structureOf(body);
  const { engine } = service;
  const { model } = engine;
  const text = conversationText(model, body);
  const maxTokens = body.max_completion_tokens ?? body.max_tokens ?? undefined;
  const reading = {
    addBos: body.add_special_tokens ?? false,
    keep: keptTokens(engine, body, maxTokens ?? service.defaultMaxTokens ?? 1),
  };
  const active = new ActiveRequest(service, out.raw, body.n ?? 1);
  const prompts = [await readPrompt(encoder, model.tokenizer.bos, text, reading)];
  const logprobs = body.logprobs ? (body.top_logprobs ?? 0) : undefined;
  const logs = (events: TokenEvent[]) => (logprobs === undefined ? null : chatLogs(model, events));
  const mask = await maskingOf(service.matchers, structure);
  const asked: Asked = { body, prompts, maxTokens, logprobs, mask };
  const scores = score(service, active, asked)?.[0];
  const shape: Shape = {
    id: `chatcmpl-${randomUUID()}`,
    object: 'chat.completion',
    chunkObject: 'chat.completion.chunk',
    whole: (_, content, events) => ({ message: { role: 'assistant', content, refusal: null }, logprobs: logs(events) }),
    delta: (_, piece) => ({ delta: piece ? { content: piece.text } : {}, logprobs: piece ? logs(piece.events) : null }),
    more: scores && (async () => ({ prompt_logprobs: promptLogs(model, await scores(), body.prompt_logprobs!) })),
    opening: () => ({ delta: { role: 'assistant', content: '' }, logprobs: null }),
  };
  await answer(service, active, asked, shape, out);
}
