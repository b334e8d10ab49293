/** Llama's tensors and numbers, from GGUF and from safetensors, checked against each other. */
import { closeSync, openSync, readSync } from 'node:fs';
import { type RoleName, WeightType } from '../contract/records.ts';
import type { ModelSpec, TensorRef } from '../native/index.ts';
import type { Gguf } from './gguf.ts';
import type { StoredTensor } from './safetensors.ts';
import { ModelError } from './types.ts';

/** The numbers of a Llama model, before its tensors. */
export interface LlamaConfig {
  layers: number;
  width: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  ffn: number;
  vocab: number;
  normEps: number;
  maxPosition: number;
  ropeBase: number;
  /** dimensions that RoPE turns; must be headDim */
  ropeDims: number;
  ropeInterleaved: boolean;
  scaling?: RopeScaling;
  /** [headDim / 2] divisors of the frequencies (GGUF's rope_freqs) */
  ropeFactors?: Float32Array;
  tied?: boolean;
}

export type RopeScaling =
  | { kind: 'linear'; factor: number }
  | { kind: 'llama3'; factor: number; low: number; high: number; original: number };

/** What the roles are called in each format; `#` is the layer. */
const names: Record<RoleName, { gguf: string; stored: string }> = {
  embed: { gguf: 'token_embd.weight', stored: 'model.embed_tokens.weight' },
  outputNorm: { gguf: 'output_norm.weight', stored: 'model.norm.weight' },
  output: { gguf: 'output.weight', stored: 'lm_head.weight' },
  attnNorm: { gguf: 'blk.#.attn_norm.weight', stored: 'model.layers.#.input_layernorm.weight' },
  q: { gguf: 'blk.#.attn_q.weight', stored: 'model.layers.#.self_attn.q_proj.weight' },
  k: { gguf: 'blk.#.attn_k.weight', stored: 'model.layers.#.self_attn.k_proj.weight' },
  v: { gguf: 'blk.#.attn_v.weight', stored: 'model.layers.#.self_attn.v_proj.weight' },
  o: { gguf: 'blk.#.attn_output.weight', stored: 'model.layers.#.self_attn.o_proj.weight' },
  ffnNorm: { gguf: 'blk.#.ffn_norm.weight', stored: 'model.layers.#.post_attention_layernorm.weight' },
  gate: { gguf: 'blk.#.ffn_gate.weight', stored: 'model.layers.#.mlp.gate_proj.weight' },
  up: { gguf: 'blk.#.ffn_up.weight', stored: 'model.layers.#.mlp.up_proj.weight' },
  down: { gguf: 'blk.#.ffn_down.weight', stored: 'model.layers.#.mlp.down_proj.weight' },
};

/** Outputs × inputs a role has. */
function shapeOf(role: RoleName, c: LlamaConfig): [number, number] {
  switch (role) {
    case 'embed':
    case 'output':
      return [c.vocab, c.width];
    case 'q':
      return [c.heads * c.headDim, c.width];
    case 'k':
    case 'v':
      return [c.kvHeads * c.headDim, c.width];
    case 'o':
      return [c.width, c.heads * c.headDim];
    case 'gate':
    case 'up':
      return [c.ffn, c.width];
    case 'down':
      return [c.width, c.ffn];
    default:
      return [1, c.width];
  }
}

const perLayer = (role: RoleName): boolean => names[role].gguf.includes('#');

/** Values that would let later arithmetic overflow or make no sense are refused here. */
export function checkConfig(c: LlamaConfig, where: string): void {
  const limits: [keyof LlamaConfig, number, number][] = [
    ['layers', 1, 1024],
    ['width', 1, 1 << 17],
    ['heads', 1, 1024],
    ['kvHeads', 1, 1024],
    ['headDim', 16, 256],
    ['ffn', 1, 1 << 20],
    ['vocab', 1, 1 << 21],
    ['maxPosition', 1, 1 << 24],
  ];
  for (const [name, low, high] of limits) {
    const value = c[name] as number;
    if (!Number.isInteger(value) || value < low || value > high)
      throw new ModelError(`${where}: ${name} is ${value}, outside ${low} … ${high}.`);
  }
  if (c.heads % c.kvHeads !== 0)
    throw new ModelError(`${where}: ${c.heads} query heads do not divide into ${c.kvHeads} KV heads.`);
  if (c.headDim % 16 !== 0)
    throw new ModelError(`${where}: a head size of ${c.headDim} is not supported: it must be a multiple of 16.`);
  if (c.ropeDims !== c.headDim)
    throw new ModelError(`${where}: RoPE on ${c.ropeDims} of ${c.headDim} dimensions is not supported.`);
  if (!(c.normEps > 0 && c.normEps < 1)) throw new ModelError(`${where}: the norm's epsilon is ${c.normEps}.`);
  if (!(c.ropeBase > 1 && Number.isFinite(c.ropeBase))) throw new ModelError(`${where}: RoPE's base is ${c.ropeBase}.`);
}

