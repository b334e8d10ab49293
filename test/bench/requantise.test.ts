/** Model files in another weight format: same metadata, same shapes, weights within half a step. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { random } from '../../codegen/oracle/random.ts';
import { dequantise, fromF16, quantise, requantise, toF16 } from '../../bench/requantise.ts';
import { readGguf } from '../../runtime/model/gguf.ts';
import { loadModel } from '../../runtime/model/load.ts';
import { WeightType } from '../../runtime/contract/records.ts';
import { ggufParts, writeGguf } from '../model/write.ts';

test('every half survives the way there and back, and others go to the nearest', () => {
  for (let h = 0; h < 0x7c00; h++) {
    assert.is(toF16(fromF16(h)), h);
    assert.is(toF16(-fromF16(h)), h | 0x8000);
    const [low, high] = [fromF16(h), fromF16(h + 1)];
    if (h < 0x7bff && h % 7 === 0) assert.is(toF16(low + (high - low) * 0.6), h + 1);
  }
  assert.is(toF16(1 + 2 ** -11), toF16(1), 'ties to even');
  assert.is(toF16(1e6), 0x7c00);
  assert.is(toF16(1e-10), 0);
});

test('a block comes back within half a step of its scale', () => {
  const next = random(5);
  for (let round = 0; round < 50; round++) {
    const x = Float32Array.from({ length: 32 }, () => (next() - 0.5) * 0.3);
    const most = Math.max(...x.map(Math.abs));
    const back = new Float32Array(32);
    for (const [format, bytes, step] of [
      ['Q8_0', 34, most / 127],
      ['Q4_0', 18, most / 8],
      ['F16', 64, most / 2048],
    ] as const) {
      const block = Buffer.alloc(bytes);
      quantise(format, x, block, 0);
      dequantise(WeightType[format], block, 0, back);
      // half a step of Q8_0; Q4_0 reaches from -8 to 7 steps, so its far end is off by one; halves lose 2^-11 of a value
      const worst = format === 'Q8_0' ? step * 0.51 : step * 1.01;
      back.forEach((value, i) => assert.ok(Math.abs(value - x[i]) <= worst, `${format}: ${value} for ${x[i]}`));
    }
  }
});

test('a file of zeros stays one', () => {
  const block = Buffer.alloc(34);
  const back = new Float32Array(32).fill(1);
  quantise('Q8_0', new Float32Array(32), block, 0);
  dequantise(WeightType.Q8_0, block, 0, back);
  assert.ok(back.every((value) => value === 0));
});

test('a whole file keeps its metadata and vectors, and its matrices change their type', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'skv-requantise-'));
  const source = join(folder, 'tiny.Q4_1.gguf');
  writeFileSync(source, writeGguf(ggufParts()));
  const before = readGguf(source);
  for (const format of ['Q8_0', 'Q4_0', 'F16'] as const) {
    const path = requantise(source, format, folder);
    assert.is(requantise(source, format, folder), path, 'written once');
    const after = readGguf(path);
    assert.equal([...after.metadata], [...before.metadata]);
    assert.equal(
      after.tensors.map(({ name, dims }) => [name, dims]),
      before.tensors.map(({ name, dims }) => [name, dims]),
    );
    for (const { name, dims, type, offset } of after.tensors) {
      const old = before.tensors.find((tensor) => tensor.name === name)!;
      const wanted =
        dims.length < 2
          ? old.type
          : format === 'Q4_0' && name === 'token_embd.weight'
            ? WeightType.Q8_0
            : WeightType[format];
      assert.is(type, wanted, name);
      if (type !== old.type) continue;
      const size = 64;
      assert.equal(
        readFileSync(path).subarray(offset, offset + size),
        readFileSync(source).subarray(old.offset, old.offset + size),
        name,
      );
    }
    assert.is((await loadModel(path)).spec.layers, 2, 'and it loads');
  }
  rmSync(folder, { recursive: true });
});

test('a file of another type is refused by its name', () => {
  const folder = mkdtempSync(join(tmpdir(), 'skv-requantise-'));
  const source = join(folder, 'tiny.gguf');
  const parts = ggufParts();
  parts.tensors.find(({ name }) => name === 'blk.0.attn_v.weight')!.type = WeightType.Q5_1;
  writeFileSync(source, writeGguf(parts));
  assert.throws(() => requantise(source, 'Q8_0', folder), /attn_v.weight is stored as Q5_1, which cannot/);
  rmSync(folder, { recursive: true });
});

test.run();
