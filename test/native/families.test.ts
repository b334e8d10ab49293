/**
 * A tiny random model of every family: both formats against plain loops, and GGUF against llama.cpp, which answers
 * greedily. Both hold F32 and F16 weights exactly, but llama.cpp takes activations to f16 where weights are.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LlamaLogLevel, getLlama } from 'node-llama-cpp';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import { Engine } from '../../runtime/engine/engine.ts';
import { loadModel } from '../../runtime/model/load.ts';
import { randomTokens } from '../engine/small.ts';
import { familyModel, sizes, tinyFamilies, writeFamilyFolder, writeFamilyGguf } from '../oracle/families.ts';
import { plainLogprobs } from '../oracle/plain.ts';

/**
 * Mean distance of log-probabilities from plain loops over the numbers before they were stored; measured: 1e-6 to 6e-6 and up
 * to 0.006. Of Q8_0 it is what rounding weights and activations of so narrow a model costs; a formula that is wrong is far beyond.
 */
const PLAIN = { F32: 1e-4, F16: 0.015, Q8_0: 0.3 };
/** On average over a greedy answer, and how far behind ours a token of theirs may be. */
const LLAMA = 0.005;
const BEHIND = 0.02;
const PROMPT = 40; // longer than windows
const ANSWER = 24;

const none = await build(shipped('none')!);
const folder = mkdtempSync(join(tmpdir(), 'skv-families-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const prompt = randomTokens(3, PROMPT, sizes.vocab);

interface Judged {
  token: number;
  logprob: number;
  /** how far below the most likely token */
  behind: number;
}

async function judge(source: string, forced: readonly number[]): Promise<Judged[]> {
  const engine = await Engine.create({
    model: await loadModel(source),
    policies: [none],
    kvType: 'f32',
    maxSeqs: 1,
    threads: 1,
    kvCacheBytes: 16 << 20,
    maxBatchedTokens: 16,
  });
  const judged: Judged[] = [];
  const request = { prompt, forced: Int32Array.from(forced), maxTokens: 1, sampling: { logprobs: 1 } };
  for await (const { token, logprob, alternatives } of engine.submit(request))
    judged.push({ token, logprob: logprob!, behind: alternatives![0].logprob - logprob! });
  await engine.close();
  return judged;
}

const llama = await getLlama({ build: 'never', gpu: false, maxThreads: 1, logLevel: LlamaLogLevel.error });

async function llamaAnswer(file: string): Promise<{ token: number; logprob: number }[]> {
  const model = await llama.loadModel({ modelPath: file });
  const context = await model.createContext({
    contextSize: 128,
    threads: 1,
    experimentalKvCacheKeyType: 'F32',
    experimentalKvCacheValueType: 'F32',
  });
  const answer: { token: number; logprob: number }[] = [];
  const options = { temperature: 0, yieldEogToken: true };
  const stream = context.getSequence().evaluateWithMetadata([...prompt] as never, { confidence: true }, options);
  for await (const { token, confidence } of stream) {
    answer.push({ token, logprob: Math.log(confidence) });
    if (answer.length === ANSWER) break;
  }
  await context.dispose();
  await model.dispose();
  return answer;
}

const mean = (xs: readonly number[]) => xs.reduce((sum, x) => sum + x, 0) / xs.length;
const distance = (a: readonly { logprob: number }[], b: readonly { logprob: number }[]): number => {
  assert.is(a.length, b.length);
  return mean(a.map(({ logprob }, i) => Math.abs(logprob - b[i].logprob)));
};

for (const [seed, tiny] of tinyFamilies.entries()) {
  const model = familyModel(tiny, 100 + seed);
  const at = join(folder, String(seed));
  const answer = [...randomTokens(7, ANSWER, sizes.vocab)];
  const rows = plainLogprobs(model.meaning, model.weights, [...prompt, ...answer]);
  const plain = answer.map((token, i) => ({ token, logprob: rows[PROMPT - 1 + i][token] }));

  test(`${tiny.name}: logits that say something`, () => {
    const tops = rows.map((row) => Math.max(...row));
    assert.ok(mean(tops) > -5 && mean(tops) < -0.05, `the likeliest token has ${mean(tops)} on average`);
  });

  test(`${tiny.name}: safetensors beside plain loops`, async () => {
    writeFamilyFolder(model, at);
    const far = distance(await judge(at, answer), plain);
    assert.ok(far < PLAIN.F32, `log-probabilities differ by ${far} on average`);
  });

  if (tiny.gguf)
    for (const type of ['F32', 'F16', 'Q8_0'] as const)
      test(`${tiny.name}: GGUF in ${type} beside plain loops and llama.cpp`, async () => {
        const file = `${at}-${type}.gguf`;
        writeFamilyGguf(model, file, type);
        const far = distance(await judge(file, answer), plain);
        assert.ok(far < PLAIN[type], `${far} from plain loops on average`);
        if (type === 'Q8_0') return;
        const theirs = await llamaAnswer(file);
        const ours = await judge(
          file,
          theirs.map(({ token }) => token),
        );
        const apart = distance(ours, theirs);
        const behind = Math.max(...ours.map((each) => each.behind));
        assert.ok(apart < LLAMA, `${apart} from llama.cpp on average`);
        assert.ok(behind < BEHIND, `a token of llama.cpp's is ${behind} less likely than ours`);
      });
}

test.run();
