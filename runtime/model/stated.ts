/**
 * What a file states, and which of it was read. What nobody reads nobody obeys: a key or tensor that is left over is
 * harmless by a table of this file, or the model is refused. So the list of what is understood is the code that reads it.
 */
import type { Family, Format } from './families/family.ts';
import { ModelError, listed } from './types.ts';

/** Named things of a file; those that `get` was asked for count as read. */
export class Stated<V> {
  private readonly read = new Set<string>();

  constructor(private readonly entries: ReadonlyMap<string, V>) {}

  get(key: string): V | undefined {
    this.read.add(key);
    return this.entries.get(key);
  }

  /** Looks without reading. */
  peek(key: string): V | undefined {
    return this.entries.get(key);
  }

  /** What is there and was not asked for. */
  left(): [key: string, value: V][] {
    return [...this.entries].filter(([key]) => !this.read.has(key));
  }
}

/** Values of a key that change no number; 'any': none does. A function may look at the other keys, too. */
type Neutral = 'any' | readonly unknown[] | ((value: unknown, of: (key: string) => unknown) => boolean);

/** Nothing but these, in a list with an entry a layer. */
const only =
  (...values: unknown[]): Neutral =>
  (value) =>
    Array.isArray(value) && value.every((each) => values.includes(each));
const asHidden: Neutral = (value, of) => value === of('hidden_size');
const noWindow: Neutral = (_, of) => of('use_sliding_window') === false;

/** Keys below GGUF's architecture that may be left over. */
const neutralKeys: Readonly<Record<string, Neutral>> = {
  vocab_size: 'any', // the embedding has a row for each token
  embedding_length_out: 'any', // of embedding models; the output's shape is checked
  tensor_data_layout: 'any', // of converters before 2024; readers never used it
  pooling_type: 'any', // how embeddings are drawn from the last layer
  decoder_start_token_id: 'any',
  leading_dense_block_count: 'any', // says something with experts alone
  'rope.scaling.finetuned': 'any',
  'rope.scaling.original_context_length': 'any', // of the scalings that read it
  'rope.scaling.yarn_beta_fast': 'any', // without yarn's mix, which has a type or yarn_ext_factor
  'rope.scaling.yarn_beta_slow': 'any',
  'rope.scaling.yarn_ext_factor': (value, of) => value === -1 || value === Number(of('rope.scaling.type') === 'yarn'),
  'rope.scaling.yarn_attn_factor': [1],
  'rope.scaling.yarn_log_multiplier': [0],
  'rope.dimension_sections': [],
  use_parallel_residual: [false],
  nextn_predict_layers: [0],
  expert_used_count: [0],
  expert_shared_count: [0],
  logit_scale: [0, 1],
  residual_scale: [0, 1],
  embedding_scale: [0, 1],
  attn_logit_softcapping: [0],
  final_logit_softcapping: [0],
  swin_norm: [false],
  'attention.causal': [true],
  'attention.scale': [0],
  'attention.clamp_kqv': [0],
  'attention.max_alibi_bias': [0],
  'attention.sliding_window': [0],
  'attention.sliding_window_pattern': [0, 1],
  'attention.shared_kv_layers': [0],
};

/** Keys of config.json that change the forward pass of some model: only these values may be left over. */
const neutralSettings: Readonly<Record<string, Neutral>> = {
  hidden_act: [],
  hidden_activation: [],
  activation: ['swiglu', 'silu'], // Falcon 3, beside hidden_act
  word_embed_proj_dim: asHidden,
  _remove_final_layer_norm: [false],
  layer_norm_elementwise_affine: [true],
  use_mrope: [false],
  rotary_pct: [1],
  rope_interleaved: [false],
  rope_local_base_freq: [],
  use_rope: [true],
  attention_bias: [false],
  mlp_bias: [false],
  use_bias: [false],
  bias: [false],
  enable_bias: [false],
  qkv_bias: [false],
  clip_qkv: [],
  qk_layernorm: [false],
  use_qk_norm: [false],
  attention_multiplier: [],
  query_pre_attn_scalar: [],
  attn_logit_softcapping: [],
  final_logit_softcapping: [],
  logit_scale: [1],
  logits_scaling: [1],
  residual_multiplier: [1],
  embedding_multiplier: [1],
  scale_embedding: [false],
  alibi: [false],
  use_parallel_residual: [false],
  parallel_attn: [false],
  do_layer_norm_before: [true],
  use_sliding_window: [false],
  sliding_window: noWindow,
  sliding_window_pattern: [],
  max_window_layers: noWindow,
  layer_types: only('full_attention'),
  no_rope_layers: only(1), // 1: with RoPE
  no_rope_layer_interval: [0],
  cross_attention_layers: only(),
  use_bidirectional_attention: [false],
  use_mla: [false],
  num_experts: [0, 1],
  num_local_experts: [0, 1],
  n_routed_experts: [0],
  num_nextn_predict_layers: [0],
  vision_config: [],
  audio_config: [],
  text_config: [],
};

