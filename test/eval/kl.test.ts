/** Divergence by hand, and truth itself: quantised weights with exact activations are their numbers in f32, bit by bit. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import { type Reader, divergence, skvReader } from '../../eval/kl.ts';
import { WeightType } from '../../runtime/contract/records.ts';
import type { LoadedModel } from '../../runtime/model/types.ts';
import { randomTokens } from '../engine/small.ts';
import { tinyModel } from '../oracle/tiny.ts';

/** Reads with the same answer everywhere. */
const constant = (name: string, probabilities: number[]): Reader => ({
  name,
  read: async (_from, count) => Array.from({ length: count }, () => Float32Array.from(probabilities, Math.log)),
  close: async () => {},
});

test('two answers by hand', async () => {
  const tokens = Int32Array.of(0, 1, 0, 1, 1);
  const told: number[] = [];
  const [same, other] = await divergence(
    constant('truth', [0.5, 0.25, 0.25]),
    [constant('same', [2, 1, 1]), constant('other', [0.25, 0.5, 0.25])],
    tokens,
    (done) => told.push(done),
  );
  assert.equal(told, [4]);
  assert.equal(same, { name: 'same', topAgrees: 1, mean: 0, percentile95: 0, worst: 0, kl: 0 });
  assert.is(other.topAgrees, 0);
  for (const distance of [other.mean, other.percentile95, other.worst])
    assert.ok(Math.abs(distance - Math.LN2) < 1e-6, `${distance}`);
  assert.ok(Math.abs(other.kl - 0.25 * Math.LN2) < 1e-6, `${other.kl}`);
});

const folder = mkdtempSync(join(tmpdir(), 'skv-kl-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

/** The same model with matrices as Q8_0, every scale 2^-6, and with what they stand for in F32. */
function quantised(model: LoadedModel): Record<'Q8_0' | 'F32', LoadedModel> {
  const source = readFileSync(model.spec.files[0]);
  const asType = (name: 'Q8_0' | 'F32'): LoadedModel => {
    const parts: Buffer[] = [];
    let offset = 0;
    const tensors = model.spec.tensors.map((tensor) => {
      const { rows, cols } = tensor;
      const weights = new Float32Array(source.buffer, source.byteOffset + tensor.offset, rows * cols);
      const whole = weights.map((x) => Math.max(-127, Math.min(127, Math.round(x * 64))));
      const norm = rows === 1;
      let bytes = Buffer.from((norm ? weights : whole.map((x) => x / 64)).slice().buffer);
      if (name === 'Q8_0' && !norm)
        bytes = Buffer.concat(
          Array.from({ length: whole.length / 32 }, (_, b) => [
            Buffer.of(0x00, 0x24), // f16 of 2^-6
            Buffer.from(Int8Array.from(whole.subarray(b * 32, b * 32 + 32)).buffer),
          ]).flat(),
        );
      parts.push(bytes);
      const out = { ...tensor, type: norm ? WeightType.F32 : WeightType[name], offset, bytes: bytes.length };
      offset += bytes.length;
      return out;
    });
    const file = join(folder, name);
    writeFileSync(file, Buffer.concat(parts));
    return { ...model, spec: { ...model.spec, tensors, files: [file] } };
  };
  return { Q8_0: asType('Q8_0'), F32: asType('F32') };
}

test('exact activations: the answers of the same numbers in F32, bit by bit; int8 is near, and not the same', async () => {
  const tiny = tinyModel(3, { width: 64, ffn: 96, kvHeads: 1, layers: 2 });
  const { Q8_0, F32 } = quantised(tiny.loaded);
  const none = await build(shipped('none')!);
  const tokens = randomTokens(1, 70, tiny.shape.vocab);
  const readers = [
    await skvReader('plain', F32, none, tokens, { kvType: 'f32' }),
    await skvReader('exact', Q8_0, none, tokens, { kvType: 'f32', activations: 'f32' }),
    await skvReader('int8', Q8_0, none, tokens, { kvType: 'f32' }),
  ];
  const [plain, ...rest] = readers;
  const [exact, int8] = await divergence(plain, rest, tokens);
  for (const reader of readers) await reader.close();
  tiny.remove();
  assert.equal(exact, { name: 'exact', topAgrees: 1, mean: 0, percentile95: 0, worst: 0, kl: 0 });
  assert.ok(int8.kl > 1e-7, `int8 rounds: ${int8.kl}`);
  assert.ok(int8.kl < 0.05, `and stays near: ${int8.kl}`);
});

test.run();
