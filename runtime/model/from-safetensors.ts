/** config.json and safetensors of a Hugging Face model → ModelSpec. */
import { WeightType } from '../contract/records.ts';
import { type AssembledModel, type FoundTensor, assemble } from './assemble.ts';
import type { ModelFacts } from './facts.ts';
import type { Family } from './families/family.ts';
import { familyOf } from './families/index.ts';
import type { RopeScaling } from './rope.ts';
import type { StoredTensor } from './safetensors.ts';
import { ModelError } from './types.ts';

/** Types that tensors may be stored as, numbered as GGUF numbers them. */
const types: Readonly<Record<string, number>> = { F32: WeightType.F32, F16: WeightType.F16, BF16: WeightType.BF16 };

/** Throws a ModelError that names the key or tensor at fault. */
export function fromSafetensors(
  folder: string,
  json: Record<string, unknown>,
  tensors: readonly StoredTensor[],
): AssembledModel {
  const where = `${folder}/config.json`;
  const architecture = String(json.model_type ?? 'none');
  const family = familyOf('stored', architecture, where);
  const facts = factsOf(family, json, where);
  const tied = family.tensors.filter(({ tiedTo }) => tiedTo && facts.tied).map(({ names }) => names.stored);
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const find = (name: string): FoundTensor | undefined => {
    const tensor = byName.get(name);
    if (!tensor || tied.includes(name)) return undefined;
    const { dtype, shape, file, offset } = tensor;
    if (shape.length > 2)
      throw new ModelError(`${file}: tensor ${name} has the shape ${shape.join(' × ')}, a matrix is expected.`);
    const [rows, cols] = shape.length === 1 ? [1, shape[0]] : shape;
    return { type: types[dtype] ?? -1, typeName: dtype, rows, cols, file, offset };
  };
  const spec = assemble(family, facts, { format: 'stored', where: folder, find });
  return { spec, maxPosition: facts.maxPosition, architecture };
}

function factsOf(family: Family, json: Record<string, unknown>, where: string): ModelFacts {
  const number = (key: string, fallback?: number, from = json): number => {
    const value = from[key] ?? fallback;
    if (typeof value !== 'number')
      throw new ModelError(`${where}: ${key} is ${value === undefined ? 'missing' : 'not a number'}.`);
    return value;
  };
  const rope = ropeParameters(json, where);
  for (const [key, what] of Object.entries(family.refused))
    if (json[key] === true) throw new ModelError(`${where}: ${what} are not supported.`);
  const heads = number('num_attention_heads');
  const width = number('hidden_size');
  const headDim = number('head_dim', width / heads);
  return {
    layers: number('num_hidden_layers'),
    width,
    heads,
    kvHeads: number('num_key_value_heads', heads),
    headDim,
    ffn: number('intermediate_size'),
    vocab: number('vocab_size'),
    normEps: number('rms_norm_eps'),
    maxPosition: number('max_position_embeddings'),
    rope: { base: number('rope_theta', 10000, rope), dims: headDim, scaling: ropeScaling(rope, where) },
    tied: json.tie_word_embeddings === true,
  };
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
