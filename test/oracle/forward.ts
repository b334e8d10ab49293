/**
 * Dense attention in plain loops, one token at a time, with a cache that a rule may thin after any token. This is what a
 * policy means; it shares no code with the compiler or the engine. Arithmetic is in doubles.
 */
import type { RoleName } from '../../runtime/contract/records.ts';
import type { Tiny } from './tiny.ts';

/** One cached token of one layer and KV head. */
export interface Entry {
  pos: number;
  /** after RoPE at pos */
  key: Float64Array;
  /** before RoPE */
  rawKey: Float64Array;
  value: Float64Array;
  /** whatever the rule remembers */
  mass: number;
  /** what each query gave it, where a rule asks for the last ones */
  seen?: number[];
}

/** cache[layer][kvHead], ascending positions */
export type Cache = Entry[][][];

export interface Rule {
  /** Positions count as if evicted tokens had never been (StreamingLLM). */
  cachePositions?: boolean;
  /** One query's probabilities: p[entry][query head of the group], for one layer and KV head. */
  observe?(entries: Entry[], p: number[][], at: { layer: number; head: number; pos: number; prompt: number }): void;
  /** What stays after the token at position `length - 1`, of the layers without a window; undefined: this is no moment to compact. */
  keep?(cache: Cache, at: { length: number; prompt: number; generated: number }): Kept | undefined;
}

/** [layer][kvHead]: kept positions, and how far each candidate's score lay from the border (for ties). */
export type Kept = { positions: number[]; margin: Map<number, number> }[][];

export interface Compaction {
  at: number;
  kept: Kept;
}

export interface Run {
  compactions: Compaction[];
  /** logits after each token, [token][vocab]; computed when they are read */
  logits: Float64Array[];
}

