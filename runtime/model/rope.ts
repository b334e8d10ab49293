/** Rotary position embedding: what files say of it, and the frequencies that follow. */

export interface Rope {
  readonly base: number;
  /** dimensions of a head that are rotated */
  readonly dims: number;
  readonly scaling?: RopeScaling;
  /** [headDim / 2] divisors of the frequencies (GGUF's rope_freqs) */
  readonly factors?: Float32Array;
}

export type RopeScaling =
  | { kind: 'linear'; factor: number }
  | { kind: 'llama3'; factor: number; low: number; high: number; original: number };

/** [headDim / 2] radians per position. Llama 3 slows long wavelengths and leaves short ones. */
export function ropeFrequencies(headDim: number, { base, scaling, factors }: Rope): Float32Array {
  return Float32Array.from({ length: headDim / 2 }, (_, i) => {
    const plain = base ** ((-2 * i) / headDim) / (factors?.[i] ?? 1);
    if (!scaling) return plain;
    if (scaling.kind === 'linear') return plain / scaling.factor;
    const { factor, low, high, original } = scaling;
    const wavelength = (2 * Math.PI) / plain;
    if (wavelength < original / high) return plain;
    if (wavelength > original / low) return plain / factor;
    const smooth = (original / wavelength - low) / (high - low);
    return ((1 - smooth) * plain) / factor + smooth * plain;
  });
}