/** [headDim / 2] radians per position. Llama 3 slows long wavelengths and leaves short ones. */
export function ropeFrequencies(c: LlamaConfig): Float32Array {
  return Float32Array.from({ length: c.headDim / 2 }, (_, i) => {
    const plain = c.ropeBase ** ((-2 * i) / c.headDim) / (c.ropeFactors?.[i] ?? 1);
    if (!c.scaling) return plain;
    if (c.scaling.kind === 'linear') return plain / c.scaling.factor;
    const { factor, low, high, original } = c.scaling;
    const wavelength = (2 * Math.PI) / plain;
    if (wavelength < original / high) return plain;
    if (wavelength > original / low) return plain / factor;
    const smooth = (original / wavelength - low) / (high - low);
    return ((1 - smooth) * plain) / factor + smooth * plain;
  });
}

const typeNames = Object.fromEntries(Object.entries(WeightType).map(([name, number]) => [number, name]));
const block: Record<number, [elements: number, bytes: number]> = {
  [WeightType.F32]: [1, 4],
  [WeightType.F16]: [1, 2],
  [WeightType.BF16]: [1, 2],
  [WeightType.Q8_0]: [32, 34],
  [WeightType.Q4_0]: [32, 18],
  [WeightType.Q4_1]: [32, 20],
};

interface Found {
  type: number;
  typeName: string;
  rows: number;
  cols: number;
  file: string;
  fileSize?: number;
  offset: number;
}

/** Collects every role's tensor through `find`, checks shapes and ranges, and lists what is missing. */
function assemble(
  config: LlamaConfig,
  where: string,
  kind: 'gguf' | 'stored',
  find: (name: string) => Found | undefined,
): ModelSpec {
  checkConfig(config, where);
  const tensors: TensorRef[] = [];
  const files: string[] = [];
  const missing: string[] = [];
  for (const role of Object.keys(names) as RoleName[]) {
    for (let layer = 0; layer < (perLayer(role) ? config.layers : 1); layer++) {
      const name = names[role][kind].replace('#', String(layer));
      const found = find(name);
      if (!found) {
        if (role !== 'output') missing.push(name);
        continue;
      }
      const [rows, cols] = shapeOf(role, config);
      if (found.rows !== rows || found.cols !== cols)
        throw new ModelError(
          `${found.file}: tensor ${name} is ${found.rows} × ${found.cols}, the model's numbers make it ${rows} × ${cols}.`,
        );
      const size = block[found.type];
      if (!size)
        throw new ModelError(
          `${found.file}: tensor ${name} is stored as ${found.typeName}; supported are ${Object.values(typeNames).join(', ')}.`,
        );
      if (cols % size[0] !== 0)
        throw new ModelError(
          `${found.file}: tensor ${name} has ${cols} columns, which ${found.typeName} cannot divide into blocks of ${size[0]}.`,
        );
      const bytes = ((rows * cols) / size[0]) * size[1];
      if (found.fileSize !== undefined && found.offset + bytes > found.fileSize)
        throw new ModelError(
          `${found.file}: tensor ${name} needs ${bytes} bytes at ${found.offset}, the file has ${found.fileSize}. It is cut short; download it again.`,
        );
      if (!files.includes(found.file)) files.push(found.file);
      tensors.push({
        role,
        layer,
        type: found.type,
        rows,
        cols,
        file: files.indexOf(found.file),
        offset: found.offset,
        bytes,
      });
    }
    if (missing.length > 8) break;
  }
  if (missing.length)
    throw new ModelError(
      `${where}: tensors are missing: ${missing.slice(0, 8).join(', ')}${missing.length > 8 ? ', …' : ''}.`,
    );
  if (!config.tied && config.tied !== undefined && !tensors.some((tensor) => tensor.role === 'output'))
    throw new ModelError(`${where}: ${names.output[kind]} is missing, and the model does not tie it to the embedding.`);
  const { layers, width, heads, kvHeads, headDim, ffn, vocab, normEps, ropeInterleaved } = config;
  return {
    layers,
    width,
    heads,
    kvHeads,
    headDim,
    ffn,
    vocab,
    normEps,
    ropeInterleaved,
    invFreq: ropeFrequencies(config),
    tensors,
    files,
  };
}

