/** The forward pass of every family in plain loops and doubles, without a policy: what the fields of a meaning say. */
import type { RoleName } from '../../runtime/contract/records.ts';

/** [role][layer] → row-major matrix [rows = outputs][cols = inputs]; norms are what multiplies, RoPE pairs are halves */
export type Weights = Map<RoleName, Float32Array[]>;

export interface Meaning {
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly width: number;
  readonly vocab: number;
  readonly layerNorm: boolean;
  readonly activation: 'silu' | 'geluTanh' | 'relu';
  readonly embedScale: number;
  readonly residualScale: number;
  readonly attentionScale: number;
  readonly logitScale: number;
  /** 0: none */
  readonly attentionCap: number;
  readonly logitCap: number;
  /** [layer], 0: all */
  readonly windows: readonly number[];
  /** [layer][half of the dimensions of a head that are rotated, its first ones] */
  readonly frequencies: readonly (readonly number[])[];
  /** of what is rotated */
  readonly ropeScale: number;
}

type Sizes = Pick<Meaning, 'layers' | 'heads' | 'kvHeads' | 'headDim' | 'width' | 'vocab'>;

/** What Llama means. */
export const plainMeaning = (sizes: Sizes, frequencies: readonly number[]): Meaning => ({
  ...sizes,
  layerNorm: false,
  activation: 'silu',
  embedScale: 1,
  residualScale: 1,
  attentionScale: 1 / Math.sqrt(sizes.headDim),
  logitScale: 1,
  attentionCap: 0,
  logitCap: 0,
  windows: Array(sizes.layers).fill(0),
  frequencies: Array(sizes.layers).fill(frequencies),
  ropeScale: 1,
});

const activations = {
  silu: (x: number) => x / (1 + Math.exp(-x)),
  geluTanh: (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  relu: (x: number) => Math.max(x, 0),
};

const capped = (x: number, cap: number): number => (cap ? cap * Math.tanh(x / cap) : x);

/** Log-probabilities after each token, [token][vocab]. */
export function plainLogprobs(m: Meaning, weights: Weights, tokens: ArrayLike<number>): number[][] {
  const weight = (role: RoleName, layer = 0): Float32Array | undefined => weights.get(role)?.[layer];
  const linear = (role: RoleName, x: number[], layer = 0): number[] => {
    const [w, bias] = [weight(role, layer)!, weight(`${role}Bias` as RoleName, layer)];
    return Array.from({ length: w.length / x.length }, (_, r) =>
      x.reduce((sum, value, c) => sum + w[r * x.length + c] * value, bias?.[r] ?? 0),
    );
  };
  const norm = (role: RoleName, x: number[], layer = 0): number[] => {
    const gain = weight(role, layer);
    if (!gain) return x;
    const mean = m.layerNorm ? x.reduce((sum, v) => sum + v, 0) / x.length : 0;
    const scale = 1 / Math.sqrt(x.reduce((sum, v) => sum + (v - mean) ** 2, 0) / x.length + 1e-5);
    const bias = weight(`${role}Bias` as RoleName, layer);
    return x.map((v, i) => (v - mean) * scale * gain[i] + (bias?.[i] ?? 0));
  };
  /** Heads of a layer, normed and rotated. */
  const heads = (x: number[], role: RoleName, layer: number, pos: number): number[][] =>
    Array.from({ length: x.length / m.headDim }, (_, h) => {
      const head = norm(role, x.slice(h * m.headDim, (h + 1) * m.headDim), layer);
      const out = [...head];
      const half = m.frequencies[layer].length;
      m.frequencies[layer].forEach((frequency, i) => {
        const [a, b, angle] = [m.ropeScale * head[i], m.ropeScale * head[i + half], pos * frequency];
        out[i] = a * Math.cos(angle) - b * Math.sin(angle);
        out[i + half] = a * Math.sin(angle) + b * Math.cos(angle);
      });
      return out;
    });
  const added = (x: number[], y: number[]) => x.map((value, i) => value + m.residualScale * y[i]);
  const cache: { keys: number[][][]; values: number[][] }[] = Array.from({ length: m.layers }, () => ({
    keys: [],
    values: [],
  }));

  const attention = (x: number[], layer: number, pos: number): number[] => {
    const queries = heads(linear('q', x, layer), 'qNorm', layer, pos);
    const { keys, values } = cache[layer];
    keys.push(heads(linear('k', x, layer), 'kNorm', layer, pos));
    values.push(linear('v', x, layer));
    const first = m.windows[layer] ? Math.max(0, pos + 1 - m.windows[layer]) : 0;
    return queries.flatMap((query, h) => {
      const kv = Math.floor(h / (m.heads / m.kvHeads));
      const scores = keys.slice(first).map((key) => {
        const dot = query.reduce((sum, value, d) => sum + value * key[kv][d], 0);
        return Math.exp(capped(dot * m.attentionScale, m.attentionCap));
      });
      const total = scores.reduce((a, b) => a + b, 0);
      return query.map((_, d) =>
        scores.reduce((sum, score, j) => sum + (score / total) * values[first + j][kv * m.headDim + d], 0),
      );
    });
  };
  const mlp = (x: number[], layer: number): number[] => {
    const [up, act] = [linear('up', x, layer), activations[m.activation]];
    const gate = weight('gate', layer) ? linear('gate', x, layer).map(act) : undefined;
    return linear('down', gate ? gate.map((g, i) => g * up[i]) : up.map(act), layer);
  };

  return Array.from(tokens, (token, pos) => {
    const row = (role: RoleName, i: number) => weight(role)?.subarray(i * m.width, (i + 1) * m.width);
    let x = Array.from(row('embed', token)!, (v, i) => v * m.embedScale + (row('positions', pos)?.[i] ?? 0));
    for (let layer = 0; layer < m.layers; layer++) {
      const o = linear('o', attention(norm('attnNorm', x, layer), layer, pos), layer);
      x = added(x, norm('attnPostNorm', o, layer));
      x = added(x, norm('ffnPostNorm', mlp(norm('ffnNorm', x, layer), layer), layer));
    }
    const logits = linear(weights.has('output') ? 'output' : 'embed', norm('outputNorm', x)).map((logit) =>
      capped(logit * m.logitScale, m.logitCap),
    );
    const top = Math.max(...logits);
    const total = top + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - top), 0));
    return logits.map((logit) => logit - total);
  });
}
