/** Attention once more, in doubles and plain loops, and the numbers of these tests: normal ones, and rounded ones. */
import type { KvType } from '../../codegen/plan/types.ts';
import { SEGMENT } from '../../runtime/contract/records.ts';

/** Roughly normal numbers. */
export function normals(next: () => number, n: number, size = 1): Float32Array {
  return Float32Array.from({ length: n }, () => (next() + next() + next() + next() - 2) * 1.7 * size);
}

/** Rounded to bf16, to nearest even. */
export function bf16(x: number): number {
  const cell = new Float32Array([x]);
  const bits = new Uint32Array(cell.buffer);
  bits[0] = (bits[0] + 0x7fff + ((bits[0] >>> 16) & 1)) & 0xffff0000;
  return cell[0];
}

/** Rounded to f16, to nearest even. */
export function f16(x: number): number {
  const unit = 2 ** Math.max(Math.floor(Math.log2(Math.abs(x) || 1)) - 10, -24);
  const units = x / unit;
  const low = Math.floor(units);
  const up = units - low > 0.5 || (units - low === 0.5 && low % 2 !== 0);
  return (up ? low + 1 : low) * unit;
}

/** A number as each type stores it. */
export const rounded: Record<KvType, (x: number) => number> = { bf16, f16, f32: (x) => x };

/** A query as attention multiplies it: scaled, and rounded as the keys are. */
export function scaled(q: ArrayLike<number>, kvType: KvType): Float32Array {
  const scale = Math.fround(1 / Math.sqrt(q.length));
  return Float32Array.from(q, (x) => rounded[kvType](Math.fround(x * scale)));
}

/** Probabilities of one scaled query over keys [slot][dim], and what they come from. */
export function probabilities(
  q: ArrayLike<number>,
  keys: ArrayLike<number>[],
  softCap = 0,
): { p: number[]; logits: number[]; lse: number } {
  const logits = keys.map((key) => {
    let sum = 0;
    for (let d = 0; d < q.length; d++) sum += q[d] * key[d];
    return softCap ? softCap * Math.tanh(sum / softCap) : sum;
  });
  const top = Math.max(...logits);
  const total = logits.reduce((sum, x) => sum + Math.exp(x - top), 0);
  const lse = top + Math.log(total);
  return { p: logits.map((x) => Math.exp(x - lse)), logits, lse };
}

/** Probabilities as the CPU weighs values with them: relative to the top of a segment of slots, and rounded there. */
export function weights(
  { logits, lse }: { logits: number[]; lse: number },
  kvType: KvType,
  segment = SEGMENT,
): number[] {
  return logits.map((x, s) => {
    const from = s - (s % segment);
    const top = Math.max(...logits.slice(from, from + segment));
    return rounded[kvType](Math.fround(Math.exp(x - top))) * Math.exp(top - lse);
  });
}

/** Attention output of one scaled query; `spread` is the sum of |p v|, what an error of p is weighed with. */
export function attention(
  q: ArrayLike<number>,
  keys: ArrayLike<number>[],
  values: ArrayLike<number>[],
  softCap = 0,
): { out: Float64Array; spread: Float64Array; lse: number } {
  const { p, lse } = probabilities(q, keys, softCap);
  const [out, spread] = [new Float64Array(q.length), new Float64Array(q.length)];
  values.forEach((value, s) => {
    for (let d = 0; d < out.length; d++) {
      out[d] += p[s] * value[d];
      spread[d] += Math.abs(p[s] * value[d]);
    }
  });
  return { out, spread, lse };
}
