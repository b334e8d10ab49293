/**
 * OPT: LayerNorm, learned positions in place of RoPE, an MLP with relu that is not gated, biases everywhere. Its table of
 * positions begins with two rows that no token has. llama.cpp has no such architecture, so there are no GGUF files.
 */
import type { RoleName } from '../../contract/records.ts';
import type { Family, FamilyTensor } from './family.ts';

/** Weight and bias of a matrix or norm. */
const pair = (role: RoleName, bias: RoleName, name: string): FamilyTensor[] => [
  { role, names: { stored: `model.decoder.${name}.weight` } },
  { role: bias, names: { stored: `model.decoder.${name}.bias` } },
];

export const opt: Family = {
  name: 'opt',
  architectures: { gguf: [], stored: ['opt'] },
  norm: { gguf: 'layer', stored: 'layer' },
  normEps: 1e-5,
  activation: 'relu',
  ropePairs: { gguf: 'halves', stored: 'halves' },
  positionsFrom: 2,
  tied: true,
  fixed: {
    do_layer_norm_before: [true, 'norms after attention and MLP'],
    _remove_final_layer_norm: [false, 'an output without a norm'],
    enable_bias: [true, 'a model without biases'],
    layer_norm_elementwise_affine: [true, 'norms without weights'],
  },
  tensors: [
    { role: 'embed', names: { stored: 'model.decoder.embed_tokens.weight' } },
    { role: 'positions', names: { stored: 'model.decoder.embed_positions.weight' } },
    ...pair('outputNorm', 'outputNormBias', 'final_layer_norm'),
    { role: 'output', names: { stored: 'lm_head.weight' }, tiedTo: 'embed' },
    ...pair('attnNorm', 'attnNormBias', 'layers.#.self_attn_layer_norm'),
    ...pair('q', 'qBias', 'layers.#.self_attn.q_proj'),
    ...pair('k', 'kBias', 'layers.#.self_attn.k_proj'),
    ...pair('v', 'vBias', 'layers.#.self_attn.v_proj'),
    ...pair('o', 'oBias', 'layers.#.self_attn.out_proj'),
    ...pair('ffnNorm', 'ffnNormBias', 'layers.#.final_layer_norm'),
    ...pair('up', 'upBias', 'layers.#.fc1'),
    ...pair('down', 'downBias', 'layers.#.fc2'),
  ],
};
