/** llama.cpp beside skv on whole models: its greedy answers, and how likely skv finds the tokens of an answer. */
import * as assert from 'uvu/assert';
import { openLlama } from '../../eval/llama.ts';
import type { Engine } from '../../runtime/engine/engine.ts';

export interface Answered {
  token: number;
  logprob: number;
}

export interface Judged extends Answered {
  /** how far below the most likely token, 0 for itself */
  behind: number;
}

/** llama.cpp's greedy answers of so many tokens; `pastEnd`: also beyond what ends a text. */
export async function greedyAnswers(
  file: string,
  prompts: readonly ArrayLike<number>[],
  { length, pastEnd }: { length: number; pastEnd: boolean },
): Promise<Answered[][]> {
  // one thread: its threads spin, and wait for each other where processors are busy
  const longest = Math.max(...prompts.map((prompt) => prompt.length));
  const { sequence, close } = await openLlama(file, { contextSize: longest + length + 64, threads: 1 });
  const answers: Answered[][] = [];
  for (const prompt of prompts) {
    await sequence.clearHistory();
    const answer: Answered[] = [];
    const options = { temperature: 0, yieldEogToken: pastEnd };
    const stream = sequence.evaluateWithMetadata(Array.from(prompt) as never, { confidence: true }, options);
    for await (const { token, confidence } of stream) {
      answer.push({ token, logprob: Math.log(confidence) });
      if (answer.length === length) break;
    }
    answers.push(answer);
  }
  await close();
  return answers;
}

/** What skv thinks of a given answer. */
export async function judge(engine: Engine, prompt: Int32Array, forced: readonly number[]): Promise<Judged[]> {
  const judged: Judged[] = [];
  for await (const { token, logprob, alternatives } of engine.submit({
    prompt,
    forced,
    maxTokens: 1,
    sampling: { logprobs: 1 },
  }))
    judged.push({ token, logprob: logprob!, behind: alternatives![0].logprob - logprob! });
  return judged;
}

/** Absolute differences of log-probabilities, token by token. */
export function distances(a: readonly { logprob: number }[], b: readonly { logprob: number }[]): number[] {
  assert.is(a.length, b.length);
  return a.map(({ logprob }, i) => Math.abs(logprob - b[i].logprob));
}

export const mean = (xs: readonly number[]): number => xs.reduce((sum, x) => sum + x, 0) / xs.length;
