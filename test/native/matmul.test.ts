/** Every weight format on every instruction-set path: against doubles, and bit for bit against each other. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WeightType } from '../../runtime/contract/records.ts';
import { cpuBackend, native } from '../../runtime/native/index.ts';
import { fileWeights, widthsOf } from './blocks.ts';
import { promptProduct } from './prompts.ts';
import { random } from '../../codegen/oracle/random.ts';

/** f32 accumulation over at most 768 inputs, relative to the sum of magnitudes. */
const TOLERANCE = 2e-6;
const plain: readonly number[] = [WeightType.F32, WeightType.F16, WeightType.BF16];

const nearest = (x: number) => {
  const floor = Math.floor(x);
  return x - floor === 0.5 ? floor + (Math.abs(floor) % 2) : Math.round(x);
};

/** Numbers in int8, with a scale that they share. */
function rounded(x: Float32Array): Float64Array {
  const peak = Math.max(...x.map(Math.abs));
  const inverse = peak > 1e-30 ? Math.fround(127 / peak) : 0;
  return Float64Array.from(x, (each) => nearest(Math.fround(each * inverse)) * Math.fround(peak / 127));
}

const OUTLIER = 9;

/**
 * Activations [token][cols] as the product sees them: int8 for quantised weights, with a scale for 64; twice where one of
 * them is an outlier.
 */
function seen(x: Float32Array, cols: number, quantised: boolean): { input: Float64Array; twice: number } {
  if (!quantised) return { input: Float64Array.from(x), twice: 0 };
  const input = new Float64Array(x.length);
  let twice = 0;
  for (let token = 0; token < x.length; token += cols) {
    const square = x.subarray(token, token + cols).reduce((sum, each) => sum + each * each, 0) / cols;
    for (let span = token; span < token + cols; span += 64) {
      const pair = x.subarray(span, Math.min(span + 64, token + cols));
      const first = rounded(pair);
      const outlier = pair.some((each) => Math.abs(each) > OUTLIER * Math.sqrt(square));
      const second = outlier ? rounded(Float32Array.from(pair, (each, i) => each - Math.fround(first[i]))) : undefined;
      for (let i = 0; i < pair.length; i++) input[span + i] = first[i] + (second?.[i] ?? 0);
      twice += Number(outlier);
    }
  }
  return { input, twice };
}

let twice = 0;

for (const [name, type] of Object.entries(WeightType)) {
  test(`${name} on ${native().isas(cpuBackend()).join(', ')}`, () => {
    const next = random(type + 1);
    for (const rows of [1, 15, 16, 17, 100]) {
      for (const cols of widthsOf(type)) {
        const tokens = 19;
        const bytes = fileWeights(type, rows, cols, next);
        // what they mean is tested against gguf in weight-types.test.ts
        const values = native().testUnpack(cpuBackend(), type, rows, cols, bytes);
        const x = Float32Array.from({ length: tokens * cols }, (_, i) =>
          i % 61 === 0 ? 0 : (next() - 0.5) * (i % 97 === 0 ? 300 : 2),
        );
        const outputs = native()
          .isas(cpuBackend())
          .map((isa) => native().testMatmul(cpuBackend(), isa, type, rows, cols, bytes, tokens, x));
        for (const other of outputs.slice(1))
          assert.equal(
            Buffer.from(other.buffer),
            Buffer.from(outputs[0].buffer),
            `${rows} × ${cols}: the same bits on every path`,
          );
        const { input, twice: outliers } = seen(x, cols, !plain.includes(type));
        twice += outliers;
        for (let t = 0; t < tokens; t++)
          for (let r = 0; r < rows; r++) {
            let sum = 0;
            let magnitude = 0;
            for (let c = 0; c < cols; c++) {
              sum += input[t * cols + c] * values[r * cols + c];
              magnitude += Math.abs(input[t * cols + c] * values[r * cols + c]);
            }
            assert.ok(
              Math.abs(outputs[0][t * rows + r] - sum) <= TOLERANCE * magnitude + 1e-9,
              `${rows} × ${cols}, token ${t}, row ${r}: ${outputs[0][t * rows + r]} for ${sum}`,
            );
          }
        // one token alone has the bits it has among others
        const alone = native().testMatmul(
          cpuBackend(),
          native().isas(cpuBackend())[0],
          type,
          rows,
          cols,
          bytes,
          1,
          x.slice(7 * cols, 8 * cols),
        );
        assert.equal([...alone], [...outputs[0].subarray(7 * rows, 8 * rows)]);
      }
    }
  });
}

const apart = native().isas(cpuBackend()).includes('amx') ? ['amx'] : [];
for (const isa of apart)
  for (const [name, type] of Object.entries(WeightType))
    test(`${name} in prompts on ${isa}`, () => {
      const next = random(type + 1);
      for (const [rows, tokens] of [
        [1, 1],
        [17, 19],
        [100, 33],
        [48, 530], // more than a panel
      ])
        for (const cols of [...widthsOf(type), 1536]) {
          const bytes = fileWeights(type, rows, cols, next);
          const x = Float32Array.from({ length: tokens * cols }, () => (next() - 0.5) * 2);
          const product = (ofPrompts: boolean, n: number, inputs: Float32Array) =>
            native().testMatmul(cpuBackend(), isa, type, rows, cols, bytes, n, inputs, ofPrompts);
          const found = product(true, tokens, x);
          assert.equal(found, promptProduct(type, rows, cols, bytes, tokens, x) ?? product(false, tokens, x));
          const last = tokens - 1;
          assert.equal(product(true, 1, x.slice(last * cols)), found.slice(last * rows), 'alone as among others');
        }
    });

for (const isa of apart)
  test(`in prompts on ${isa} what is not a number stays none`, () => {
    const [rows, cols] = [3, 64];
    const x = new Float32Array(2 * cols).fill(1);
    x[cols] = NaN;
    for (const type of [WeightType.Q8_0, WeightType.Q4_1]) {
      const weights = fileWeights(type, rows, cols, random(1));
      new DataView(weights.buffer).setUint16(0, 0x7fff, true); // all bits of a NaN: rounding up would lose it
      const [first, second, third, ...other] = native().testMatmul(
        cpuBackend(),
        isa,
        type,
        rows,
        cols,
        weights,
        2,
        x,
        true,
      );
      assert.ok(Number.isNaN(first) && Number.isFinite(second) && Number.isFinite(third));
      assert.ok(other.every(Number.isNaN));
    }
  });

test('a path that multiplies all tokens alike says so', () =>
  assert.throws(
    () =>
      native().testMatmul(
        cpuBackend(),
        'generic',
        WeightType.F32,
        1,
        32,
        new Uint8Array(128),
        1,
        new Float32Array(32),
        true,
      ),
    /as all tokens/,
  ));

test('some pairs had outliers', () => assert.ok(twice > 100, `${twice} had`));

test('a shape that blocks cannot divide is refused', () => {
  assert.throws(
    () =>
      native().testMatmul(
        cpuBackend(),
        'generic',
        WeightType.Q4_0,
        4,
        33,
        new Uint8Array(1000),
        1,
        new Float32Array(33),
      ),
    /cannot be packed/,
  );
  assert.throws(
    () =>
      native().testMatmul(
        cpuBackend(),
        'no-such-path',
        WeightType.F32,
        4,
        32,
        new Uint8Array(1000),
        1,
        new Float32Array(32),
      ),
    /no such/,
  );
});

test.run();
