/** The tokens of a request without running it, for routers that look where their prefixes are kept; vLLM's form. */
import { randomUUID } from 'node:crypto';
import type { Service } from './active-request.ts';
import type { Encoder } from './encode.ts';
import { chatPrompt } from './chat-form.ts';
import { promptsOf, readPrompt } from './prompt.ts';
import { keptTokens } from './sampling.ts';
import type { ChatRequest, CompletionRequest } from './schemas.ts';
import { refuseUnsupported } from './unsupported.ts';

interface Rendered {
  request_id: string;
  model: string;
  token_ids: number[];
}

export async function renderChat(service: Service, encoder: Encoder, body: ChatRequest): Promise<Rendered> {
  const { engine, modelName } = service;
  refuseUnsupported(body, 'chat');
  const { text } = chatPrompt(service, body);
  const keep = keptTokens(engine, body, body.max_completion_tokens ?? body.max_tokens ?? 1);
  const reading = { addBos: body.add_special_tokens ?? false, keep };
  const tokens = await readPrompt(encoder, engine.model.tokenizer.bos, text, reading);
  return { request_id: `chatcmpl-${randomUUID()}`, model: modelName, token_ids: [...tokens] };
}

export async function renderCompletion(
  { engine, modelName }: Service,
  encoder: Encoder,
  body: CompletionRequest,
): Promise<Rendered[]> {
  refuseUnsupported(body, 'completion');
  const reading = { addBos: body.add_special_tokens ?? true, keep: keptTokens(engine, body, body.max_tokens ?? 1) };
  return Promise.all(
    promptsOf(body).map(async (prompt) => {
      const tokens = await readPrompt(encoder, engine.model.tokenizer.bos, prompt, reading);
      return { request_id: `cmpl-${randomUUID()}`, model: modelName, token_ids: [...tokens] };
    }),
  );
}
