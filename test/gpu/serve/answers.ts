/** Greedy answers of a server, recorded where it runs on the CPU and compared where it runs on a GPU. */
import { join } from 'node:path';
import type { ModelFile } from './models.ts';

export interface Asked {
  policy: string;
  params: Record<string, number>;
  prompt: number[];
  maxTokens: number;
  /** the prompt's own log-probabilities are the answer */
  scored?: boolean;
}

export interface Answer {
  tokens: string[];
  /** of each token */
  logprobs: number[];
  /** by how much the second best token was less likely */
  leads: number[];
}

/** A model with what the CPU answered. */
export interface Recorded extends ModelFile {
  /** of its weights */
  digest: string;
  /** of `skv serve` */
  flags: string[];
  /** names, or files from skv's folder */
  policies: string[];
  /** whether it is asked as clients do, too */
  clients: boolean;
  /** where the GPU's server has its pages; default there */
  place?: 'host';
  /** f32 on both sides, or what a GPU has by default, where tokens are not compared */
  precision: 'f32' | 'bf16';
  /** as far as log-probabilities may be apart, in bf16 on average */
  tolerance: number;
  cases: { asked: Asked; answer: Answer }[];
}

/** What is recorded, beside the models. */
export const RECORDED = 'recorded.json';

const F32 = ['--dtype', 'f32', '--kv-cache-dtype', 'f32'];

/** Flags of the server that is asked; `folder`: skv's, with the models. */
export const flagsOf = (
  folder: string,
  { name, precision, flags, policies }: Pick<Recorded, 'name' | 'precision' | 'flags' | 'policies'>,
): string[] => [
  ...['--model', join(folder, 'models', name), ...(precision === 'f32' ? F32 : []), ...flags],
  ...policies.flatMap((each) => ['--sparse-kv-cache-type', each.endsWith('.ts') ? join(folder, each) : each]),
];

interface Reply {
  error?: { message: string };
  choices: {
    /** null: of a prompt's first token */
    logprobs: {
      tokens: string[];
      token_logprobs: (number | null)[];
      top_logprobs: (Record<string, number> | null)[];
    };
  }[];
}

/** Rejects with what the server says, or when it says nothing for `seconds`. */
export async function ask(
  url: string,
  { policy, params, prompt, maxTokens, scored = false }: Asked,
  seconds: number,
): Promise<Answer> {
  const body = {
    prompt,
    max_tokens: maxTokens,
    ignore_eos: true,
    temperature: 0,
    seed: 5, // for policies that draw
    logprobs: 2,
    echo: scored,
    sparse_kv: { policy, ...params },
  };
  const response = await fetch(new URL('/v1/completions', url), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(seconds * 1000),
  });
  const reply = (await response.json()) as Reply;
  if (!response.ok) throw new Error(`${response.status}: ${reply.error?.message}`);
  const { tokens, token_logprobs, top_logprobs } = reply.choices[0].logprobs;
  const [from, to] = scored ? [1, prompt.length] : [0, maxTokens];
  const leads = top_logprobs.slice(from, to).map((each) => {
    const [first, second] = Object.values(each!).sort((a, b) => b - a);
    return first - second;
  });
  return { tokens: tokens.slice(from, to), logprobs: token_logprobs.slice(from, to) as number[], leads };
}

/** What two answers have in common, in words; throws where they differ. */
export const compare = (
  got: Answer,
  wanted: Answer,
  { precision, tolerance }: Pick<Recorded, 'precision' | 'tolerance'>,
) => (precision === 'f32' ? compareTokens : compareScores)(got, wanted, tolerance);

/** Of a prompt that both were given. */
function compareScores(got: Answer, { logprobs }: Answer, tolerance: number): string {
  const apart = logprobs.reduce((sum, each, i) => sum + Math.abs(each - got.logprobs[i]), 0) / logprobs.length;
  const words = `log-probabilities of ${logprobs.length} tokens are ${apart.toPrecision(2)} apart on average`;
  if (!(apart <= tolerance)) throw new Error(`${words}, and may be ${tolerance}`);
  return words;
}

/**
 * Both are greedy: where the two best tokens are nearer
 * than log-probabilities may be apart on both sides, the other one is a tie, and what follows it is another text.
 */
function compareTokens(got: Answer, wanted: Answer, tolerance: number): string {
  let apart = 0;
  for (let i = 0; i < wanted.tokens.length; i++) {
    if (got.tokens[i] !== wanted.tokens[i]) {
      if (i < got.tokens.length && wanted.leads[i] < 2 * tolerance)
        return `${i} tokens, then a tie (${wanted.leads[i].toExponential(1)})`;
      throw new Error(
        `token ${i} is ${got.tokens[i]}, the CPU's ${wanted.tokens[i]}, which leads by ${wanted.leads[i].toPrecision(2)}`,
      );
    }
    const distance = Math.abs(got.logprobs[i] - wanted.logprobs[i]);
    if (!(distance <= tolerance))
      throw new Error(`token ${i}: its log-probability is ${got.logprobs[i]}, the CPU's ${wanted.logprobs[i]}`);
    apart = Math.max(apart, distance);
  }
  return `${wanted.tokens.length} tokens, log-probabilities within ${apart.toExponential(1)}`;
}
