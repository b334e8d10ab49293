/**
 * How systems under test are asked: each is a process that gets one JSON object as its argument, loads its model, says
 * {"ready": …}, and then answers one JSON line per line. The three of them, skv.ts, llama.ts and genai.py, speak
 * exactly this, so that nothing but the system differs.
 */

/** Prompts as [first token, length] of the tokens in Setup.tokens; all start together. */
export interface Work {
  prompts: [number, number][];
  /** tokens to generate for each, after its first */
  count: number;
}

export interface Worked {
  /** seconds from the start to each prompt's first token */
  first: number[];
  /** from the moment when every prompt has its first token until the first of them is done: seconds, tokens of all */
  steady: { seconds: number; tokens: number };
  /** seconds of everything */
  seconds: number;
  /** token ids of each answer */
  generated: number[][];
  /** peak resident bytes of the process so far */
  peakRss: number;
}

/** Both moments as [seconds, tokens so far]; when one was done before all had begun, there was no steady time. */
export function steadyOf(from: [number, number], to: [number, number]): Worked['steady'] {
  return to[0] > from[0] ? { seconds: to[0] - from[0], tokens: to[1] - from[1] } : { seconds: Number.NaN, tokens: 0 };
}

export interface Setup {
  model: string;
  /** file with a JSON array of token ids */
  tokens: string;
  /** processors to pin threads to; empty: as the system ships, with `threads` of them */
  cpus: number[];
  threads: number;
  /** most prompts at once, and most tokens of each */
  sequences: number;
  context: number;
}
