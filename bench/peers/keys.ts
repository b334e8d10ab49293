/** Keys hidden in long prompts: the same token ids for every system, greedy answers, not timed. */
import { ANSWER, type KeyPrompt, answerOf, keyPrompts, names } from '../../eval/keys.ts';
import type { LoadedModel } from '../../runtime/model/types.ts';
import { mobyDick } from '../../eval/text.ts';
import type { Work, Worked } from './protocol.ts';
import type { Subject } from './subjects.ts';

const LENGTHS = [1024, 2048, 4096];
const TRIALS = 10;

/** Keys found by each system in prompts of one length. */
export interface KeyRow {
  what: string;
  found: Map<string, { found: number; missed: { depth: number; key: string; answer: string }[] }>;
}

interface KeySet {
  /** all prompts, one behind the other */
  tokens: number[];
  rows: { length: number; prompts: (KeyPrompt & { at: number })[] }[];
}

export function keySet(model: LoadedModel): KeySet {
  const text = model.tokenizer.encode(mobyDick().slice(0, 6 * TRIALS * Math.max(...LENGTHS)));
  const tokens: number[] = [];
  const rows = LENGTHS.map((length) => ({
    length,
    prompts: keyPrompts(model, { text, length, trials: TRIALS, seed: 1 }).map((prompt) => {
      const at = tokens.length;
      tokens.push(...prompt.tokens);
      return { ...prompt, at };
    }),
  }));
  return { tokens, rows };
}

/** Every prompt to every system; one that fails is left out. */
export async function runKeys(
  model: LoadedModel,
  { rows }: KeySet,
  subjects: readonly Subject[],
  ask: (subject: Subject, work: Work) => Promise<Worked | undefined>,
  progress: (line: string) => void,
): Promise<KeyRow[]> {
  const results: KeyRow[] = [];
  for (const { length, prompts } of rows) {
    const row: KeyRow = { what: `${TRIALS} keys in ${length.toLocaleString('en-US')} tokens`, found: new Map() };
    for (const subject of subjects) {
      const missed: { depth: number; key: string; answer: string }[] = [];
      let asked = 0;
      for (const { at, key, depth } of prompts) {
        const worked = await ask(subject, { prompts: [[at, length]], count: ANSWER - 1 });
        if (!worked) break;
        asked++;
        const answer = answerOf(model, worked.generated[0]);
        if (!names(answer, key)) missed.push({ depth, key, answer });
      }
      if (asked === TRIALS) row.found.set(subject.name, { found: TRIALS - missed.length, missed });
    }
    progress(`${row.what}: ${[...row.found].map(([name, { found }]) => `${name} ${found}`).join(', ')}`);
    results.push(row);
  }
  return results;
}
