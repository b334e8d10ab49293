/**
 * Real models beside llama.cpp on the same file: how far each is from the same weights with exact activations. llama.cpp
 * rounds otherwise on every processor, so it bounds what is wrong (a bias left out, another norm, another RoPE is far
 * beyond), not which of the two is nearer.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import { divergence, skvReader } from '../../eval/kl.ts';
import { llamaReader } from '../../eval/llama.ts';
import { mobyDick } from '../../eval/text.ts';
import { loadModel } from '../../runtime/model/load.ts';

/** Tokens that are read: beyond the windows that a model has, where that is possible in little time. */
const models: readonly (readonly [name: string, tokens: number])[] = [
  ['smollm2-135m', 65],
  ['qwen2.5-coder-0.5b', 65],
  ['gemma3-270m', 65],
];
/** Ten times what was measured; a formula that is wrong in one place is beyond. */
const KL = 0.05;

const none = await build(shipped('none')!);

for (const [name, count] of models)
  test(`${name}: skv and llama.cpp are near the exact answer`, async () => {
    const model = await loadModel(name);
    const { spec, tokenizer } = model;
    const tokens = tokenizer.encode(mobyDick().slice(0, count * 8), { addBos: true }).subarray(0, count);
    const truth = await skvReader('truth', model, none, tokens, { kvType: 'f32', activations: 'f32' });
    const skv = await skvReader('skv', model, none, tokens, { kvType: 'bf16' });
    const llama = await llamaReader(spec.files[0], spec.vocab, tokens, 1);
    for (const { name: who, kl, topAgrees } of await divergence(truth, [skv, llama], tokens)) {
      console.log(`${name}, ${who}: KL ${kl.toFixed(5)}, ${(100 * topAgrees).toFixed(0)} % of the top tokens`);
      assert.ok(kl < KL, `${who}: KL ${kl}`);
      assert.ok(topAgrees > 0.85, `${who}: ${topAgrees} of the top tokens`);
    }
    for (const reader of [truth, skv, llama]) await reader.close();
  });

test.run();
