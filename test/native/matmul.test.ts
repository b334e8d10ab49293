/** Every weight format on every instruction-set path: against doubles, and bit for bit against each other. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WeightType } from '../../runtime/contract/records.ts';
import { cpuBackend, native } from '../../runtime/native/index.ts';
import { random } from '../../codegen/oracle/random.ts';

/** f32 accumulation over at most 1,536 inputs, relative to the sum of magnitudes. */
const TOLERANCE = 2e-6;
const float = new DataView(new ArrayBuffer(4));

function f16(x: number): number {
  float.setFloat32(0, x);
  const bits = float.getUint32(0);
  const exponent = ((bits >> 23) & 255) - 112;
  return exponent <= 0 ? (bits >> 16) & 0x8000 : ((bits >> 16) & 0x8000) | (exponent << 10) | ((bits >> 13) & 1023);
}
function fromF16(h: number): number {
  const exponent = (h >> 10) & 31;
  const value = exponent ? 2 ** (exponent - 15) * (1 + (h & 1023) / 1024) : ((h & 1023) / 1024) * 2 ** -14;
  return h & 0x8000 ? -value : value;
}

interface Weights {
  bytes: Uint8Array;
  /** [row][col] what the bytes mean */
  values: Float64Array;
}

const nearest = (x: number) => {
  const floor = Math.floor(x);
  return x - floor === 0.5 ? floor + (Math.abs(floor) % 2) : Math.round(x);
};

/** A block's minimum as it is packed: in whole units, of which the largest minimum or scale of its row takes 15 bits. */
function packed(block: number, perRow: number, scales: Float64Array, minima: Float64Array): number {
  const first = Math.floor(block / perRow) * perRow;
  const row = [...scales.subarray(first, first + perRow), ...minima.subarray(first, first + perRow)];
  const unit = 2 ** (Math.floor(Math.log2(Math.max(...row.map(Math.abs)))) - 14);
  return nearest(minima[block] / unit) * unit;
}

function weights(type: number, rows: number, cols: number, next: () => number): Weights {
  const values = new Float64Array(rows * cols);
  const size = { [WeightType.F32]: 4, [WeightType.F16]: 2, [WeightType.BF16]: 2 }[type];
  if (size) {
    const bytes = new Uint8Array(rows * cols * size);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < values.length; i++) {
      const x = Math.fround((next() - 0.5) * 4);
      if (type === WeightType.F32) view.setFloat32(i * 4, (values[i] = x), true);
      else if (type === WeightType.F16) {
        view.setUint16(i * 2, f16(x), true);
        values[i] = fromF16(f16(x));
      } else {
        float.setFloat32(0, x);
        view.setUint16(i * 2, float.getUint16(0), true);
        float.setUint32(0, float.getUint16(0) * 65536);
        values[i] = float.getFloat32(0);
      }
    }
    return { bytes, values };
  }
  const blockBytes = { [WeightType.Q8_0]: 34, [WeightType.Q4_0]: 18, [WeightType.Q4_1]: 20 }[type]!;
  const bytes = new Uint8Array((rows * cols * blockBytes) / 32);
  const view = new DataView(bytes.buffer);
  const scales = new Float64Array((rows * cols) / 32).map(() => fromF16(f16((next() - 0.3) * 0.05)));
  const minima = scales.map((d) =>
    type === WeightType.Q8_0 ? 0 : type === WeightType.Q4_0 ? -8 * d : fromF16(f16((next() - 0.5) * 0.4)),
  );
  for (let block = 0; block < scales.length; block++) {
    const at = block * blockBytes;
    view.setUint16(at, f16(scales[block]), true);
    if (type === WeightType.Q4_1) view.setUint16(at + 2, f16(minima[block]), true);
    const least = type === WeightType.Q8_0 ? 0 : packed(block, cols / 32, scales, minima);
    for (let i = 0; i < 32; i++) {
      if (type === WeightType.Q8_0) {
        const q = Math.floor(next() * 256) - 128;
        view.setInt8(at + 2 + i, q);
        values[block * 32 + i] = scales[block] * q;
      } else {
        const q = Math.floor(next() * 16);
        const byte = at + (type === WeightType.Q4_1 ? 4 : 2) + (i % 16);
        bytes[byte] |= i < 16 ? q : q << 4;
        values[block * 32 + i] = scales[block] * q + least;
      }
    }
  }
  return { bytes, values };
}

/** Activations [token][cols] as the product sees them: int8 for quantised weights, with a scale for 64. */
function seen(x: Float32Array, cols: number, quantised: boolean): Float64Array {
  if (!quantised) return Float64Array.from(x);
  const out = new Float64Array(x.length);
  for (let span = 0, end = 0; span < x.length; span = end) {
    end = Math.min(span + 64, (Math.floor(span / cols) + 1) * cols);
    const peak = Math.max(...x.subarray(span, end).map(Math.abs));
    for (let i = span; i < end; i++) {
      const scaled = Math.fround(x[i] * (peak > 1e-30 ? Math.fround(127 / peak) : 0));
      out[i] = nearest(scaled) * Math.fround(peak / 127);
    }
  }
  return out;
}

for (const [name, type] of Object.entries(WeightType)) {
  test(`${name} on ${native().isas(cpuBackend()).join(', ')}`, () => {
    const next = random(type + 1);
    for (const rows of [1, 15, 16, 17, 100]) {
      for (const cols of [32, 96, 224, 576]) {
        const tokens = 19;
        const { bytes, values } = weights(type, rows, cols, next);
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
        const input = seen(x, cols, ![WeightType.F32, WeightType.F16, WeightType.BF16].includes(type as 0));
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
