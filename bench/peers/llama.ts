/**
 * llama.cpp as one of the systems under test, through node-llama-cpp. llama-preload.cpp is preloaded: what counts is the
 * time inside llama_decode, so that JavaScript between tokens and node-llama-cpp's sampler are not llama.cpp's cost; and
 * where processors are named, its threads are pinned and kept.
 */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { peakRss } from '../machine.ts';
import { type Setup, type Work, type Worked, steadyOf } from './protocol.ts';

const setup = JSON.parse(process.argv[2]) as Setup;
const { getLlama } = await import('node-llama-cpp');
type Token = ReturnType<Awaited<ReturnType<Awaited<ReturnType<typeof getLlama>>['loadModel']>>['tokenize']>[number];
const llama = await getLlama({ build: 'never', gpu: false, maxThreads: setup.threads, logLevel: 'error' as never });
const model = await llama.loadModel({ modelPath: setup.model });
const context = await model.createContext({
  contextSize: setup.context + 64,
  sequences: setup.sequences,
  batchSize: 512,
  threads: setup.threads,
});
const sequences = Array.from({ length: setup.sequences }, () => context.getSequence());
const tokens = JSON.parse(readFileSync(setup.tokens, 'utf8')) as Token[];

/** Seconds inside llama_decode so far. */
const clock = openSync(process.env.SKV_PEER_CLOCK!, 'r');
const counters = new BigUint64Array(3);
function decoding(): number {
  readSync(clock, counters, 0, 24, 0);
  return Number(counters[0]) / 1e9;
}

async function work({ prompts, count }: Work): Promise<Worked> {
  for (const sequence of sequences) await sequence.clearHistory();
  const start = decoding();
  const since = () => decoding() - start;
  const first: number[] = [];
  const generated: number[][] = prompts.map(() => []);
  const total = () => generated.reduce((sum, { length }) => sum + length, 0);
  let [from, to]: ([number, number] | undefined)[] = [];
  await Promise.all(
    prompts.map(async ([at, length], i) => {
      // greedy, and on through ends of text, so that the count is kept
      const stream = sequences[i].evaluate(tokens.slice(at, at + length), { temperature: 0, yieldEogToken: true });
      for await (const token of stream) {
        generated[i].push(token);
        if (first[i] === undefined) {
          first[i] = since();
          if (Object.keys(first).length === prompts.length) from = [since(), total()];
        }
        if (generated[i].length > count) break;
      }
      to ??= [since(), total()];
    }),
  );
  return { first, steady: steadyOf(from!, to!), seconds: since(), generated, peakRss: peakRss() };
}

const answer = (value: object) => process.stdout.write(`${JSON.stringify(value)}\n`);
await work({ prompts: [[0, 16]], count: 2 });
decoding();
answer({
  ready: `llama.cpp through node-llama-cpp${counters[2] ? `, ${counters[2]} threads pinned and kept` : ', threads as shipped'}`,
});
for await (const line of createInterface({ input: process.stdin }))
  await work(JSON.parse(line)).then(answer, (error: Error) => answer({ error: error.message }));
closeSync(clock);
await context.dispose();
process.exit(0); // its threads do not end by themselves
