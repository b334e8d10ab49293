/** What POST /v1/responses takes. Sampling beyond OpenAI's is the chat's: those fields are handed on as they are. */
import { z } from 'zod';
import { record } from '../schemas.ts';

const item = z
  .object({ type: z.string().optional(), role: z.string().optional(), content: z.unknown().optional() })
  .loose();
export type Item = z.infer<typeof item>;

const tool = z.object({ type: z.string(), name: z.string().optional() }).loose();

export const responsesRequest = z
  .object({
    model: z.string().nullish(),
    input: z.union([z.string(), z.array(item).min(1)], { error: 'must be a string or a list of items' }).nullish(),
    instructions: z.string().nullish(),
    previous_response_id: z.string().nullish(),
    store: z.boolean().nullish(),
    stream: z.boolean().nullish(),
    max_output_tokens: z
      .number()
      .int()
      .min(1)
      .max(1 << 24)
      .nullish(),
    text: z
      .object({ format: z.object({ type: z.string() }).loose().nullish() })
      .loose()
      .nullish(),
    tools: z.array(tool).nullish(),
    tool_choice: z.union([z.string(), z.object({ type: z.string() }).loose()]).nullish(),
    reasoning: z.object({ effort: z.string().nullish() }).loose().nullish(),
    metadata: record(z.string()).nullish(),
  })
  .loose();
export type ResponsesRequest = z.infer<typeof responsesRequest>;
