/** Products of prompts by bf16, in plain loops: the bits that runtime/native/cpu/matmul.h promises of them. */
import { WeightType } from '../../runtime/contract/records.ts';
import { type DenseProduct, cpuBackend, native } from '../../runtime/native/index.ts';

/** To bf16, halves away from zero. */
export function toBf16(x: Float32Array): Float32Array {
  const bits = new Uint32Array(Float32Array.from(x).buffer);
  return new Float32Array(bits.map((each) => (each + 0x8000) & 0xffff0000).buffer);
}

/** Whether weights are multiplied so, or in f32 as those of all tokens. */
export const byBf16 = (type: number): boolean => type !== WeightType.F32;

/**
 * x [tokens][cols] times weights as a file has them, [tokens][rows]; undefined for weights that are not multiplied so. A
 * product of two bf16 is a number of f32, and a double holds its sum with another: so Math.fround rounds once, as a fused
 * multiply-add does.
 */
export function promptProduct(...[type, rows, cols, weights, tokens, x]: DenseProduct): Float32Array | undefined {
  if (!byBf16(type)) return undefined;
  const w = toBf16(native().testUnpack(cpuBackend(), type, rows, cols, weights));
  const inputs = toBf16(x);
  const out = new Float32Array(tokens * rows);
  for (let t = 0; t < tokens; t++)
    for (let r = 0; r < rows; r++) {
      let sum = 0;
      for (let block = 0; block < cols; block += 32) {
        const part = [0, 0];
        for (let i = block; i < block + 32; i++)
          part[i % 2] = Math.fround(part[i % 2] + inputs[t * cols + i] * w[r * cols + i]);
        sum = Math.fround(sum + Math.fround(part[0] + part[1]));
      }
      out[t * rows + r] = sum;
    }
  return out;
}
