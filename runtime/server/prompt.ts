/** A client's messages or text → the tokens that the model reads. */
import type { ChatMessage, LoadedModel } from '../model/types.ts';
import type { Encoder } from './encode.ts';
import { ApiError } from './errors.ts';
import type { CompletionRequest, RequestMessage } from './schemas.ts';
import { withCalls } from './tools.ts';

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

/** What of a request shapes the text of a conversation. */
export interface Conversation {
  messages: readonly RequestMessage[];
  add_generation_prompt?: boolean | null;
  continue_final_message?: boolean | null;
  chat_template_kwargs?: Record<string, unknown> | null;
  documents?: unknown;
  chat_template?: unknown;
  /** what the template shows the model */
  shown?: readonly unknown[];
  /** variables beside chat_template_kwargs */
  variables?: Readonly<Record<string, unknown>>;
}

/** Stands behind the message that goes on, to be found in what the template makes of it: private characters that no text has. */
const HERE = '\ue000\ue001\ue002';

/** What the template may ask for besides; documents only where it does. */
function variablesOf({ chatTemplate }: LoadedModel, body: Conversation): Readonly<Record<string, unknown>> {
  if (body.chat_template)
    throw new ApiError(400, 'chat_template is not supported; use skv serve --chat-template.', 'chat_template');
  const { documents, chat_template_kwargs: variables } = body;
  if (!Array.isArray(documents) || documents.length === 0) return variables ?? {};
  if (!/\bdocuments\b/.test(chatTemplate ?? ''))
    throw new ApiError(400, 'The chat template of this model writes no documents.', 'documents');
  return { ...variables, documents };
}

/** The prompt text of a conversation; one whose last message goes on ends where that message ends. */
export function conversationText(model: LoadedModel, body: Conversation): string {
  const messages = withCalls(messagesOf(body.messages), body.messages, model);
  const { shown: tools } = body;
  const variables = { ...body.variables, ...variablesOf(model, body) };
  const goesOn = body.continue_final_message ?? false;
  if (!goesOn)
    return model.chat(messages, { addGenerationPrompt: body.add_generation_prompt ?? true, variables, tools });
  if (body.add_generation_prompt)
    throw new ApiError(
      400,
      'continue_final_message goes on with the last message and add_generation_prompt begins a new one: send one.',
      'continue_final_message',
    );
  const last = messages.at(-1)!;
  const marked = [...messages.slice(0, -1), { ...last, content: last.content + HERE }];
  const text = model.chat(marked, { addGenerationPrompt: false, variables, tools });
  const end = text.lastIndexOf(HERE);
  if (end < 0)
    throw new ApiError(
      400,
      `The chat template does not write a last message of ${last.role}, so it cannot go on.`,
      'continue_final_message',
    );
  return text.slice(0, end).replaceAll(HERE, '');
}

/** The prompts of a completion: one, or a list of them. */
export const promptsOf = ({ prompt }: CompletionRequest): (string | number[])[] =>
  (Array.isArray(prompt) && typeof prompt[0] !== 'number' ? prompt : [prompt]) as (string | number[])[];

/** `keep`: tokens of the end that are read, where not all are. A truncated text keeps its BOS. */
export async function readPrompt(
  encoder: Encoder,
  bos: number | undefined,
  prompt: string | readonly number[],
  { addBos, keep }: { addBos: boolean; keep: number | undefined },
): Promise<Int32Array> {
  const text = typeof prompt === 'string';
  const tokens = text ? await encoder.encode(prompt, { addBos, special: true }) : Int32Array.from(prompt);
  if (keep === undefined || tokens.length <= keep) return tokens;
  const first = text && addBos && tokens[0] === bos && keep > 1 ? 1 : 0;
  return Int32Array.from([...tokens.subarray(0, first), ...tokens.subarray(tokens.length - keep + first)]);
}
