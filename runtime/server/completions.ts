/** POST /v1/completions */
import { randomUUID } from 'node:crypto';
import { type Asked, type Shape, answer } from './answer.ts';
import { ActiveRequest, type Service } from './active-request.ts';
import type { Encoder } from './encode.ts';
import { ApiError } from './errors.ts';
import { type CompletionLog, CompletionLogs, joinLogs } from './logprobs.ts';
import type { Output } from './output.ts';
import { promptsOf, readPrompt } from './prompt.ts';
import { keptTokens } from './sampling.ts';
import { checkScores, promptLogs, score } from './scores.ts';
import { type CompletionRequest, MAX_SEQUENCES } from './schemas.ts';
import { formOf, maskingOf } from './structured.ts';
import { refuseUnsupported } from './unsupported.ts';

/** Tokens of an answer whose request names no number: OpenAI's. */
const MAX_TOKENS = 16;

function checkChoices(body: CompletionRequest, prompts: number): number {
  const n = body.n ?? 1;
  const bestOf = body.best_of ?? n;
  if (bestOf < n) throw new ApiError(400, `best_of ${bestOf} is less than n ${n}.`, 'best_of');
  if (bestOf > n && body.stream)
    throw new ApiError(400, 'best_of larger than n is known at the end; it cannot be streamed.', 'best_of');
  if (prompts * bestOf > MAX_SEQUENCES)
    throw new ApiError(
      400,
      `${prompts} prompts × n ${bestOf} are more than ${MAX_SEQUENCES} sequences.`,
      bestOf > n ? 'best_of' : 'n',
    );
  return bestOf;
}

export async function complete(
  service: Service,
  encoder: Encoder,
  body: CompletionRequest,
  out: Output,
): Promise<void> {
  refuseUnsupported(body, 'completion');
  const list = promptsOf(body);
  const bestOf = checkChoices(body, list.length);
  checkScores(body);
  if (body.max_tokens === 0 && !body.echo && (body.prompt_logprobs ?? undefined) === undefined)
    throw new ApiError(400, 'max_tokens 0 needs echo or prompt_logprobs.', 'max_tokens');
  const form = formOf(body);
  const { engine } = service;
  const { model } = engine;
  const maxTokens = body.max_tokens ?? service.defaultMaxTokens ?? MAX_TOKENS;
  const reading = { addBos: body.add_special_tokens ?? true, keep: keptTokens(engine, body, maxTokens) };
  const active = new ActiveRequest(service, out.raw, list.length * bestOf);
  const prompts = await Promise.all(list.map((prompt) => readPrompt(encoder, model.tokenizer.bos, prompt, reading)));
  const logprobs = body.logprobs ?? undefined;
  const mask = await maskingOf(service.matchers, form);
  const asked: Asked = { body, prompts, maxTokens, logprobs, bestOf, mask };
  const scores = score(service, active, asked, body.echo ? logprobs : undefined);
  const logs = Array.from(
    { length: list.length * bestOf },
    () => new CompletionLogs(model, body.skip_special_tokens === false),
  );
  /** The prompt of a choice as text, and its log-probabilities where they are asked for. */
  const echo = async (index: number): Promise<{ text: string; logprobs: CompletionLog | null }> => {
    const at = Math.floor(index / bestOf);
    const whole = typeof list[at] === 'string' && reading.keep === undefined;
    const text = whole ? (list[at] as string) : model.tokenizer.decode(prompts[at]);
    const events = logprobs === undefined ? undefined : await scores?.[at]();
    return { text, logprobs: events ? logs[index].prompt(events, text, logprobs!) : null };
  };
  const wanted = body.prompt_logprobs ?? undefined;
  const shape: Shape = {
    id: `cmpl-${randomUUID()}`,
    object: 'text_completion',
    chunkObject: 'text_completion',
    whole: async (index, text, events) => {
      const before = body.echo ? await echo(index) : undefined;
      const own = logprobs === undefined ? null : logs[index].of(events);
      const scored = wanted === undefined ? undefined : await scores![Math.floor(index / bestOf)]();
      return {
        text: (before?.text ?? '') + text,
        logprobs: before?.logprobs && own ? joinLogs(before.logprobs, own) : own,
        ...(scored ? { prompt_logprobs: promptLogs(model, scored, wanted!) } : {}),
      };
    },
    delta: (index, piece) => ({
      text: piece?.text ?? '',
      logprobs: piece && logprobs !== undefined ? logs[index].of(piece.events) : null,
    }),
    prefix: body.echo ? echo : undefined,
  };
  await answer(service, active, asked, shape, out);
}
