/**
 * Greedy tokens of the real model beside llama.cpp's. Both quantise activations to int8, each at its own places, and llama.cpp
 * keeps keys and values in f16: log-probabilities differ by a few tenths. Where the two part, the candidates must be closer
 * than MARGIN.
 */
import { getLlama } from 'node-llama-cpp';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import { Engine } from '../../runtime/engine/engine.ts';
import { loadModel } from '../../runtime/model/load.ts';

const MARGIN = 0.4;
const prompts = [
  'What is the capital of France?',
  'Write a short story about a lighthouse keeper.',
  'Explain photosynthesis to a child.',
  'List five uses for a brick.',
  'Translate "good morning" into Spanish and explain when it is used.',
  'Why is the sky blue?',
];

const model = await loadModel('smollm2-135m');
const engine = await Engine.create({ model, policies: [await build(shipped('none')!)], kvType: 'f32', maxSeqs: 2 });
const llama = await getLlama({ build: 'never', gpu: false, maxThreads: 2 });
const peer = await llama.loadModel({ modelPath: model.spec.files[0] });
const context = await peer.createContext({ contextSize: 512, threads: 2 });

for (const text of prompts) {
  test(text, async () => {
    const prompt = model.tokenizer.encode(model.chat([{ role: 'user', content: text }]), { special: true });
    const sequence = context.getSequence();
    const theirs: number[] = [];
    for await (const token of sequence.evaluate([...prompt] as never, { temperature: 0 })) {
      theirs.push(token as number);
      if (theirs.length === 64) break;
    }
    sequence.dispose();
    // judge their tokens: wherever ours would differ, the margin must be small
    const generation = engine.submit({ prompt, forced: theirs, maxTokens: 1, sampling: { logprobs: 1 } });
    let same = 0;
    let i = 0;
    for await (const { token, logprob, alternatives } of generation) {
      const best = alternatives![0];
      if (best.token === token) same++;
      else
        assert.ok(
          best.logprob - logprob! < MARGIN,
          `token ${i}: ${token} has ${logprob}, ours ${best.token} has ${best.logprob}`,
        );
      i++;
    }
    assert.is(i, theirs.length);
    assert.ok(same >= theirs.length - 6, `${same} of ${theirs.length} tokens are the same`);
  });
}

test.after(async () => {
  await engine.close();
  await context.dispose();
});
test.run();
