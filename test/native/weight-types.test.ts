/** Every weight type as it is packed, against what the `gguf` package reads from the same bytes (dequantised.py). */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WeightType } from '../../runtime/contract/records.ts';
import { type WeightName, weightBlocks } from '../../runtime/contract/weights.ts';
import { cpuBackend, native } from '../../runtime/native/index.ts';

interface Recorded {
  rows: number;
  cols: number;
  /** base64: blocks as a file has them; f32 */
  types: Record<string, { weights: string; values: string }>;
}
const recorded = JSON.parse(readFileSync(new URL('dequantised.json', import.meta.url), 'utf8')) as Recorded;
const bytesOf = (base64: string) => new Uint8Array(Buffer.from(base64, 'base64'));

/** Scales that a file has as they are keep their value. */
const exactScales: readonly WeightName[] = ['Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0', 'IQ4_NL'];
/** A scale that is a product is rounded to f16: at most this part of it. */
const SCALE = 2 ** -12;
/** Minima are rounded to whole units, 15 bits for the row's largest. */
const MINIMUM = 2 ** -15;

for (const name of Object.keys(weightBlocks).filter((each) => !['F32', 'F16', 'BF16'].includes(each)))
  test(`${name} means what gguf reads`, () => {
    const { rows, cols, types } = recorded;
    const values = new Float32Array(bytesOf(types[name].values).buffer);
    const packed = native().testUnpack(
      cpuBackend(),
      WeightType[name as WeightName],
      rows,
      cols,
      bytesOf(types[name].weights),
    );
    assert.is(values.length, rows * cols);
    for (let r = 0; r < rows; r++) {
      const row = values.subarray(r * cols, (r + 1) * cols);
      const largest = Math.max(...row.map(Math.abs));
      for (const [c, value] of row.entries()) {
        // of a weight, scale × w is at most twice its row's largest; f32 rounds the rest
        const scale = exactScales.includes(name as WeightName) ? 0 : SCALE * 2;
        const allowed = largest * (scale + MINIMUM + 2 ** -22);
        const found = packed[r * cols + c];
        assert.ok(Math.abs(found - value) <= allowed, `row ${r}, input ${c}: ${found} for ${value} ± ${allowed}`);
      }
    }
  });

test('every type that GGUF quantises to and skv reads is recorded', () => {
  assert.equal(
    Object.keys(recorded.types).sort(),
    Object.keys(weightBlocks)
      .filter((name) => !['F32', 'F16', 'BF16'].includes(name))
      .sort(),
  );
});

test.run();
