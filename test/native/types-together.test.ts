/**
 * A model whose every matrix has another weight type, in the engine, against plain loops over what the types mean: the
 * embedding's lookup, widths, tied output. Files mix types as a rule: Q4_K_M has Q6_K, and Q5_0 where 256 does not divide.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import { skvReader } from '../../eval/kl.ts';
import { randomTokens } from '../engine/small.ts';
import { run } from '../oracle/forward.ts';
import * as rules from '../oracle/rules/index.ts';
import { type Tiny, tinyModel } from '../oracle/tiny.ts';
import { retyped } from './retyped.ts';

/** f32 weights and cache: rounding over two layers. */
const EXACT = 5e-4;
/** int8 activations on a model of random weights, on average. */
const ROUNDED = 0.08;

const none = await build(shipped('none')!);

/** Mean and worst distance of the log-probabilities of the next tokens. */
async function distance(model: Tiny, tokens: Int32Array, expected: readonly ArrayLike<number>[], exact: boolean) {
  const reader = await skvReader('', model.loaded, none, tokens, {
    kvType: 'f32',
    activations: exact ? 'f32' : 'int8',
  });
  const found = await reader.read(0, tokens.length - 1);
  await reader.close();
  const far = found.map((row, i) => {
    const norm = Math.log(Array.from(expected[i]).reduce((sum, x) => sum + Math.exp(x), 0));
    const own = Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0));
    return Math.abs(row[tokens[i + 1]] - own - (expected[i][tokens[i + 1]] - norm));
  });
  assert.is(far.length, tokens.length - 1);
  return { mean: far.reduce((a, b) => a + b) / far.length, worst: Math.max(...far) };
}

for (const types of [
  ['Q6_K', 'Q4_K', 'Q5_K', 'Q3_K', 'Q2_K', 'IQ4_XS', 'Q5_0'],
  ['Q4_K', 'Q5_1', 'IQ4_NL', 'Q4_0', 'Q6_K', 'Q8_0', 'Q4_1', 'Q2_K', 'F16'],
] as const)
  test(types.join(' '), async () => {
    const model = retyped(tinyModel(7, { width: 256, ffn: 512, headDim: 64, kvHeads: 2, group: 2 }), types);
    const tokens = randomTokens(3, 33, model.shape.vocab);
    const { logits } = run(model, rules.none(), tokens, 1);
    const exact = await distance(model, tokens, logits, true);
    assert.ok(exact.worst < EXACT, `with activations in f32: ${exact.worst}`);
    const rounded = await distance(model, tokens, logits, false);
    assert.ok(rounded.mean < ROUNDED, `in int8: ${rounded.mean}`);
    model.remove();
  });

test.run();