/** Keys of config.json that say nothing of the forward pass. Others than these and those above are told, not refused. */
const silentSettings: readonly RegExp[] = [
  /^(_.*|architectures|auto_map|license|model_name|name|version|is_llama_config)$/, // what it is, whose code made it
  /^(torch_dtype|dtype|transformers.*|unsloth.*|torchscript|use_bfloat16|use_cache|cache_implementation)$/,
  /^(.*attn_implementation|use_flash_attn.*|pretraining_tp|gradient_checkpointing|chunk_size_feed_forward|max_seq(uence)?_len(gth)?)$/, // how to compute it
  /_token_id$|^(tokenizer_class|prefix|vocab_file)$/, // read beside the tokenizer
  /drop(out)?(_|$)|^(initializer|.*_loss_|.*_loss$|mup_|init_std$)|_init(_|$)|^(problem_type|id2label|label2id|finetuning_task|task_specific_params)$/, // training
  /^(output_.*|return_dict.*|is_decoder|is_encoder_decoder|add_cross_attention|cross_attention_hidden_size|tie_encoder_decoder|pruned_heads|tf_legacy_loss)$/,
  // how to sample, as older transformers wrote it here
  /^((max|min)_length|do_sample|early_stopping|num_beam.*|diversity_penalty|temperature|top_[kp]|typical_p|.*(repetition|length)_penalty|.*no_repeat_ngram_size|bad_words_ids|num_return_sequences|remove_invalid_values|(begin_)?suppress_tokens)$/,
];

/** Tensors that may be left over: what a program of another kind stored beside the weights. */
const idleTensors: Readonly<Record<Format, RegExp>> = {
  gguf: /\.attn_rot_embd\.weight$/, // frequencies, which the metadata give
  stored: /\.(rotary_emb|rotary_pos_emb)\.inv_freq$|\.attention\.(masked_)?bias$/, // frequencies; the causal mask
};

function isNeutral(neutral: Neutral | undefined, value: unknown, of: (key: string) => unknown): boolean {
  if (typeof neutral === 'function') return neutral(value, of);
  return neutral === 'any' || (neutral ?? []).includes(typeof value === 'bigint' ? Number(value) : value);
}

const shown = (value: unknown): string => {
  const text = JSON.stringify(value, (_, each) => (typeof each === 'bigint' ? Number(each) : each)) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
};

/** Throws for keys below the architecture that nobody read and that may change the forward pass. */
export function refuseKeys(stated: Stated<unknown>, architecture: string, where: string): void {
  const below = `${architecture}.`;
  const of = (key: string) => stated.peek(below + key);
  const left = stated
    .left()
    .filter(([key, value]) => key.startsWith(below) && !isNeutral(neutralKeys[key.slice(below.length)], value, of));
  if (left.length === 0) return;
  throw new ModelError(
    `${where}: states ${listed(left.map(([key, value]) => `${key} = ${shown(value)}`))}, which is not supported for ${architecture} and may change every answer.`,
  );
}

/** Throws for settings that change the forward pass and that nobody read; returns those of which nothing is known. */
export function refuseSettings(stated: Stated<unknown>, architecture: string, where: string): string[] {
  const left = stated.left().filter(([, value]) => value !== null);
  const of = (key: string) => stated.peek(key);
  const known = (key: string) => Object.hasOwn(neutralSettings, key);
  const wrong = left.filter(([key, value]) => known(key) && !isNeutral(neutralSettings[key], value, of));
  if (wrong.length)
    throw new ModelError(
      `${where}: states ${listed(wrong.map(([key, value]) => `${key} = ${shown(value)}`))}, which is not supported for ${architecture} and would change every answer.`,
    );
  return left.map(([key]) => key).filter((key) => !known(key) && !silentSettings.some((each) => each.test(key)));
}

/** Throws for tensors that the forward pass did not ask for. */
export function refuseTensors(stated: Stated<unknown>, family: Family, format: Format, where: string): void {
  const left = stated
    .left()
    .map(([name]) => name)
    .filter((name) => !idleTensors[format].test(name));
  if (left.length === 0) return;
  throw new ModelError(
    `${where}: has tensors that the forward pass of ${family.name} does not use: ${listed(left)}. Answers without them would be wrong.`,
  );
}
