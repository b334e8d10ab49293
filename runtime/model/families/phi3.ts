/** Phi 3 and 4: queries, keys and values in one tensor, gate and up in another; two sets of RoPE factors by length. */
import type { Family, FamilyTensor } from './family.ts';
import { ends, norms, of } from './tensors.ts';

const qkv = (role: 'q' | 'k' | 'v'): FamilyTensor =>
  of(role, 'blk.#.attn_qkv.weight', 'model.layers.#.self_attn.qkv_proj.weight', { fused: ['q', 'k', 'v'] });
const gateUp = (role: 'gate' | 'up'): FamilyTensor =>
  of(role, 'blk.#.ffn_up.weight', 'model.layers.#.mlp.gate_up_proj.weight', { fused: ['gate', 'up'] });

export const phi3: Family = {
  name: 'phi3',
  architectures: { gguf: ['phi3'], stored: ['phi3'] },
  norm: { gguf: 'rms', stored: 'rms' },
  activation: 'silu',
  ropePairs: { gguf: 'halves', stored: 'halves' },
  windows: 'all',
  tied: false,
  tensors: [
    ...ends,
    ...norms,
    ...(['q', 'k', 'v'] as const).map(qkv),
    of('o', 'blk.#.attn_output.weight', 'model.layers.#.self_attn.o_proj.weight'),
    ...(['gate', 'up'] as const).map(gateUp),
    of('down', 'blk.#.ffn_down.weight', 'model.layers.#.mlp.down_proj.weight'),
  ],
};
