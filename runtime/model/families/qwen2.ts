/** Qwen 2 and 2.5: Llama with biases of queries, keys and values; windows in the last layers, where config.json uses them. */
import type { Family } from './family.ts';
import { decoder, qkvBiases } from './tensors.ts';

export const qwen2: Family = {
  name: 'qwen2',
  architectures: { gguf: ['qwen2'], stored: ['qwen2'] },
  norm: { gguf: 'rms', stored: 'rms' },
  activation: 'silu',
  ropePairs: { gguf: 'halves', stored: 'halves' },
  windows: 'counted',
  tied: false,
  tensors: [...decoder, ...qkvBiases()],
};
