/**
 * A tiny random model of each family: its weights in memory for plain loops, and files of both formats. What a family
 * means is written here once more, from the papers and other programs, and shares nothing with the readers.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fromF16, quantise, toF16 } from '../../bench/requantise.ts';
import { random } from '../../codegen/oracle/random.ts';
import { type RoleName, WeightType } from '../../runtime/contract/records.ts';
import { countOf, shapeOf } from '../../runtime/contract/roles.ts';
import { blockOf } from '../../runtime/contract/weights.ts';
import { families } from '../../runtime/model/families/index.ts';
import { type GgufParts, storedFiles, writeGguf } from '../model/write.ts';
import { type Meaning, type Weights, plainMeaning } from './plain.ts';

export interface TinyFamily {
  readonly name: string;
  /** architecture in GGUF; undefined: llama.cpp has none */
  readonly gguf?: string;
  readonly layers: number;
  readonly headDim?: number;
  /** keys below the architecture */
  readonly metadata?: GgufParts['metadata'];
  readonly config?: Record<string, unknown>;
  readonly meaning: Partial<Meaning>;
  /** GGUF has the pairs of RoPE side by side */
  readonly interleaved?: true;
  /** norms lack 1 in safetensors */
  readonly lessOne?: true;
  readonly tied?: true;
  /** optional tensors that it has */
  readonly biases?: true;
  /** of a head that are rotated, its first ones; default all */
  readonly ropeDims?: number;
  /** tensors of GGUF beside the family's: divisors of RoPE's frequencies */
  readonly ropeFactors?: Readonly<Record<string, readonly number[]>>;
  /** why llama.cpp is not asked */
  readonly aside?: string;
  /** other sizes than `sizes` */
  readonly sizes?: Partial<typeof sizes>;
  readonly modelType?: string;
}

const WINDOW = 12;
const slopes = (base: number, dims: number) => Array.from({ length: dims / 2 }, (_, i) => base ** ((-2 * i) / dims));
const every = <T>(layers: number, of: (layer: number) => T): T[] => Array.from({ length: layers }, (_, l) => of(l));

const gemma = { layers: 2, headDim: 32, lessOne: true, tied: true } as const;
const gemmaMeaning = { activation: 'geluTanh', embedScale: 8, attentionScale: 1 / Math.sqrt(32) } as const;
/** LongRoPE's divisors of six frequencies, for contexts up to 32 tokens and beyond. */
const short = [1, 1.1, 1.2, 1.3, 1.4, 1.5];
const long = [1, 1.5, 2, 4, 7, 11];
const granite = { embedding: 3.5, residual: 0.75, attention: 0.3, logits: 0.6 };

