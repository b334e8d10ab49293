/** SmolLM3: Llama, every fourth layer of which does not rotate queries and keys. */
import type { Family } from './family.ts';
import { decoder, someBiases } from './tensors.ts';

export const smollm3: Family = {
  name: 'smollm3',
  architectures: { gguf: ['smollm3'], stored: ['smollm3'] },
  norm: { gguf: 'rms', stored: 'rms' },
  activation: 'silu',
  ropePairs: { gguf: 'interleaved', stored: 'halves' },
  unrotatedEvery: 4,
  windows: 'counted',
  tied: true,
  tensors: [...decoder, ...someBiases],
};
