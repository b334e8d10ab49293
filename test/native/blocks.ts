/** Random weights of any type, as a file has them. */
import { type WeightName, blockOf, weightName } from '../../runtime/contract/weights.ts';

/** Where a block has numbers in f16; all its other bytes may be anything. */
const halves: Readonly<Record<Exclude<WeightName, 'F32' | 'F16' | 'BF16'>, readonly number[]>> = {
  Q4_0: [0],
  Q4_1: [0, 2],
  Q5_0: [0],
  Q5_1: [0, 2],
  Q8_0: [0],
  Q2_K: [80, 82],
  Q3_K: [108],
  Q4_K: [0, 2],
  Q5_K: [0, 2],
  Q6_K: [208],
  IQ4_NL: [0],
  IQ4_XS: [0],
};

/** Widths that a type's blocks divide: odd and even numbers of blocks. */
export const widthsOf = (type: number): readonly number[] =>
  blockOf(type).elements === 256 ? [256, 512, 768] : [32, 96, 224, 576];

/** f16 between 2^-7 and 2^-5, times 2^-lower: subnormal from 8 on, as scales of Q6_K often are. */
function f16Near(lower: number, at: number): number {
  const bits = 0x2000 + at * 0x800;
  if (lower < 8) return bits - 0x400 * lower;
  return Math.floor(((bits & 0x3ff) | 0x400) * 2 ** (((bits >> 10) & 31) - lower - 1));
}

/** Scales and minima are about 0.01 · 2^-lower, of both signs; plain numbers lie between -0.5 and 0.5. */
export function fileWeights(type: number, rows: number, cols: number, next: () => number, lower = 0): Uint8Array {
  const { elements, bytes: block } = blockOf(type);
  const bytes = new Uint8Array(((rows * cols) / elements) * block).map(() => next() * 256);
  const view = new DataView(bytes.buffer);
  const name = weightName(type)!;
  const sign = () => (next() < 0.5 ? 0x8000 : 0);
  for (let at = 0; at < bytes.length; at += block)
    if (name === 'F32') view.setFloat32(at, next() - 0.5, true);
    else if (name === 'F16') view.setUint16(at, sign() | (0x3000 + next() * 0x800), true);
    else if (name === 'BF16') view.setUint16(at, sign() | (0x3e00 + next() * 0x100), true);
    else for (const half of halves[name]) view.setUint16(at + half, sign() | f16Near(lower, next()), true);
  return bytes;
}
