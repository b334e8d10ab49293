/** Mistral: Llama with a sliding window in every layer, where config.json states one. Its GGUF is called llama. */
import type { Family } from './family.ts';
import { decoder } from './tensors.ts';

export const mistral: Family = {
  name: 'mistral',
  architectures: { gguf: [], stored: ['mistral'] },
  norm: { gguf: 'rms', stored: 'rms' },
  activation: 'silu',
  ropePairs: { gguf: 'interleaved', stored: 'halves' },
  windows: 'all',
  tied: false,
  tensors: decoder,
};
