/**
 * Llama 1 to 3 and what has its shape (SmolLM2, TinyLlama …): RMS norms before attention and MLP, rotated queries and keys,
 * a gated MLP with silu, no biases. GGUF's converter interleaves the pairs that RoPE rotates; safetensors keeps halves.
 */
import type { Family } from './family.ts';

export const llama: Family = {
  name: 'llama',
  architectures: { gguf: ['llama'], stored: ['llama'] },
  norm: 'rms',
  activation: 'silu',
  ropePairs: { gguf: 'interleaved', stored: 'halves' },
  refused: { attention_bias: 'biases', mlp_bias: 'biases' },
  tensors: [
    { role: 'embed', names: { gguf: 'token_embd.weight', stored: 'model.embed_tokens.weight' } },
    { role: 'outputNorm', names: { gguf: 'output_norm.weight', stored: 'model.norm.weight' } },
    { role: 'output', names: { gguf: 'output.weight', stored: 'lm_head.weight' }, tiedTo: 'embed' },
    { role: 'attnNorm', names: { gguf: 'blk.#.attn_norm.weight', stored: 'model.layers.#.input_layernorm.weight' } },
    { role: 'q', names: { gguf: 'blk.#.attn_q.weight', stored: 'model.layers.#.self_attn.q_proj.weight' } },
    { role: 'k', names: { gguf: 'blk.#.attn_k.weight', stored: 'model.layers.#.self_attn.k_proj.weight' } },
    { role: 'v', names: { gguf: 'blk.#.attn_v.weight', stored: 'model.layers.#.self_attn.v_proj.weight' } },
    { role: 'o', names: { gguf: 'blk.#.attn_output.weight', stored: 'model.layers.#.self_attn.o_proj.weight' } },
    {
      role: 'ffnNorm',
      names: { gguf: 'blk.#.ffn_norm.weight', stored: 'model.layers.#.post_attention_layernorm.weight' },
    },
    { role: 'gate', names: { gguf: 'blk.#.ffn_gate.weight', stored: 'model.layers.#.mlp.gate_proj.weight' } },
    { role: 'up', names: { gguf: 'blk.#.ffn_up.weight', stored: 'model.layers.#.mlp.up_proj.weight' } },
    { role: 'down', names: { gguf: 'blk.#.ffn_down.weight', stored: 'model.layers.#.mlp.down_proj.weight' } },
  ],
};