/** Other names that llama.cpp's converter gives to models of Llama's shape. */
const ggufArchitectures = new Set(['llama']);

export function fromGguf(gguf: Gguf): { spec: ModelSpec; maxPosition: number; architecture: string } {
  const architecture = gguf.metadata.get('general.architecture');
  if (typeof architecture !== 'string' || !ggufArchitectures.has(architecture))
    throw new ModelError(`${gguf.file}: the architecture ${String(architecture)} is not supported; supported: llama.`);
  const number = (key: string, fallback?: number): number => {
    const value = gguf.metadata.get(`${architecture}.${key}`) ?? fallback;
    if (typeof value !== 'number' && typeof value !== 'bigint')
      throw new ModelError(
        `${gguf.file}: metadata ${architecture}.${key} is ${value === undefined ? 'missing' : 'not a number'}.`,
      );
    return Number(value);
  };
  const text = (key: string) => gguf.metadata.get(`${architecture}.${key}`);
  if (number('expert_count', 0) > 0) throw new ModelError(`${gguf.file}: mixtures of experts are not supported.`);
  const embedding = gguf.tensors.find((tensor) => tensor.name === names.embed.gguf);
  const heads = number('attention.head_count');
  const width = number('embedding_length');
  const headDim = number('attention.key_length', width / heads);
  const scaling = text('rope.scaling.type');
  if (scaling !== undefined && scaling !== 'none' && scaling !== 'linear')
    throw new ModelError(`${gguf.file}: RoPE scaling of type ${String(scaling)} is not supported.`);
  const factors = gguf.tensors.find((tensor) => tensor.name === 'rope_freqs.weight');
  const config: LlamaConfig = {
    layers: number('block_count'),
    width,
    heads,
    kvHeads: number('attention.head_count_kv', heads),
    headDim,
    ffn: number('feed_forward_length'),
    vocab: embedding?.dims[1] ?? number('vocab_size', 0),
    normEps: number('attention.layer_norm_rms_epsilon'),
    maxPosition: number('context_length'),
    ropeBase: number('rope.freq_base', 10000),
    ropeDims: number('rope.dimension_count', headDim),
    ropeInterleaved: true,
    scaling: scaling === 'linear' ? { kind: 'linear', factor: number('rope.scaling.factor') } : undefined,
    ropeFactors: factors && readFactors(gguf, factors.offset, factors.type, factors.dims[0], headDim / 2),
  };
  const byName = new Map(gguf.tensors.map((tensor) => [tensor.name, tensor]));
  const spec = assemble(config, gguf.file, 'gguf', (name) => {
    const tensor = byName.get(name);
    if (!tensor) return undefined;
    const [cols, rows = 1, ...rest] = tensor.dims;
    if (rest.some((dim) => dim !== 1))
      throw new ModelError(
        `${gguf.file}: tensor ${name} has the shape ${tensor.dims.join(' × ')}, a matrix is expected.`,
      );
    return {
      type: tensor.type,
      typeName: typeNames[tensor.type] ?? `type ${tensor.type}`,
      rows,
      cols,
      file: gguf.file,
      fileSize: gguf.size,
      offset: tensor.offset,
    };
  });
  return { spec, maxPosition: config.maxPosition, architecture };
}

function readFactors(gguf: Gguf, offset: number, type: number, count: number, expected: number): Float32Array {
  if (type !== WeightType.F32 || count !== expected || offset + count * 4 > gguf.size)
    throw new ModelError(`${gguf.file}: rope_freqs.weight must be ${expected} numbers in F32.`);
  const bytes = readRange(gguf.file, offset, count * 4);
  const factors = new Float32Array(bytes.buffer, bytes.byteOffset, count).slice();
  if (factors.some((factor) => !(factor > 0 && Number.isFinite(factor))))
    throw new ModelError(`${gguf.file}: rope_freqs.weight has a factor that is not positive.`);
  return factors;
}

