/** Qwen 3: norms of queries and keys by head, whose size is not width / heads; windows as Qwen 2 has them. */
import type { Family } from './family.ts';
import { decoder, headNorms, someBiases } from './tensors.ts';

export const qwen3: Family = {
  name: 'qwen3',
  architectures: { gguf: ['qwen3'], stored: ['qwen3'] },
  norm: { gguf: 'rms', stored: 'rms' },
  activation: 'silu',
  ropePairs: { gguf: 'halves', stored: 'halves' },
  windows: 'counted',
  tied: false,
  tensors: [...decoder, ...headNorms, ...someBiases],
};
