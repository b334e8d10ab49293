/** RoPE's keys and tensors in a GGUF file, as llama.cpp reads them. */
import { type Rope, yarnScale } from './rope.ts';
import { ModelError } from './types.ts';

/** What a file says, looked up; numbers below the architecture throw where they are missing and have no fallback. */
export interface GgufRope {
  readonly value: (key: string) => unknown;
  readonly number: (key: string, fallback?: number) => number;
  /** so many numbers of a tensor, where the file has it */
  readonly factors: (name: string, count: number) => Float32Array | undefined;
  readonly headDim: number;
  /** context_length */
  readonly positions: number;
  /** tokens that will be served at most */
  readonly context: number;
  readonly where: string;
}

export function ggufRope(from: GgufRope): Rope {
  const { number, headDim, positions, context, where } = from;
  const dims = number('rope.dimension_count', headDim);
  const factors = (name: string) => from.factors(name, dims / 2);
  const original = number('rope.scaling.original_context_length', positions);
  const [short, long] = ['short', 'long'].map((which) => factors(`rope_factors_${which}.weight`));
  if (!short !== !long) throw new ModelError(`${where}: has one of RoPE's short and long factors, and not the other.`);
  const { scaling, scale } = scalingOf(from, original);
  const attention = number('rope.scaling.attn_factor', 1);
  if (!(attention > 0 && Number.isFinite(attention)))
    throw new ModelError(`${where}: RoPE's factor of attention is ${attention}.`);
  return {
    base: number('rope.freq_base', 10000),
    dims,
    scaling,
    factors: (context > original ? long : short) ?? factors('rope_freqs.weight'),
    scale: scale * attention,
  };
}

/** A factor without a type is linear, the older key counts where the newer is absent, 0 is no factor. */
function scalingOf({ value, number, where }: GgufRope, original: number): { scaling: Rope['scaling']; scale: number } {
  const type = value('rope.scaling.type') ?? 'linear';
  const factor = number('rope.scaling.factor', number('rope.scale_linear', 0));
  if (!['none', 'linear', 'longrope', 'yarn'].includes(String(type)))
    throw new ModelError(`${where}: RoPE scaling of type ${String(type)} is not supported.`);
  if (factor !== 0 && !(factor > 0 && Number.isFinite(factor)))
    throw new ModelError(`${where}: RoPE's factor is ${factor}.`);
  if (type === 'none' || type === 'longrope' || factor === 0 || factor === 1) return { scaling: undefined, scale: 1 };
  if (type === 'linear') return { scaling: { kind: 'linear', factor }, scale: 1 };
  const [betaFast, betaSlow] = [number('rope.scaling.yarn_beta_fast', 32), number('rope.scaling.yarn_beta_slow', 1)];
  return { scaling: { kind: 'yarn', factor, original, betaFast, betaSlow, truncate: true }, scale: yarnScale(factor) };
}
