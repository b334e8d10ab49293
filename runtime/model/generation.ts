/**
 * How a model wants to be sampled: generation_config.json, or GGUF's general.sampling keys. As vLLM and llama.cpp do, what is
 * said there stands in where a request says nothing; what has no counterpart here is told.
 */
import type { GgufValue } from './gguf.ts';
import { ModelError, type SamplingDefaults } from './types.ts';

interface Setting {
  readonly to: keyof SamplingDefaults;
  readonly low: number;
  readonly high: number;
}

const settings: Readonly<Record<string, Setting>> = {
  temperature: { to: 'temperature', low: 0, high: 2 },
  top_p: { to: 'topP', low: Number.MIN_VALUE, high: 1 },
  top_k: { to: 'topK', low: 0, high: 1 << 21 },
  min_p: { to: 'minP', low: 0, high: 1 },
  repetition_penalty: { to: 'repetitionPenalty', low: Number.MIN_VALUE, high: 10 },
};

/** Keys of generation_config.json that would change what is generated and are not obeyed; others say nothing of it. */
const unheard =
  /^(typical_p|epsilon_cutoff|eta_cutoff|top_h|diversity_penalty|num_beams|num_beam_groups|penalty_alpha|.*no_repeat_ngram_size|length_penalty|encoder_repetition_penalty|exponential_decay_length_penalty|bad_words_ids|force_words_ids|forced_(bos|eos)_token_id|(begin_)?suppress_tokens|sequence_bias|guidance_scale|watermarking_config|dola_layers|stop_strings|min_length|min_new_tokens|max_new_tokens|max_time)$/;

/** Values of such keys that change nothing. */
const idle = (value: unknown): boolean =>
  value === null || value === false || value === 0 || value === 1 || (Array.isArray(value) && value.length === 0);

/** llama.cpp's names of the same settings. */
const ggufNames: Readonly<Record<string, string>> = { temp: 'temperature', penalty_repeat: 'repetition_penalty' };

/** Defaults, and keys that are not obeyed. Throws a ModelError for a value that makes no sense. */
function read(given: ReadonlyMap<string, unknown>, where: (key: string) => string) {
  const defaults: Partial<Record<keyof SamplingDefaults, number>> = {};
  for (const [key, { to, low, high }] of Object.entries(settings)) {
    const value = given.get(key);
    if (value === undefined || value === null) continue;
    if (typeof value !== 'number' || !(value >= low && value <= high))
      throw new ModelError(
        `${where(key)} is ${JSON.stringify(value)}, outside ${low > 0 ? 'what is above ' : ''}${low > 0 ? 0 : low} … ${high}.`,
      );
    defaults[to] = value;
  }
  return defaults;
}

export interface Generation {
  readonly sampling: SamplingDefaults;
  readonly notes: readonly string[];
}

/** What generation_config.json says of sampling. Without sampling (do_sample: false) its temperatures concern nobody. */
export function generationOf(json: Record<string, unknown>, file: string): Generation {
  const keys =
    json.do_sample === false
      ? new Map([['repetition_penalty', json.repetition_penalty]])
      : new Map(Object.entries(json));
  const left = Object.keys(json).filter((key) => unheard.test(key) && !idle(json[key]));
  return {
    sampling: read(keys, (key) => `${file}: ${key}`),
    notes: left.length ? [`${file}: ${left.join(', ')}: not supported, and not obeyed.`] : [],
  };
}

const BELOW = 'general.sampling.';

/** What GGUF's general.sampling keys say. */
export function ggufGeneration(metadata: ReadonlyMap<string, GgufValue>, file: string): Generation {
  const own = [...metadata].filter(([key]) => key.startsWith(BELOW));
  const keys = new Map(
    own.map(([key, value]): [string, unknown] => {
      const name = key.slice(BELOW.length);
      return [Object.hasOwn(ggufNames, name) ? ggufNames[name] : name, value];
    }),
  );
  const left = [...keys].filter(
    ([key, value]) => !Object.hasOwn(settings, key) && key !== 'penalty_last_n' && !idle(value),
  );
  return {
    sampling: read(keys, (key) => `${file}: metadata ${BELOW}${key}`),
    notes: left.length
      ? [`${file}: ${left.map(([key]) => BELOW + key).join(', ')}: not supported, and not obeyed.`]
      : [],
  };
}

/** Defaults in words, for a line at the start; undefined where a model has none. */
export function samplingText(sampling: SamplingDefaults): string | undefined {
  const said = Object.entries(settings).flatMap(([key, { to }]) =>
    sampling[to] === undefined ? [] : [`${key} ${Number(sampling[to].toPrecision(6))}`],
  );
  return said.length ? said.join(', ') : undefined;
}
