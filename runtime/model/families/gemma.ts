/**
 * Gemma 2 and 3: norms before and after attention and MLP, whose weights lack 1 in safetensors; a gated MLP with gelu; an
 * embedding scaled by the root of the width and tied to the output. Most layers have a window: every other one of Gemma 2,
 * five of six of Gemma 3. Gemma 2 caps logits, Gemma 3 has norms of queries and keys and another RoPE base in windows.
 */
import type { Family } from './family.ts';
import { attention, ends, fourNorms, headNorms, mlp, someBiases } from './tensors.ts';

const gemma = {
  norm: { gguf: 'rms', stored: 'rmsPlusOne' },
  activation: 'geluTanh',
  ropePairs: { gguf: 'halves', stored: 'halves' },
  scales: ['queryScalar', 'attentionCap', 'logitCap'],
  embedByWidth: true,
  tied: true,
  fixed: { use_bidirectional_attention: [false, 'attention to later tokens'] },
} as const satisfies Partial<Family>;

const tensors = [...ends, ...fourNorms, ...attention, ...mlp, ...someBiases];

export const gemma2: Family = {
  ...gemma,
  name: 'gemma2',
  architectures: { gguf: ['gemma2'], stored: ['gemma2'] },
  windows: { fullEvery: 2 },
  window: 4096,
  scaleDefaults: { attentionCap: 50, logitCap: 30 },
  scaleByWidthAt: 46,
  tensors,
};

export const gemma3: Family = {
  ...gemma,
  name: 'gemma3',
  architectures: { gguf: ['gemma3'], stored: ['gemma3_text'] },
  windows: { fullEvery: 6 },
  windowBase: 10000,
  scaleByWidthAt: 62,
  textOf: {
    modelType: 'gemma3',
    prefixes: {
      'language_model.model.': 'model.',
      'model.language_model.': 'model.',
      'language_model.lm_head.': 'lm_head.',
    },
    others: ['vision_tower.', 'multi_modal_projector.', 'model.vision_tower.', 'model.multi_modal_projector.'],
    defaults: {
      vocab_size: 262208,
      hidden_size: 2304,
      intermediate_size: 9216,
      num_hidden_layers: 26,
      num_attention_heads: 8,
      num_key_value_heads: 4,
      head_dim: 256,
      hidden_activation: 'gelu_pytorch_tanh',
      max_position_embeddings: 131072,
      rms_norm_eps: 1e-6,
      rope_theta: 1e6,
      rope_local_base_freq: 1e4,
      query_pre_attn_scalar: 256,
      sliding_window: 4096,
      sliding_window_pattern: 6,
    },
  },
  tensors: [...tensors, ...headNorms],
};
