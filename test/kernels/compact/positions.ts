/** Positions as if evicted tokens had never been. */
import * as assert from 'uvu/assert';
import { random } from '../../../codegen/oracle/random.ts';
import { attention, bf16, normals, scaled } from '../dense.ts';
import type { Step } from '../driver.ts';
import { type Setting, base, invFreq, positionsOf } from './setting.ts';

export function positionCases({ test, run, policy }: Setting): void {
  test('cache positions: attention after eviction sees distances among the live, wherever the sequence is', async () => {
    for (const interleaved of [true, false])
      for (const kvType of ['bf16', 'f32'] as const)
        for (const length of [60, 600]) {
          const headDim = 64;
          // in f32 only a part of each head is rotated
          const frequencies = invFreq(headDim).fill(0, kvType === 'f32' ? 12 : headDim / 2);
          const shape = base(kvType, { kvHeads: 1, group: 2, interleaved, invFreq: frequencies });
          const { library } = await policy('streaming', shape);
          const [sinks, budget] = [4, 24];
          const next = random(length);
          /** R(angle) of a vector at a position, in doubles. */
          const turn = (x: ArrayLike<number>, position: number) => {
            const out = new Float64Array(headDim);
            for (let i = 0; i < headDim / 2; i++) {
              const [a, b] = interleaved ? [2 * i, 2 * i + 1] : [i, i + headDim / 2];
              const [c, s] = [Math.cos(position * shape.invFreq[i]), Math.sin(position * shape.invFreq[i])];
              out[a] = x[a] * c - x[b] * s;
              out[b] = x[a] * s + x[b] * c;
            }
            return out;
          };
          const [q, k, v] = [
            normals(next, length * 2 * headDim),
            normals(next, length * headDim),
            normals(next, length * headDim),
          ];
          const at = (x: Float32Array, i: number) => x.subarray(i * headDim, (i + 1) * headDim);
          /** Vectors [token][per][dim], each turned by its token's position. */
          const rotated = (x: Float32Array, per: number) => {
            const out = new Float32Array(x.length);
            for (let i = 0; i * headDim < x.length; i++) out.set(turn(at(x, i), Math.floor(i / per)), i * headDim);
            return out;
          };
          const [rq, rk] = [rotated(q, 2), rotated(k, 1)];
          const step = (from: number, to: number): Step => ({
            rows: [{ seq: 0, tokens: to - from, pos0: from, prompt: 40, compact: true, window: [sinks, 0] }],
            layers: [
              {
                q: rq.slice(from * 2 * headDim, to * 2 * headDim),
                k: rk.slice(from * headDim, to * headDim),
                v: v.slice(from * headDim, to * headDim),
              },
            ],
            budgets: [budget],
          });
          const ops = [step(0, 40), ...Array.from({ length: length - 40 }, (_, i) => step(40 + i, 41 + i))];
          const { steps, reads } = run(library, 2, shape, [...ops, { seq: 0, layer: 0, head: 0 }]);
          const expectedSet = Array.from({ length: budget }, (_, i) => (i < sinks ? i : length - budget + i));
          assert.equal(positionsOf(reads[0]), expectedSet);
          // the last query saw the sinks, the newest and itself at distances 0, 1, 2 …
          const seen = [
            ...Array.from({ length: sinks }, (_, i) => i),
            ...Array.from({ length: budget - sinks + 1 }, (_, i) => length - 1 - (budget - sinks) + i),
          ];
          const effective = (i: number) => length - seen.length + i;
          const keys = seen.map((pos, i) => {
            const stored = at(rk, pos);
            return turn(kvType === 'bf16' ? stored.map(bf16) : stored, effective(i) - pos);
          });
          const values = seen.map((pos) => (kvType === 'bf16' ? at(v, pos).map(bf16) : at(v, pos)));
          const answer = steps[steps.length - 1].layers[0];
          for (let g = 0; g < 2; g++) {
            const expected = attention(scaled(at(rq, (length - 1) * 2 + g), kvType), keys, values);
            for (let d = 0; d < headDim; d++) {
              const error = Math.abs(expected.out[d] - answer.out[g * headDim + d]);
              // bf16: probabilities are rounded, and a turned key may fall on the other side of a tie than in doubles
              const allowed = kvType === 'f32' ? 1e-5 : 2 ** -8 * expected.spread[d] + 1e-3;
              assert.ok(error < allowed, `${kvType}, length ${length}, dim ${d}: off by ${error}`);
            }
          }
        }
  });
}
