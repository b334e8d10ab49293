/**
 * A tiny random model of every family: both formats against plain loops, and GGUF against llama.cpp. Both hold F32 and F16
 * weights exactly, with activations in f32 here (where there is AMX prompts of F16 would be rounded), but llama.cpp takes
 * them to f16 where weights are: its greedy answer is ours. With quantised weights both round activations, each in its own
 * way: all that each expects of a text is compared.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import { divergence, skvReader } from '../../eval/kl.ts';
import { llamaReader } from '../../eval/llama.ts';
import { Engine } from '../../runtime/engine/engine.ts';
import { loadModel } from '../../runtime/model/load.ts';
import { randomTokens } from '../engine/small.ts';
import {
  familyModel,
  sizes,
  tinyFamilies,
  wideFamilies,
  writeFamilyFolder,
  writeFamilyGguf,
} from '../oracle/families.ts';
import { type Judged, distances, greedyAnswers, judge, mean } from '../oracle/llama.ts';
import { plainLogprobs } from '../oracle/plain.ts';

/**
 * Mean distance of log-probabilities from plain loops over the numbers before they were stored; measured: 1e-6 to 6e-6 and up
 * to 0.006. Of Q8_0 it is what rounding weights and activations of so narrow a model costs.
 */
const PLAIN = { F32: 1e-4, F16: 0.015, Q8_0: 0.3 };
/** On average over a greedy answer, and how far behind ours a token of theirs may be. */
const LLAMA = 0.005;
const BEHIND = 0.02;
/**
 * Nats a token between two that round activations otherwise, measured: 0.0005 to 0.015. How much farther a model is whose
 * attention is a fifth too flat: 7 to 60 times.
 */
const KL = 0.03;
const WRONG = 4;
const PROMPT = 40; // longer than windows
const ANSWER = 24;

const none = await build(shipped('none')!);
const folder = mkdtempSync(join(tmpdir(), 'skv-families-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const prompt = randomTokens(3, PROMPT, sizes.vocab);

async function judgeFile(source: string, forced: readonly number[], activations: 'f32' | 'int8'): Promise<Judged[]> {
  const engine = await Engine.create({
    model: await loadModel(source),
    policies: [none],
    kvType: 'f32',
    activations,
    maxSeqs: 1,
    threads: 1,
    kvCacheBytes: 16 << 20,
    maxBatchedTokens: 16,
  });
  const judged = await judge(engine, prompt, forced);
  await engine.close();
  return judged;
}

/** What is expected after each token of a text; also of a model whose attention is a little too flat. */
async function besideLlama(file: string, text: number[]): Promise<void> {
  const tokens = Int32Array.from(text);
  const model = await loadModel(file);
  const flat = { ...model, spec: { ...model.spec, attentionScale: 0.8 * model.spec.attentionScale } };
  const llama = await llamaReader(file, model.spec.vocab, tokens, 1);
  const ours = await skvReader('skv', model, none, tokens, { kvType: 'f32', threads: 1 });
  const wrong = await skvReader('too flat', flat, none, tokens, { kvType: 'f32', threads: 1 });
  const [right, other] = await divergence(llama, [ours, wrong], tokens);
  for (const each of [llama, ours, wrong]) await each.close();
  if (process.env.SKV_SHOW) console.log(file, right.kl, other.kl);
  assert.ok(right.kl < KL, `KL of ${right.kl} from llama.cpp`);
  assert.ok(other.kl > WRONG * right.kl, `KL of ${right.kl} from llama.cpp, ${other.kl} where attention is too flat`);
}

const distance = (a: readonly { logprob: number }[], b: readonly { logprob: number }[]): number =>
  mean(distances(a, b));

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
    const far = distance(await judgeFile(at, answer, 'f32'), plain);
    assert.ok(far < PLAIN.F32, `log-probabilities differ by ${far} on average`);
  });

  if (!tiny.gguf) continue;
  for (const type of ['F32', 'F16'] as const)
    test(`${tiny.name}: GGUF in ${type} beside plain loops${tiny.aside ? '' : ' and llama.cpp'}`, async () => {
      const file = `${at}-${type}.gguf`;
      writeFamilyGguf(model, file, type);
      const far = distance(await judgeFile(file, answer, 'f32'), plain);
      assert.ok(far < PLAIN[type], `${far} from plain loops on average`);
      if (tiny.aside) return;
      const [theirs] = await greedyAnswers(file, [prompt], { length: ANSWER, pastEnd: true });
      const ours = await judgeFile(
        file,
        theirs.map(({ token }) => token),
        'f32',
      );
      const apart = distance(ours, theirs);
      const behind = Math.max(...ours.map((each) => each.behind));
      assert.ok(apart < LLAMA, `${apart} from llama.cpp on average`);
      assert.ok(behind < BEHIND, `a token of llama.cpp's is ${behind} less likely than ours`);
    });
  test(`${tiny.name}: GGUF in Q8_0 beside plain loops${tiny.aside ? '' : ' and llama.cpp'}`, async () => {
    const file = `${at}-Q8_0.gguf`;
    writeFamilyGguf(model, file, 'Q8_0');
    const far = distance(await judgeFile(file, answer, 'int8'), plain);
    assert.ok(far < PLAIN.Q8_0, `${far} from plain loops on average`);
    if (!tiny.aside) await besideLlama(file, [...prompt, ...answer]);
  });
}

for (const [seed, tiny] of wideFamilies.entries())
  test(`${tiny.name}: GGUF in Q4_K beside llama.cpp`, async () => {
    const file = join(folder, `wide-${seed}.gguf`);
    writeFamilyGguf(familyModel(tiny, 150 + seed), file, 'Q4_K');
    await besideLlama(file, [...prompt, ...randomTokens(7, ANSWER, sizes.vocab)]);
  });

test.run();
