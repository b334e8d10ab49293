/** What POST /v1/messages takes: Anthropic's protocol. Sampling beyond it is the chat's, handed on as it is. */
import { z } from 'zod';
import { schema, toolName } from '../schemas.ts';

const block = z.object({ type: z.string(), text: z.string().optional() }).loose();
export type Block = z.infer<typeof block>;

const content = z.union([z.string(), z.array(block)], { error: 'must be a string or a list of blocks' });

const conversation = {
  model: z.string().nullish(),
  messages: z.array(z.object({ role: z.enum(['user', 'assistant', 'system']), content }).loose()).min(1),
  system: content.nullish(),
  tools: z
    .array(z.object({ name: toolName, type: z.string().nullish(), input_schema: schema.nullish() }).loose())
    .nullish(),
  tool_choice: z
    .object({ type: z.enum(['auto', 'any', 'tool', 'none']) })
    .loose()
    .nullish(),
  thinking: z
    .object({ type: z.enum(['enabled', 'disabled', 'adaptive']) })
    .loose()
    .nullish(),
};

export const messagesRequest = z
  .object({
    ...conversation,
    max_tokens: z
      .number()
      .int()
      .min(1)
      .max(1 << 24),
    stop_sequences: z.array(z.string()).max(16).nullish(),
    stream: z.boolean().nullish(),
  })
  .loose();
export type MessagesRequest = z.infer<typeof messagesRequest>;

export const countRequest = z.object(conversation).loose();
export type CountRequest = z.infer<typeof countRequest>;
