/** Numbers that models state, by their key in each format, and what follows from them for a family. */
import type { ModelFacts } from './facts.ts';
import type { Family, Format, ScaleName } from './families/family.ts';
import { ModelError } from './types.ts';

/** Keys, the first that a file has counts: below GGUF's architecture, and of config.json. */
type Keys = Readonly<Record<Format, readonly string[]>>;

const sizes = {
  layers: { gguf: ['block_count'], stored: ['num_hidden_layers'] },
  width: { gguf: ['embedding_length'], stored: ['hidden_size'] },
  heads: { gguf: ['attention.head_count'], stored: ['num_attention_heads'] },
  kvHeads: { gguf: ['attention.head_count_kv'], stored: ['num_key_value_heads'] },
  headDim: { gguf: ['attention.key_length'], stored: ['head_dim'] },
  valueDim: { gguf: ['attention.value_length'], stored: ['v_head_dim'] },
  ffn: { gguf: ['feed_forward_length'], stored: ['intermediate_size', 'ffn_dim'] },
  vocab: { gguf: ['vocab_size'], stored: ['vocab_size'] },
  maxPosition: { gguf: ['context_length'], stored: ['max_position_embeddings'] },
  normEps: {
    gguf: ['attention.layer_norm_rms_epsilon', 'attention.layer_norm_epsilon'],
    stored: ['rms_norm_eps', 'layer_norm_eps'],
  },
  window: { gguf: ['attention.sliding_window'], stored: ['sliding_window'] },
  windowBase: { gguf: ['rope.freq_base_swa'], stored: ['rope_local_base_freq'] },
} as const satisfies Record<string, Keys>;

const scales: Readonly<Record<ScaleName, Keys>> = {
  embedScale: { gguf: ['embedding_scale'], stored: ['embedding_multiplier'] },
  residualScale: { gguf: ['residual_scale'], stored: ['residual_multiplier'] },
  attentionScale: { gguf: ['attention.scale'], stored: ['attention_multiplier'] },
  /** attention's scale is 1 / sqrt of it */
  queryScalar: { gguf: [], stored: ['query_pre_attn_scalar'] },
  attentionCap: { gguf: ['attn_logit_softcapping'], stored: ['attn_logit_softcapping'] },
  logitCap: { gguf: ['final_logit_softcapping'], stored: ['final_logit_softcapping'] },
  /** logits are divided by it */
  logitDivisor: { gguf: ['logit_scale'], stored: ['logits_scaling'] },
};

type SizeName = keyof typeof sizes;

/** The number of the first of these keys that a file has; null in config.json is 0. Throws where there is none and no fallback. */
export type ReadNumber = (keys: readonly string[], fallback?: number) => number;

/** Sizes by name. */
export type SizeOf = (name: SizeName, fallback?: number) => number;
export const sizesOf =
  (format: Format, read: ReadNumber): SizeOf =>
  (name, fallback) =>
    read(sizes[name][format], fallback);

/** What both formats state alike, by one key or another. */
export type Numbers = Scales &
  Pick<
    ModelFacts,
    'layers' | 'width' | 'heads' | 'kvHeads' | 'headDim' | 'ffn' | 'positions' | 'normEps' | 'maxPosition'
  >;

/** `where`: for errors. */
export function numbersOf(family: Family, format: Format, read: ReadNumber, where: string): Numbers {
  const size = sizesOf(format, read);
  /** what follows from the other sizes where a file is silent; config.json may also say null or 0 */
  const following = (name: SizeName, otherwise: number): number =>
    size(name, otherwise) || (format === 'stored' ? otherwise : 0);
  const [layers, width, heads] = [size('layers'), size('width'), size('heads')];
  const headDim = following('headDim', width / heads);
  const valueDim = following('valueDim', headDim);
  if (valueDim !== headDim)
    throw new ModelError(`${where}: keys of ${headDim} dimensions with values of ${valueDim} are not supported.`);
  const maxPosition = size('maxPosition');
  return {
    layers,
    width,
    heads,
    kvHeads: following('kvHeads', heads),
    headDim,
    ffn: size('ffn'),
    positions: family.positionsFrom === undefined ? 0 : maxPosition,
    normEps: size('normEps', family.normEps),
    maxPosition,
    ...scalesOf(family, format, read, { layers, width, heads, headDim }),
  };
}

/** What multiplies or caps; 0 in a file says that there is none. */
type Scales = Pick<
  ModelFacts,
  'attentionScale' | 'attentionCap' | 'logitCap' | 'embedScale' | 'residualScale' | 'logitScale'
>;

function scalesOf(
  family: Family,
  format: Format,
  read: ReadNumber,
  { layers, width, heads, headDim }: Pick<ModelFacts, 'layers' | 'width' | 'heads' | 'headDim'>,
): Scales {
  const scale = (name: ScaleName): number => {
    const fallback = family.scaleDefaults?.[name] ?? 0;
    return family.scales?.includes(name) ? read(scales[name][format], fallback) : fallback;
  };
  const scalar = scale('queryScalar') || (family.scaleByWidthAt === layers ? width / heads : headDim);
  return {
    attentionScale: scale('attentionScale') || 1 / Math.sqrt(scalar),
    attentionCap: scale('attentionCap'),
    logitCap: scale('logitCap'),
    embedScale: scale('embedScale') || (family.embedByWidth ? Math.sqrt(width) : 1),
    residualScale: scale('residualScale') || 1,
    logitScale: 1 / (scale('logitDivisor') || 1),
  };
}