/** Feeds `tokens`, the first `prompt` of them as the prompt. */
export function run(model: Tiny, rule: Rule, tokens: ArrayLike<number>, prompt: number): Run {
  const { layers, kvHeads, group, headDim, width, ffn, vocab, ropeInterleaved } = model.shape;
  const weight = (role: RoleName, layer = 0) => model.weights.get(role)![layer];
  const product = (matrix: Float32Array, x: Float64Array, rows: number) => {
    const [out, cols] = [new Float64Array(rows), x.length];
    let r = 0;
    for (; r + 4 <= rows; r += 4) {
      const at = r * cols;
      let [a, b, c, d] = [0, 0, 0, 0]; // four rows, since a sum waits for itself
      for (let i = 0; i < cols; i++) {
        a += matrix[at + i] * x[i];
        b += matrix[at + cols + i] * x[i];
        c += matrix[at + 2 * cols + i] * x[i];
        d += matrix[at + 3 * cols + i] * x[i];
      }
      out.set([a, b, c, d], r);
    }
    for (; r < rows; r++) for (let i = 0; i < cols; i++) out[r] += matrix[r * cols + i] * x[i];
    return out;
  };
  const dot = (a: Float64Array, b: Float64Array) => {
    let sum = 0;
    for (let d = 0; d < a.length; d++) sum += a[d] * b[d];
    return sum;
  };
  const norm = (x: Float64Array, gain: Float32Array) => {
    const scale = 1 / Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / x.length + 1e-5);
    return x.map((v, i) => v * scale * gain[i]);
  };
  const { windows, ropeDims = headDim, attentionScale = 1 / Math.sqrt(headDim), attentionCap } = model.shape;
  const rotate = (x: Float64Array, pos: number, layer: number) => {
    const out = Float64Array.from(x);
    for (let i = 0; i < ropeDims / 2; i++) {
      const [a, b] = ropeInterleaved ? [2 * i, 2 * i + 1] : [i, i + ropeDims / 2];
      const angle = pos * model.invFreq[layer][i];
      const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
      out[a] = x[a] * cos - x[b] * sin;
      out[b] = x[a] * sin + x[b] * cos;
    }
    return out;
  };
  const cache: Cache = Array.from({ length: layers }, () => Array.from({ length: kvHeads }, () => []));
  const compactions: Compaction[] = [];
  const last: Float64Array[] = [];

  for (let pos = 0; pos < tokens.length; pos++) {
    let x = Float64Array.from(weight('embed').subarray(tokens[pos] * width, (tokens[pos] + 1) * width));
    for (let layer = 0; layer < layers; layer++) {
      const h = norm(x, weight('attnNorm', layer));
      const q = product(weight('q', layer), h, kvHeads * group * headDim);
      const k = product(weight('k', layer), h, kvHeads * headDim);
      const v = product(weight('v', layer), h, kvHeads * headDim);
      const attended = new Float64Array(kvHeads * group * headDim);
      for (let head = 0; head < kvHeads; head++) {
        const window = windows?.[layer];
        if (window) cache[layer][head] = cache[layer][head].filter((entry) => entry.pos > pos - window);
        const entries = cache[layer][head];
        const rawKey = k.slice(head * headDim, (head + 1) * headDim);
        entries.push({
          pos,
          rawKey,
          key: rotate(rawKey, pos, layer),
          value: v.slice(head * headDim, (head + 1) * headDim),
          mass: 0,
        });
        const p: number[][] = entries.map(() => []);
        const positions = rule.cachePositions && !window;
        const keys = entries.map(({ rawKey, key }, rank) => (positions ? rotate(rawKey, rank, layer) : key));
        for (let g = 0; g < group; g++) {
          const at = (head * group + g) * headDim;
          const query = rotate(q.slice(at, at + headDim), positions ? entries.length - 1 : pos, layer);
          const scores = keys.map((key) => {
            const logit = attentionScale * dot(query, key);
            return attentionCap ? attentionCap * Math.tanh(logit / attentionCap) : logit;
          });
          const top = Math.max(...scores);
          const total = scores.reduce((sum, s) => sum + Math.exp(s - top), 0);
          scores.forEach((s, j) => {
            const part = Math.exp(s - top) / total;
            const { value } = entries[j];
            p[j][g] = part;
            for (let d = 0; d < headDim; d++) attended[at + d] += part * value[d];
          });
        }
        if (!window) rule.observe?.(entries, p, { layer, head, pos, prompt });
      }
      const o = product(weight('o', layer), attended, width);
      x = x.map((value, i) => value + o[i]);
      const m = norm(x, weight('ffnNorm', layer));
      const gate = product(weight('gate', layer), m, ffn);
      const up = product(weight('up', layer), m, ffn);
      const down = product(
        weight('down', layer),
        gate.map((g, i) => (g / (1 + Math.exp(-g))) * up[i]),
        width,
      );
      x = x.map((value, i) => value + down[i]);
    }
    last.push(norm(x, weight('outputNorm')));
    const length = pos + 1;
    const thinned = cache.filter((_, layer) => !windows?.[layer]);
    const decided = rule.keep?.(thinned, { length, prompt, generated: length < prompt ? -1 : length - prompt });
    if (!decided) continue;
    const kept = cache.map((heads, layer) => {
      const window = windows?.[layer];
      if (!window) return decided[thinned.indexOf(heads)];
      const seen = (entries: Entry[]) => entries.map((entry) => entry.pos).filter((each) => each > length - window);
      return heads.map((entries) => ({ positions: seen(entries), margin: new Map<number, number>() }));
    });
    compactions.push({ at: length, kept });
    kept.forEach((heads, layer) =>
      heads.forEach(({ positions }, head) => {
        const stay = new Set(positions);
        cache[layer][head] = cache[layer][head].filter((entry) => stay.has(entry.pos));
      }),
    );
  }
  return {
    compactions,
    get logits() {
      return last.map((each) => product(weight('embed'), each, vocab));
    },
  };
}
