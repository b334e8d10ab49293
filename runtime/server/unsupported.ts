/**
 * What clients of OpenAI, vLLM and llama.cpp send and this server does not do: refused by name, never dropped. A field that
 * is not here passes: it cannot change the answer.
 */
import { isDeepStrictEqual } from 'node:util';
import { ApiError } from './errors.ts';

interface Field {
  /** values that ask for nothing, beside null, false, '', [] and {} */
  readonly idle?: readonly unknown[];
  /** what to send instead */
  readonly instead?: string;
}

/** Of vLLM's and llama.cpp's sampling and of OpenAI's older API. */
const common: Readonly<Record<string, Field>> = {
  use_beam_search: {},
  length_penalty: { idle: [1] },
  early_stopping: {},
  no_repeat_ngram_size: { idle: [0] },
  repetition_detection: {},
  typical_p: { idle: [1] },
  tfs_z: { idle: [1] },
  top_a: { idle: [0] },
  top_n_sigma: { idle: [-1, 0] },
  mirostat: { idle: [0] },
  mirostat_mode: { idle: [0] },
  dry_multiplier: { idle: [0] },
  xtc_probability: { idle: [0] },
  dynatemp_range: { idle: [0] },
  adaptive_target: { idle: [-1] },
  repeat_penalty: { idle: [1], instead: 'repetition_penalty' },
  n_predict: { instead: 'max_tokens' },
  logits_processors: {},
  thinking_token_budget: {},
  return_tokens_as_token_ids: {},
  return_token_ids: {},
  logprob_token_ids: {},
  truncation_side: { idle: ['left'] },
  prompt_embeds: {},
  mm_processor_kwargs: {},
  lora: {},
};

const completions: Readonly<Record<string, Field>> = {
  ...common,
  suffix: {},
  messages: { instead: '/v1/chat/completions' },
  max_completion_tokens: { instead: 'max_tokens' },
};

const chats: Readonly<Record<string, Field>> = {
  ...common,
  best_of: { idle: [1], instead: 'n' },
  echo: {},
  functions: { instead: 'tools' },
  function_call: { idle: ['none', 'auto'], instead: 'tool_choice' },
  modalities: { idle: [['text']] },
  audio: {},
  web_search_options: {},
  verbosity: { idle: ['medium'] },
};

const asksNothing = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === false ||
  value === '' ||
  (typeof value === 'object' && Object.keys(value).length === 0);

/** Throws a 400 for the first field that would change the answer and is not obeyed. */
export function refuseUnsupported(body: Readonly<Record<string, unknown>>, kind: 'chat' | 'completion'): void {
  for (const [name, { idle = [], instead }] of Object.entries(kind === 'chat' ? chats : completions)) {
    const value = body[name];
    if (asksNothing(value) || idle.some((each) => isDeepStrictEqual(each, value))) continue;
    throw new ApiError(
      400,
      `${name} is not supported${instead ? `; use ${instead}` : ''}.`,
      name,
      'unsupported_parameter',
    );
  }
}