export const tinyFamilies: readonly TinyFamily[] = [
  { name: 'llama', gguf: 'llama', layers: 2, interleaved: true, meaning: {} },
  {
    name: 'llama with biases',
    gguf: 'llama',
    modelType: 'llama',
    layers: 2,
    interleaved: true,
    biases: true,
    meaning: {},
  },
  {
    name: 'mistral',
    layers: 2,
    config: { sliding_window: WINDOW },
    meaning: { windows: [WINDOW, WINDOW] },
  },
  { name: 'qwen2', gguf: 'qwen2', layers: 2, meaning: {} },
  { name: 'qwen3', gguf: 'qwen3', layers: 2, headDim: 32, meaning: {} },
  {
    ...gemma,
    name: 'gemma2',
    gguf: 'gemma2',
    metadata: {
      'attention.sliding_window': WINDOW,
      attn_logit_softcapping: 5.5,
      final_logit_softcapping: 3.5,
    },
    config: {
      sliding_window: WINDOW,
      attn_logit_softcapping: 5.5,
      final_logit_softcapping: 3.5,
      query_pre_attn_scalar: 32,
      hidden_activation: 'gelu_pytorch_tanh',
    },
    meaning: { ...gemmaMeaning, windows: [WINDOW, 0], attentionCap: 5.5, logitCap: 3.5 },
  },
  {
    ...gemma,
    name: 'gemma3',
    gguf: 'gemma3',
    modelType: 'gemma3_text',
    layers: 7,
    metadata: { 'attention.sliding_window': WINDOW, 'rope.freq_base': 1000000.5 },
    config: {
      sliding_window: WINDOW,
      sliding_window_pattern: 6,
      rope_theta: 1000000.5,
      rope_local_base_freq: 10000,
      query_pre_attn_scalar: 32,
    },
    meaning: {
      ...gemmaMeaning,
      windows: every(7, (l) => (l === 5 ? 0 : WINDOW)),
      frequencies: every(7, (l) => slopes(l === 5 ? 1000000.5 : 10000, 32)),
    },
  },
  { name: 'phi3', gguf: 'phi3', layers: 2, meaning: {} },
  {
    name: 'smollm3',
    gguf: 'smollm3',
    layers: 4,
    interleaved: true,
    config: { no_rope_layers: [1, 1, 1, 0] },
    meaning: { frequencies: every(4, (l) => (l === 3 ? Array(8).fill(0) : slopes(10000.5, 16))) },
  },
  {
    name: 'granite',
    gguf: 'granite',
    layers: 2,
    interleaved: true,
    metadata: {
      embedding_scale: granite.embedding,
      residual_scale: granite.residual,
      'attention.scale': granite.attention,
      logit_scale: granite.logits,
    },
    config: {
      embedding_multiplier: granite.embedding,
      residual_multiplier: granite.residual,
      attention_multiplier: granite.attention,
      logits_scaling: granite.logits,
    },
    meaning: {
      embedScale: granite.embedding,
      residualScale: granite.residual,
      attentionScale: granite.attention,
      logitScale: 1 / granite.logits,
    },
  },
  {
    name: 'opt',
    layers: 2,
    tied: true,
    config: { ffn_dim: 96, activation_function: 'relu', do_layer_norm_before: true, word_embed_proj_dim: 64 },
    meaning: { layerNorm: true, activation: 'relu', frequencies: every(2, () => Array(8).fill(0)) },
  },
  {
    name: 'phi3 with windows',
    gguf: 'phi3',
    modelType: 'phi3',
    aside: 'it passes over the windows of Phi 3',
    layers: 2,
    metadata: { 'attention.sliding_window': WINDOW },
    config: { sliding_window: WINDOW },
    meaning: { windows: [WINDOW, WINDOW] },
  },
  {
    // as Phi 4 mini has it
    name: 'phi3 with LongRoPE on a part of its heads',
    gguf: 'phi3',
    modelType: 'phi3',
    layers: 2,
    ropeDims: 12,
    metadata: {
      'rope.scaling.original_context_length': 32,
      'rope.scaling.attn_factor': Math.sqrt(1 + Math.log(4) / Math.log(32)),
    },
    ropeFactors: { 'rope_factors_short.weight': short, 'rope_factors_long.weight': long },
    config: {
      partial_rotary_factor: 0.75,
      original_max_position_embeddings: 32,
      rope_scaling: { type: 'longrope', short_factor: short, long_factor: long },
    },
    meaning: {
      frequencies: every(2, () => slopes(10000.5, 12).map((slope, i) => slope / long[i])),
      ropeScale: Math.sqrt(1 + Math.log(4) / Math.log(32)),
    },
  },
  {
    name: 'smollm3, rotated on a part of its heads',
    gguf: 'smollm3',
    modelType: 'smollm3',
    aside: 'it ends where these are not rotated whole',
    layers: 4,
    interleaved: true,
    ropeDims: 4,
    config: { partial_rotary_factor: 0.25, no_rope_layers: [1, 1, 1, 0] },
    meaning: { frequencies: every(4, (l) => (l === 3 ? [0, 0] : slopes(10000.5, 4))) },
  },
  {
    name: 'qwen3, rotated on a part of its heads',
    gguf: 'qwen3',
    modelType: 'qwen3',
    aside: 'it ends where these are not rotated whole',
    layers: 2,
    headDim: 32,
    ropeDims: 8,
    config: { partial_rotary_factor: 0.25 },
    meaning: {},
  },
];

