/** Rotary position embedding: what files say of it, and the frequencies that follow. */

export interface Rope {
  readonly base: number;
  /** dimensions of a head that are rotated, its first ones */
  readonly dims: number;
  readonly scaling?: RopeScaling;
  /** [dims / 2] divisors of the frequencies (GGUF's rope_freqs, LongRoPE's short or long factors) */
  readonly factors?: Float32Array;
  /** of what is rotated, queries and keys: YaRN's and LongRoPE's attention factor; 1 where absent */
  readonly scale?: number;
}

export type RopeScaling =
  | { kind: 'linear'; factor: number }
  | { kind: 'llama3'; factor: number; low: number; high: number; original: number }
  | Yarn;

/** YaRN (Peng et al. 2023): short wavelengths stay, long ones are slowed, those between are mixed. */
export interface Yarn {
  readonly kind: 'yarn';
  readonly factor: number;
  /** positions that the model was trained with */
  readonly original: number;
  /** rotations within them from which on a dimension stays, and up to which it is slowed */
  readonly betaFast: number;
  readonly betaSlow: number;
  /** the borders are whole dimensions */
  readonly truncate: boolean;
}

/** How much of dimension pair i is slowed, 0 … 1. */
function slowed(i: number, dims: number, base: number, yarn: Yarn): number {
  const pairOf = (rotations: number) =>
    (dims * Math.log(yarn.original / (rotations * 2 * Math.PI))) / (2 * Math.log(base));
  const [fast, slow] = [pairOf(yarn.betaFast), pairOf(yarn.betaSlow)];
  const low = Math.max(0, yarn.truncate ? Math.floor(fast) : fast);
  const high = Math.min(dims - 1, yarn.truncate ? Math.ceil(slow) : slow);
  return Math.min(1, Math.max(0, (i - low) / Math.max(0.001, high - low)));
}

/** YaRN's attention factor where a file gives none: the logits' temperature for a context that is `factor` times as long. */
export const yarnScale = (factor: number, weight = 1): number => (factor > 1 ? 1 + 0.1 * weight * Math.log(factor) : 1);

/** LongRoPE's (Ding et al. 2024). */
export const longRopeScale = (factor: number, original: number): number =>
  factor > 1 ? Math.sqrt(1 + Math.log(factor) / Math.log(original)) : 1;

/**
 * [headDim / 2] radians per position, zeros from dims / 2 on: those dimensions are not rotated. Llama 3 slows long
 * wavelengths and leaves short ones.
 */
export function ropeFrequencies(headDim: number, { base, dims, scaling, factors }: Rope): Float32Array {
  return Float32Array.from({ length: headDim / 2 }, (_, i) => {
    if (i >= dims / 2) return 0;
    const plain = base ** ((-2 * i) / dims) / (factors?.[i] ?? 1);
    if (!scaling) return plain;
    if (scaling.kind === 'linear') return plain / scaling.factor;
    if (scaling.kind === 'yarn') {
      const slow = slowed(i, dims, base, scaling);
      return (slow * plain) / scaling.factor + (1 - slow) * plain;
    }
    const { factor, low, high, original } = scaling;
    const wavelength = (2 * Math.PI) / plain;
    if (wavelength < original / high) return plain;
    if (wavelength > original / low) return plain / factor;
    const smooth = (original / wavelength - low) / (high - low);
    return ((1 - smooth) * plain) / factor + smooth * plain;
  });
}
