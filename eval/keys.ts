/**
 * Key retrieval: a number told once in a long text, asked for at its end. As RULER's single needle (Hsieh et al. 2024,
 * arXiv:2404.06654) in a real text, none of which is repeated: the beginning of the answer is given, so that a small model
 * is judged by what its cache holds and not by how it likes to answer.
 */
import { random } from '../codegen/oracle/random.ts';
import type { BuiltPolicy } from '../codegen/plan/types.ts';
import type { LoadedModel } from '../runtime/model/types.ts';
import { Engine } from '../runtime/engine/engine.ts';
import { UserError } from '../toolchain/errors.ts';

/** What of a model a prompt is made with. */
type Speaker = Pick<LoadedModel, 'tokenizer' | 'chat' | 'hasChatTemplate'>;

export interface KeyPrompt {
  tokens: Int32Array;
  /** tokens before the question */
  read: number;
  /** 5 to 7 digits */
  key: string;
  /** part of the text that comes before it, 0 … 1 */
  depth: number;
}

export interface PromptSpec {
  /** token ids of a long text; trial i takes its own from i · length on */
  text: Int32Array;
  /** tokens of each prompt, the question and the chat template included */
  length: number;
  trials: number;
  seed: number;
}

export interface KeySpec {
  /** fraction of the sequence to keep, above 0, up to 1; instead of the policy's budget */
  ratio?: number;
  params?: Readonly<Record<string, number>>;
  /** told what the user should know */
  note?: (line: string) => void;
  /** the prompt ends before the question, which is fed after the policy has thinned the text */
  blind?: boolean;
}

export interface Keys {
  found: number;
  /** at the end of the last trial */
  cacheBytes: number;
  trials: { depth: number; key: string; answer: string; found: boolean }[];
}

/** Most tokens of an answer: a blank and 7 digits need 8. */
export const ANSWER = 16;

const things = ['lighthouse', 'harbour gate', 'old library', 'boat house', 'wine cellar', 'bell tower', 'garden shed'];
const told = (thing: string, key: string) =>
  `\n\nThe pass key of the ${thing} is the number ${key}. Remember it: ${key} is the pass key of the ${thing}.\n\n`;
const asked = (thing: string) => `\n\nWhat is the pass key of the ${thing}?`;
const begun = (thing: string) => `The pass key of the ${thing} is the number`;

/** The key of trial i lies at depth (i + ½) / trials of its text, or at the end of a sentence shortly before that. */
export function keyPrompts(model: Speaker, { text, length, trials, seed }: PromptSpec): KeyPrompt[] {
  const { tokenizer } = model;
  const encode = (part: string) => [...tokenizer.encode(part)];
  const draw = random(seed);
  const pick = (count: number) => Math.floor(draw() * count);
  const mark = '<text>';
  const [before, after] = model.hasChatTemplate
    ? model
        .chat([{ role: 'user', content: mark }])
        .split(mark)
        .map((part) => [...tokenizer.encode(part, { special: true })])
    : [[...tokenizer.encode('', { addBos: true })], encode('\n\n')];
  const endsSentence = (token: number) => /[.!?]["”’]?\s*$/.test(tokenizer.decode([token]));
  return Array.from({ length: trials }, (_, i) => {
    const thing = things[pick(things.length)];
    const key = String(Math.floor(10 ** (4 + pick(3)) * (1 + 9 * draw())));
    const needle = encode(told(thing, key));
    const question = [...encode(asked(thing)), ...after, ...encode(begun(thing))];
    const room = length - before.length - needle.length - question.length;
    if (room < trials) throw new UserError(`${length} tokens are too few: key and question take ${length - room}.`);
    const around = text.subarray(i * length, i * length + room);
    const wanted = Math.round(((i + 0.5) / trials) * room);
    const near = wanted - Math.floor(room / (4 * trials));
    let at = wanted;
    while (at > near && !endsSentence(around[at - 1])) at--;
    if (at === near) at = wanted;
    const tokens = Int32Array.from([
      ...before,
      ...around.subarray(0, at),
      ...needle,
      ...around.subarray(at),
      ...question,
    ]);
    return { tokens, read: length - question.length, key, depth: at / room };
  });
}

/** What was generated, up to an end of text. */
export function answerOf({ tokenizer }: Speaker, tokens: readonly number[]): string {
  const end = tokens.findIndex((token) => tokenizer.eos.includes(token));
  return tokenizer.decode(tokens.slice(0, end < 0 ? undefined : end), { skipSpecial: true });
}

/** Whether an answer names the key, and not a longer number. */
export const names = (answer: string, key: string): boolean => new RegExp(`(?<!\\d)${key}(?!\\d)`).test(answer);

/** Greedy answers to every prompt. Blind, the key is fed too: its tokens must each be the likeliest, which is the same. */
export async function keys(
  model: LoadedModel,
  policy: BuiltPolicy,
  prompts: readonly KeyPrompt[],
  { ratio, params = {}, blind = false, note }: KeySpec,
): Promise<Keys> {
  const engine = await Engine.create({ model, policies: [policy], maxSeqs: 1, note });
  try {
    const trials: Keys['trials'] = [];
    let bytes = 0;
    for (const { tokens, read, key, depth } of prompts) {
      const fed = blind ? model.tokenizer.encode(` ${key}`) : [];
      const generation = engine.submit({
        ...(blind
          ? { prompt: tokens.subarray(0, read), forced: [...tokens.subarray(read), ...fed], sampling: { logprobs: 1 } }
          : { prompt: tokens, stopTokens: model.tokenizer.eos }),
        maxTokens: ANSWER,
        params,
        ratio,
      });
      const generated: number[] = [];
      for await (const { token, alternatives } of generation) generated.push(alternatives?.[0].token ?? token);
      const { error, cacheBytes } = await generation.finished;
      if (error) throw error;
      const answer = answerOf(model, blind ? generated.slice(-fed.length) : generated);
      trials.push({ depth, key, answer, found: names(answer, key) });
      bytes = cacheBytes;
    }
    return { found: trials.filter(({ found }) => found).length, cacheBytes: bytes, trials };
  } finally {
    await engine.close();
  }
}