export const sizes = { width: 64, heads: 4, kvHeads: 2, ffn: 96, vocab: 320, positions: 128 };

/** Of matrices that K-quants can hold: their blocks have 256 inputs. */
const wide = { width: 256, ffn: 256 };
export const wideFamilies: readonly TinyFamily[] = [
  { name: 'llama, wide', gguf: 'llama', layers: 2, interleaved: true, sizes: wide, meaning: {} },
  { name: 'qwen2, wide', gguf: 'qwen2', layers: 2, sizes: wide, meaning: {} },
  {
    ...tinyFamilies.find(({ name }) => name === 'gemma2')!,
    name: 'gemma2, wide',
    headDim: 64,
    sizes: wide,
  },
];

/** With heads of 64 numbers, which CUDA's kernels are built for, out of a width of 256. */
export const widened = (tiny: TinyFamily): TinyFamily => ({
  ...tiny,
  headDim: 64,
  sizes: { width: 256 },
  config: {
    ...tiny.config,
    ...(tiny.name === 'opt' ? { word_embed_proj_dim: 256 } : {}),
    ...(tiny.ropeFactors ? { partial_rotary_factor: 12 / 64 } : {}),
  },
});

export interface FamilyModel {
  readonly tiny: TinyFamily;
  readonly weights: Weights;
  readonly meaning: Meaning;
}

/** What each kind of tensor is drawn as: its mean, and how far from it, before it is divided by the root of its inputs. */
function drawn(role: RoleName, tied: boolean): { mean: number; spread: number; byInputs: boolean } {
  if (role.endsWith('Norm')) return { mean: role.includes('Post') ? 2 : 1, spread: 0.1, byInputs: false };
  if (role.endsWith('Bias')) return { mean: 0, spread: 0.5, byInputs: false };
  if (role === 'embed') return { mean: 0, spread: tied ? 0.25 : 0.7, byInputs: false };
  if (role === 'positions') return { mean: 0, spread: 0.3, byInputs: false };
  return { mean: 0, spread: role === 'output' ? 3 : 1.5, byInputs: true };
}

const recordOf = (tiny: TinyFamily) => families.find(({ name }) => name === tiny.name.split(/\W/)[0])!;
const dimensionsOf = (tiny: TinyFamily) => ({
  ...sizes,
  ...tiny.sizes,
  layers: tiny.layers,
  headDim: tiny.headDim ?? (tiny.sizes?.width ?? sizes.width) / sizes.heads,
  ...(tiny.name === 'opt' ? { kvHeads: sizes.heads } : {}),
});

export function familyModel(tiny: TinyFamily, seed: number): FamilyModel {
  const next = random(seed);
  const gauss = () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
  const dimensions = dimensionsOf(tiny);
  const weights: Weights = new Map();
  for (const { role, optional } of recordOf(tiny).tensors) {
    if ((optional && !tiny.biases) || (role === 'output' && tiny.tied)) continue;
    const [rows, cols] = shapeOf(role, dimensions);
    const { mean, spread, byInputs } = drawn(role, tiny.tied === true);
    const scale = spread / Math.sqrt(byInputs ? cols : 1);
    weights.set(
      role,
      every(countOf(role, dimensions), () => Float32Array.from({ length: rows * cols }, () => mean + scale * gauss())),
    );
  }
  return {
    tiny,
    weights,
    meaning: { ...plainMeaning(dimensions, slopes(10000.5, tiny.ropeDims ?? dimensions.headDim)), ...tiny.meaning },
  };
}

