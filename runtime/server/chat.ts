/** POST /v1/chat/completions */
import { randomUUID } from 'node:crypto';
import type { FastifyReply } from 'fastify';
import type { TokenEvent } from '../engine/types.ts';
import type { ChatMessage } from '../model/types.ts';
import { type Shape, answer } from './answer.ts';
import { ActiveRequest, type Service } from './active-request.ts';
import type { Encoder } from './encode.ts';
import { ApiError } from './errors.ts';
import { chatLogs } from './logprobs.ts';
import type { ChatRequest, RequestMessage } from './schemas.ts';

/** Content parts as text; what is not text is refused. */
export function messagesOf(messages: readonly RequestMessage[]): ChatMessage[] {
  return messages.map((message, i) => {
    // OpenAI's newer name for the same role; templates know the older one.
    const role = message.role === 'developer' ? 'system' : message.role;
    const { content } = message;
    if (!Array.isArray(content)) return { ...message, role, content: content ?? '' };
    for (const { type, text } of content)
      if (type !== 'text' || typeof text !== 'string')
        throw new ApiError(
          400,
          `Content parts of type ${type} are not supported; only text is.`,
          `messages[${i}].content`,
        );
    return { ...message, role, content: content.map((part) => part.text).join('') };
  });
}

/** What would change the answer, and is not there yet, is refused rather than ignored. */
function refuseUnsupported(body: ChatRequest): void {
  if (body.tools?.length && body.tool_choice !== 'none') throw new ApiError(400, 'Tools are not supported.', 'tools');
  const format = body.response_format?.type ?? 'text';
  if (format !== 'text')
    throw new ApiError(400, `The response format ${format} is not supported; only text is.`, 'response_format');
  if (body.top_logprobs && !body.logprobs)
    throw new ApiError(400, 'top_logprobs needs logprobs: true.', 'top_logprobs');
}

export async function chat(service: Service, encoder: Encoder, body: ChatRequest, reply: FastifyReply): Promise<void> {
  refuseUnsupported(body);
  const { model } = service.engine;
  const text = model.chat(messagesOf(body.messages), {
    addGenerationPrompt: body.add_generation_prompt ?? true,
    variables: body.chat_template_kwargs ?? {},
  });
  const active = new ActiveRequest(service, reply.raw, body.n ?? 1);
  const prompts = [await encoder.encode(text, { special: true })];
  const logprobs = body.logprobs ? (body.top_logprobs ?? 0) : undefined;
  const logs = (events: TokenEvent[]) => (logprobs === undefined ? null : chatLogs(model, events));
  const shape: Shape = {
    id: `chatcmpl-${randomUUID()}`,
    object: 'chat.completion',
    chunkObject: 'chat.completion.chunk',
    whole: (_, content, events) => ({ message: { role: 'assistant', content, refusal: null }, logprobs: logs(events) }),
    delta: (_, piece) => ({ delta: piece ? { content: piece.text } : {}, logprobs: piece ? logs(piece.events) : null }),
    opening: () => ({ delta: { role: 'assistant', content: '' }, logprobs: null }),
  };
  const maxTokens = body.max_completion_tokens ?? body.max_tokens ?? undefined;
  await answer(service, active, { body, prompts, maxTokens, logprobs }, shape, reply);
}
