/** Granite 3: Llama with scales of the embedding, the residual stream, attention and the logits. */
import type { Family } from './family.ts';
import { decoder, someBiases } from './tensors.ts';

export const granite: Family = {
  name: 'granite',
  architectures: { gguf: ['granite'], stored: ['granite'] },
  norm: { gguf: 'rms', stored: 'rms' },
  activation: 'silu',
  ropePairs: { gguf: 'interleaved', stored: 'halves' },
  scales: ['embedScale', 'residualScale', 'attentionScale', 'logitDivisor'],
  tied: false,
  tensors: [...decoder, ...someBiases],
};
