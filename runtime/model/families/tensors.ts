/** Tensors that families have in common, by the names that most give them. */
import type { RoleName } from '../../contract/records.ts';
import type { FamilyTensor } from './family.ts';

export const of = (role: RoleName, gguf: string, stored: string, more: Partial<FamilyTensor> = {}): FamilyTensor => ({
  role,
  names: { gguf, stored },
  ...more,
});

export const ends: readonly FamilyTensor[] = [
  of('embed', 'token_embd.weight', 'model.embed_tokens.weight'),
  of('outputNorm', 'output_norm.weight', 'model.norm.weight'),
  of('output', 'output.weight', 'lm_head.weight', { tiedTo: 'embed' }),
];

export const norms: readonly FamilyTensor[] = [
  of('attnNorm', 'blk.#.attn_norm.weight', 'model.layers.#.input_layernorm.weight'),
  of('ffnNorm', 'blk.#.ffn_norm.weight', 'model.layers.#.post_attention_layernorm.weight'),
];

export const attention: readonly FamilyTensor[] = [
  of('q', 'blk.#.attn_q.weight', 'model.layers.#.self_attn.q_proj.weight'),
  of('k', 'blk.#.attn_k.weight', 'model.layers.#.self_attn.k_proj.weight'),
  of('v', 'blk.#.attn_v.weight', 'model.layers.#.self_attn.v_proj.weight'),
  of('o', 'blk.#.attn_output.weight', 'model.layers.#.self_attn.o_proj.weight'),
];

export const mlp: readonly FamilyTensor[] = [
  of('gate', 'blk.#.ffn_gate.weight', 'model.layers.#.mlp.gate_proj.weight'),
  of('up', 'blk.#.ffn_up.weight', 'model.layers.#.mlp.up_proj.weight'),
  of('down', 'blk.#.ffn_down.weight', 'model.layers.#.mlp.down_proj.weight'),
];

/** What Llama has, and most others have too. */
export const decoder: readonly FamilyTensor[] = [...ends, ...norms, ...attention, ...mlp];

export const qkvBiases = (more: Partial<FamilyTensor> = {}): readonly FamilyTensor[] => [
  of('qBias', 'blk.#.attn_q.bias', 'model.layers.#.self_attn.q_proj.bias', more),
  of('kBias', 'blk.#.attn_k.bias', 'model.layers.#.self_attn.k_proj.bias', more),
  of('vBias', 'blk.#.attn_v.bias', 'model.layers.#.self_attn.v_proj.bias', more),
];

const attention_bias = { optional: true, flag: 'attention_bias' } as const;
const mlp_bias = { optional: true, flag: 'mlp_bias' } as const;

/** Of every matrix, where a file has them. */
export const someBiases: readonly FamilyTensor[] = [
  ...qkvBiases(attention_bias),
  of('oBias', 'blk.#.attn_output.bias', 'model.layers.#.self_attn.o_proj.bias', attention_bias),
  of('gateBias', 'blk.#.ffn_gate.bias', 'model.layers.#.mlp.gate_proj.bias', mlp_bias),
  of('upBias', 'blk.#.ffn_up.bias', 'model.layers.#.mlp.up_proj.bias', mlp_bias),
  of('downBias', 'blk.#.ffn_down.bias', 'model.layers.#.mlp.down_proj.bias', mlp_bias),
];

/** Norms of each query head and key. */
export const headNorms: readonly FamilyTensor[] = [
  of('qNorm', 'blk.#.attn_q_norm.weight', 'model.layers.#.self_attn.q_norm.weight'),
  of('kNorm', 'blk.#.attn_k_norm.weight', 'model.layers.#.self_attn.k_norm.weight'),
];

/** Before and after attention and MLP. */
export const fourNorms: readonly FamilyTensor[] = [
  of('attnNorm', 'blk.#.attn_norm.weight', 'model.layers.#.input_layernorm.weight'),
  of('attnPostNorm', 'blk.#.post_attention_norm.weight', 'model.layers.#.post_attention_layernorm.weight'),
  of('ffnNorm', 'blk.#.ffn_norm.weight', 'model.layers.#.pre_feedforward_layernorm.weight'),
  of('ffnPostNorm', 'blk.#.post_ffw_norm.weight', 'model.layers.#.post_feedforward_layernorm.weight'),
];