/** A file's tensors: what it calls them, their rows as it has them. Rows before the first position are never read. */
function* tensorsOf({ tiny, weights }: FamilyModel, format: 'gguf' | 'stored') {
  const dimensions = dimensionsOf(tiny);
  const done = new Set<string>();
  for (const { role, names, fused } of recordOf(tiny).tensors) {
    if (!weights.has(role)) continue;
    for (let layer = 0; layer < countOf(role, dimensions); layer++) {
      const name = names[format]!.replace('#', String(layer));
      if (done.has(name)) continue;
      done.add(name);
      const parts = (fused ?? [role]).map((each) => laidOut(tiny, each, weights.get(each)![layer], format));
      if (role === 'positions') parts.unshift(new Float32Array(2 * dimensions.width).fill(9));
      const data = Float32Array.from(parts.flatMap((part) => [...part]));
      const cols = shapeOf(role, dimensions)[1];
      const single = shapeOf(role, dimensions)[0] === 1;
      yield { name, cols, rows: data.length / cols, single, data };
    }
  }
  if (format === 'gguf')
    for (const [name, factors] of Object.entries(tiny.ropeFactors ?? {}))
      yield { name, cols: factors.length, rows: 1, single: true, data: Float32Array.from(factors) };
}

function laidOut(tiny: TinyFamily, role: RoleName, data: Float32Array, format: 'gguf' | 'stored'): Float32Array {
  if (format === 'stored') return tiny.lessOne && role.endsWith('Norm') ? data.map((x) => x - 1) : data;
  if (!tiny.interleaved || !['q', 'k', 'qBias', 'kBias'].includes(role)) return data;
  const { headDim: dim, width } = dimensionsOf(tiny);
  const dims = tiny.ropeDims ?? dim;
  const cols = role.endsWith('Bias') ? 1 : width;
  return data.map((_, i) => {
    const [row, col] = [Math.floor(i / cols), i % cols];
    const [head, at] = [Math.floor(row / dim), row % dim];
    const from = at < dims ? (at % 2) * (dims / 2) + (at >> 1) : at;
    return data[(head * dim + from) * cols + col];
  });
}

const tokens = every(sizes.vocab, (i) =>
  i < 256 ? String.fromCharCode(i < 128 ? 0x4e00 + i : 0x5000 + i) : `<u${i}>`,
);

export type FileType = 'F32' | 'F16' | 'Q8_0' | 'Q4_K';

/** The model as GGUF, matrices in this type. */
export function writeFamilyGguf(model: FamilyModel, file: string, type: FileType): void {
  const { tiny } = model;
  const { headDim, kvHeads, width, ffn } = dimensionsOf(tiny);
  const below: GgufParts['metadata'] = {
    block_count: tiny.layers,
    context_length: sizes.positions,
    embedding_length: width,
    feed_forward_length: ffn,
    'attention.head_count': sizes.heads,
    'attention.head_count_kv': kvHeads,
    'attention.key_length': headDim,
    'attention.value_length': headDim,
    'attention.layer_norm_rms_epsilon': 1e-5,
    'rope.freq_base': 10000.5,
    'rope.dimension_count': tiny.ropeDims ?? headDim,
    ...tiny.metadata,
  };
  const tensors = [...tensorsOf(model, 'gguf')].map(({ name, rows, cols, single, data }) => ({
    name,
    dims: single ? [cols] : [cols, rows],
    type: single ? WeightType.F32 : WeightType[type],
    data: single || type === 'F32' ? new Uint8Array(data.buffer) : inBlocks(data, type),
  }));
  const metadata = {
    'general.architecture': tiny.gguf!,
    ...Object.fromEntries(Object.entries(below).map(([key, value]) => [`${tiny.gguf}.${key}`, value])),
    'tokenizer.ggml.model': 'gpt2',
    'tokenizer.ggml.pre': 'gpt-2',
    'tokenizer.ggml.tokens': tokens,
    'tokenizer.ggml.token_type': Int32Array.from(tokens, (_, i) => (i < 256 ? 1 : 3)),
    'tokenizer.ggml.merges': [`${tokens[0]} ${tokens[1]}`],
    'tokenizer.ggml.bos_token_id': 300,
    'tokenizer.ggml.eos_token_id': 301,
  };
  writeFileSync(file, writeGguf({ metadata, tensors }));
}