function readRange(file: string, offset: number, bytes: number): Buffer {
  const fd = openSync(file, 'r');
  try {
    const out = Buffer.alloc(bytes);
    readSync(fd, out, 0, bytes, offset);
    return out;
  } finally {
    closeSync(fd);
  }
}

/** config.json of a Hugging Face model of Llama's shape. */
export function fromSafetensors(
  folder: string,
  json: Record<string, unknown>,
  tensors: readonly StoredTensor[],
): { spec: ModelSpec; maxPosition: number; architecture: string } {
  const where = `${folder}/config.json`;
  const architecture = String(json.model_type ?? 'none');
  if (architecture !== 'llama')
    throw new ModelError(`${where}: the architecture ${architecture} is not supported; supported: llama.`);
  const number = (key: string, fallback?: number, from = json): number => {
    const value = from[key] ?? fallback;
    if (typeof value !== 'number')
      throw new ModelError(`${where}: ${key} is ${value === undefined ? 'missing' : 'not a number'}.`);
    return value;
  };
  const rope = ropeParameters(json, where);
  if (json.attention_bias === true || json.mlp_bias === true)
    throw new ModelError(`${where}: biases are not supported.`);
  const heads = number('num_attention_heads');
  const width = number('hidden_size');
  const headDim = number('head_dim', width / heads);
  const config: LlamaConfig = {
    layers: number('num_hidden_layers'),
    width,
    heads,
    kvHeads: number('num_key_value_heads', heads),
    headDim,
    ffn: number('intermediate_size'),
    vocab: number('vocab_size'),
    normEps: number('rms_norm_eps'),
    maxPosition: number('max_position_embeddings'),
    ropeBase: number('rope_theta', 10000, rope),
    ropeDims: headDim,
    ropeInterleaved: false,
    scaling: ropeScaling(rope, where),
    tied: json.tie_word_embeddings === true,
  };
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const spec = assemble(config, folder, 'stored', (name) => {
    const tensor = byName.get(name);
    if (!tensor || (name === names.output.stored && config.tied)) return undefined;
    const [rows, cols] = tensor.shape.length === 1 ? [1, tensor.shape[0]] : tensor.shape;
    if (tensor.shape.length > 2)
      throw new ModelError(
        `${tensor.file}: tensor ${name} has the shape ${tensor.shape.join(' × ')}, a matrix is expected.`,
      );
    const type = { F32: WeightType.F32, F16: WeightType.F16, BF16: WeightType.BF16 }[tensor.dtype];
    return { type: type ?? -1, typeName: tensor.dtype, rows, cols, file: tensor.file, offset: tensor.offset };
  });
  return { spec, maxPosition: config.maxPosition, architecture };
}

/** RoPE's base and scaling: together in rope_parameters since transformers 5, apart before. */
function ropeParameters(json: Record<string, unknown>, where: string): Record<string, unknown> {
  const { rope_theta, rope_scaling, rope_parameters } = json;
  const given = rope_parameters ?? rope_scaling ?? {};
  if (typeof given !== 'object' || Object.values(given).some((each) => each?.constructor === Object))
    throw new ModelError(
      `${where}: RoPE must have one set of parameters; one for each type of layer is not supported.`,
    );
  return { rope_theta, ...given };
}

function ropeScaling(scaling: Record<string, unknown>, where: string): RopeScaling | undefined {
  const kind = scaling.rope_type ?? scaling.type ?? (scaling.factor === undefined ? 'default' : undefined);
  const number = (key: string): number => {
    if (typeof scaling[key] !== 'number' || !((scaling[key] as number) > 0))
      throw new ModelError(`${where}: RoPE's ${key} must be a positive number.`);
    return scaling[key] as number;
  };
  if (kind === 'default') return undefined;
  if (kind === 'linear') return { kind, factor: number('factor') };
  if (kind === 'llama3') {
    const scaled = {
      kind,
      factor: number('factor'),
      low: number('low_freq_factor'),
      high: number('high_freq_factor'),
      original: number('original_max_position_embeddings'),
    } as const;
    if (scaled.high <= scaled.low)
      throw new ModelError(`${where}: RoPE's high_freq_factor must be larger than its low_freq_factor.`);
    return scaled;
  }
  throw new ModelError(`${where}: RoPE scaling of type ${String(kind)} is not supported; supported: linear, llama3.`);
}
