/** config.json and safetensors of a Hugging Face model → ModelSpec. */
import { WeightType } from '../contract/records.ts';
import { type AssembledModel, type FoundTensor, assemble } from './assemble.ts';
import type { ModelFacts } from './facts.ts';
import type { Family } from './families/family.ts';
import { familyOf } from './families/index.ts';
import type { RopeScaling } from './rope.ts';
import type { StoredTensor } from './safetensors.ts';
import { refuseMarks, refuseQuantised } from './quantised.ts';
import { Stated, refuseSettings, refuseTensors } from './stated.ts';
import { ModelError } from './types.ts';

/** Types that tensors may be stored as, numbered as GGUF numbers them. */
const types: Readonly<Record<string, number>> = { F32: WeightType.F32, F16: WeightType.F16, BF16: WeightType.BF16 };

/** Throws a ModelError that names the key or tensor at fault. */
export function fromSafetensors(
  folder: string,
  json: Record<string, unknown>,
  readTensors: () => StoredTensor[],
): AssembledModel {
  const where = `${folder}/config.json`;
  const architecture = String(json.model_type ?? 'none');
  const family = familyOf('stored', architecture, where);
  const stated = new Stated(new Map(Object.entries(json)));
  stated.get('model_type');
  refuseQuantised((key) => stated.get(key), where);
  const facts = factsOf(family, stated, where);
  const unknown = refuseSettings(stated, architecture, where);
  const tensors = readTensors();
  refuseMarks(tensors);
  const tied = family.tensors.filter(({ tiedTo }) => tiedTo && facts.tied).map(({ names }) => names.stored);
  const byName = new Stated(new Map(tensors.map((tensor) => [tensor.name, tensor])));
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
  refuseTensors(byName, family, 'stored', folder);
  const notes = unknown.length
    ? [`${where}: ${unknown.join(', ')}: not known to skv; the forward pass goes on without.`]
    : [];
  return { spec, maxPosition: facts.maxPosition, architecture, notes };
}

/** Names of an activation in config.json. */
const activations: Readonly<Record<Family['activation'], readonly string[]>> = { silu: ['silu', 'swish'] };

function factsOf(family: Family, stated: Stated<unknown>, where: string): ModelFacts {
  const number = (key: string, fallback?: number): number => {
    const value = stated.get(key) ?? fallback;
    if (typeof value !== 'number')
      throw new ModelError(`${where}: ${key} is ${value === undefined ? 'missing' : 'not a number'}.`);
    return value;
  };
  const rope = ropeParameters(stated, where);
  for (const [key, what] of Object.entries(family.refused))
    if (stated.get(key) === true) throw new ModelError(`${where}: ${what} are not supported.`);
  const activation = stated.get('hidden_act') ?? stated.get('hidden_activation') ?? family.activation;
  if (!activations[family.activation].includes(activation as string))
    throw new ModelError(`${where}: the activation ${String(activation)} is not supported for ${family.name}.`);
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
    rope: { ...ropeOf(rope, where), dims: headDim },
    tied: stated.get('tie_word_embeddings') === true,
  };
}

/** RoPE's base and scaling: together in rope_parameters since transformers 5, apart before. */
function ropeParameters(stated: Stated<unknown>, where: string): Stated<unknown> {
  const [rope_theta, scaling, parameters] = ['rope_theta', 'rope_scaling', 'rope_parameters'].map((key) =>
    stated.get(key),
  );
  const given = parameters ?? scaling ?? {};
  if (typeof given !== 'object' || Object.values(given).some((each) => each?.constructor === Object))
    throw new ModelError(
      `${where}: RoPE must have one set of parameters; one for each type of layer is not supported.`,
    );
  return new Stated(new Map(Object.entries({ ...(rope_theta === undefined ? {} : { rope_theta }), ...given })));
}

/** Keys of RoPE's parameters that say nothing of its angles, or say it in another type of scaling. */
const idleRope = ['finetuned', 'original_max_position_embeddings', 'partial_rotary_factor'];

/** Throws for a type of scaling, or a key of it, that is not known. */
function ropeOf(rope: Stated<unknown>, where: string): { base: number; scaling?: RopeScaling } {
  const number = (key: string, fallback?: number): number => {
    const value = rope.get(key) ?? fallback;
    if (typeof value !== 'number' || !(value > 0))
      throw new ModelError(`${where}: RoPE's ${key} must be a positive number.`);
    return value;
  };
  const [newer, older] = [rope.get('rope_type'), rope.get('type')];
  const kind = newer ?? older ?? (rope.peek('factor') === undefined ? 'default' : 'without rope_type');
  const found = { base: number('rope_theta', 10000), scaling: ropeScaling(String(kind), number, where) };
  if (kind === 'default') rope.get('factor'); // which changes nothing there
  if ((rope.get('partial_rotary_factor') ?? 1) !== 1)
    throw new ModelError(`${where}: RoPE on a part of a head's dimensions is not supported.`);
  const left = rope.left().filter(([key, value]) => value !== null && !idleRope.includes(key));
  if (left.length)
    throw new ModelError(
      `${where}: RoPE scaling of type ${String(kind)} with ${left.map(([key]) => key).join(', ')} is not supported.`,
    );
  return found;
}

function ropeScaling(kind: string, number: (key: string) => number, where: string): RopeScaling | undefined {
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
  throw new ModelError(`${where}: RoPE scaling of type ${kind} is not supported; supported: linear, llama3.`);
}
