/**
 * Llama 1 to 3 and what has its shape (SmolLM2, TinyLlama …): RMS norms before attention and MLP, rotated queries and keys,
 * a gated MLP with silu, no biases. GGUF's converter interleaves the pairs that RoPE rotates; safetensors keeps halves.
 */
import type { Family, FamilyTensor } from './family.ts';

const norm: FamilyTensor['shape'] = ({ width }) => [1, width];
const vocabulary: FamilyTensor['shape'] = ({ vocab, width }) => [vocab, width];
const kv: FamilyTensor['shape'] = ({ kvHeads, headDim, width }) => [kvHeads * headDim, width];
const wide: FamilyTensor['shape'] = ({ ffn, width }) => [ffn, width];

export const llama: Family = {
  name: 'llama',
  architectures: { gguf: ['llama'], stored: ['llama'] },
  norm: 'rms',
  activation: 'silu',
  ropePairs: { gguf: 'interleaved', stored: 'halves' },
  refused: { attention_bias: 'biases', mlp_bias: 'biases' },
  tensors: [
    {
      role: 'embed',
      names: { gguf: 'token_embd.weight', stored: 'model.embed_tokens.weight' },
      shape: vocabulary,
    },
    { role: 'outputNorm', names: { gguf: 'output_norm.weight', stored: 'model.norm.weight' }, shape: norm },
    {
      role: 'output',
      names: { gguf: 'output.weight', stored: 'lm_head.weight' },
      shape: vocabulary,
      tiedTo: 'embed',
    },
    {
      role: 'attnNorm',
      names: { gguf: 'blk.#.attn_norm.weight', stored: 'model.layers.#.input_layernorm.weight' },
      shape: norm,
    },
    {
      role: 'q',
      names: { gguf: 'blk.#.attn_q.weight', stored: 'model.layers.#.self_attn.q_proj.weight' },
      shape: ({ heads, headDim, width }) => [heads * headDim, width],
    },
    {
      role: 'k',
      names: { gguf: 'blk.#.attn_k.weight', stored: 'model.layers.#.self_attn.k_proj.weight' },
      shape: kv,
    },
    {
      role: 'v',
      names: { gguf: 'blk.#.attn_v.weight', stored: 'model.layers.#.self_attn.v_proj.weight' },
      shape: kv,
    },
    {
      role: 'o',
      names: { gguf: 'blk.#.attn_output.weight', stored: 'model.layers.#.self_attn.o_proj.weight' },
      shape: ({ width, heads, headDim }) => [width, heads * headDim],
    },
    {
      role: 'ffnNorm',
      names: { gguf: 'blk.#.ffn_norm.weight', stored: 'model.layers.#.post_attention_layernorm.weight' },
      shape: norm,
    },
    {
      role: 'gate',
      names: { gguf: 'blk.#.ffn_gate.weight', stored: 'model.layers.#.mlp.gate_proj.weight' },
      shape: wide,
    },
    {
      role: 'up',
      names: { gguf: 'blk.#.ffn_up.weight', stored: 'model.layers.#.mlp.up_proj.weight' },
      shape: wide,
    },
    {
      role: 'down',
      names: { gguf: 'blk.#.ffn_down.weight', stored: 'model.layers.#.mlp.down_proj.weight' },
      shape: ({ width, ffn }) => [width, ffn],
    },
  ],
};
