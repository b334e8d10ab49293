/**
 * Llama 1 to 3 and what has its shape (SmolLM2, TinyLlama, Falcon 3 …): RMS norms before attention and MLP, rotated
 * queries and keys, a gated MLP with silu, biases where a file has them. GGUF's converter interleaves the pairs that RoPE
 * rotates; safetensors keeps halves.
 */
import type { Family } from './family.ts';
import { decoder, someBiases } from './tensors.ts';

export const llama: Family = {
  name: 'llama',
  architectures: { gguf: ['llama'], stored: ['llama'] },
  norm: { gguf: 'rms', stored: 'rms' },
  activation: 'silu',
  ropePairs: { gguf: 'interleaved', stored: 'halves' },
  tied: false,
  tensors: [...decoder, ...someBiases],
};