function inBlocks(data: Float32Array, type: 'F16' | 'Q8_0' | 'Q4_K'): Uint8Array {
  const { elements, bytes } = blockOf(WeightType[type]);
  const step = Math.max(elements, 32); // quantise() writes 32 numbers
  const stepBytes = (step / elements) * bytes;
  const out = Buffer.alloc((data.length / step) * stepBytes);
  for (let i = 0; i < data.length / step; i++) {
    const block = data.subarray(step * i, step * (i + 1));
    if (type === 'Q4_K') quantiseQ4K(block, out.subarray(i * stepBytes));
    else quantise(type, block, out, i * stepBytes);
  }
  return out;
}

/**
 * 256 numbers as 4 bits each: eight blocks of 32, x = d · scale · q − dmin · least, scale and least in 6 bits. Of blocks
 * 4 … 7 those have their low bits in bytes 8 … 11, their high ones above the sixth of bytes 0 … 7.
 */
function quantiseQ4K(x: Float32Array, to: Uint8Array): void {
  const blocks = every(8, (b) => x.subarray(32 * b, 32 * b + 32));
  const least = blocks.map((block) => Math.max(0, -Math.min(...block)));
  const spread = blocks.map((block, b) => (Math.max(...block) + least[b]) / 15);
  const [d, dmin] = [toF16(Math.max(...spread) / 63), toF16(Math.max(...least) / 63)];
  to.set([d & 255, d >> 8, dmin & 255, dmin >> 8]);
  blocks.forEach((block, b) => {
    const scale = Math.max(1, Math.min(63, Math.round(spread[b] / fromF16(d))));
    const min = Math.min(63, Math.round(least[b] / fromF16(dmin)));
    const [j, high] = [b % 4, b >= 4];
    to[4 + j] |= high ? (scale >> 4) << 6 : scale;
    to[8 + j] |= high ? (min >> 4) << 6 : min;
    if (high) to[12 + j] = (scale & 15) | ((min & 15) << 4);
    block.forEach((value, i) => {
      const q = Math.round((value + fromF16(dmin) * min) / (fromF16(d) * scale));
      to[16 + 32 * (b >> 1) + i] |= Math.max(0, Math.min(15, q)) << (4 * (b % 2));
    });
  });
}

/** The model as a folder with safetensors in F32. */
export function writeFamilyFolder(model: FamilyModel, folder: string): void {
  const { tiny } = model;
  const { headDim, kvHeads, width, ffn } = dimensionsOf(tiny);
  const header: Record<string, unknown> = {};
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const { name, rows, cols, single, data } of tensorsOf(model, 'stored')) {
    header[name] = { dtype: 'F32', shape: single ? [cols] : [rows, cols], data_offsets: [at, at + data.byteLength] };
    at += data.byteLength;
    parts.push(new Uint8Array(data.buffer));
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const config = {
    model_type: tiny.modelType ?? tiny.name,
    num_hidden_layers: tiny.layers,
    hidden_size: width,
    num_attention_heads: sizes.heads,
    vocab_size: sizes.vocab,
    max_position_embeddings: sizes.positions,
    tie_word_embeddings: tiny.tied === true,
    ...(tiny.name === 'opt'
      ? {}
      : {
          intermediate_size: ffn,
          num_key_value_heads: kvHeads,
          head_dim: headDim,
          rms_norm_eps: 1e-5,
          rope_theta: 10000.5,
        }),
    ...tiny.config,
  };
  mkdirSync(folder, { recursive: true });
  const files = storedFiles();
  files['model.safetensors'] = Buffer.concat([length, json, ...parts]);
  files['config.json'] = JSON.stringify(config);
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(folder, name), bytes);
}
