/** config.json and safetensors of a Hugging Face model → ModelSpec. */
import { WeightType } from '../contract/records.ts';
import { type AssembledModel, type FoundTensor, assemble } from './assemble.ts';
import type { ModelFacts } from './facts.ts';
import type { Family } from './families/family.ts';
import { familyOf } from './families/index.ts';
import { type Listed, layersOf } from './layers.ts';
import { type ReadNumber, type SizeOf, numbersOf, sizesOf } from './numbers.ts';
import { storedRope } from './rope-stored.ts';
import type { Rope } from './rope.ts';
import type { StoredTensor } from './safetensors.ts';
import { refuseMarks, refuseQuantised } from './quantised.ts';
import { Stated, refuseSettings, refuseTensors } from './stated.ts';
import type { TextPart } from './text-part.ts';
import { ModelError } from './types.ts';

/** Types that tensors may be stored as, numbered as GGUF numbers them. */
const types: Readonly<Record<string, number>> = { F32: WeightType.F32, F16: WeightType.F16, BF16: WeightType.BF16 };

/** `context`: tokens that will be served at most. Throws a ModelError that names the key or tensor at fault. */
export function fromSafetensors(
  folder: string,
  { config, ownOf }: TextPart,
  readTensors: () => StoredTensor[],
  context = Infinity,
): AssembledModel {
  const where = `${folder}/config.json`;
  const architecture = String(config.model_type ?? 'none');
  const family = familyOf('stored', architecture, where);
  const stated = new Stated(new Map(Object.entries(config)));
  stated.get('model_type');
  refuseQuantised((key) => stated.get(key), where);
  const facts = factsOf(family, stated, where, context);
  const unknown = refuseSettings(stated, architecture, where);
  const all = readTensors();
  refuseMarks(all);
  const { own: tensors, note } = ownOf(all);
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
  const notes: string[] = [];
  if (unknown.length)
    notes.push(`${where}: ${unknown.join(', ')}: not known to skv; the forward pass goes on without.`);
  if (note) notes.push(`${folder}: ${note}.`);
  return { spec, maxPosition: facts.maxPosition, architecture, notes };
}

/** Names of an activation in config.json. */
const activations: Readonly<Record<Family['activation'], readonly string[]>> = {
  silu: ['silu', 'swish'],
  gelu: ['gelu'],
  geluTanh: ['gelu_pytorch_tanh', 'gelu_new', 'gelu_fast'],
  relu: ['relu'],
};
const activationKeys = ['hidden_activation', 'hidden_act', 'activation_function'];

function activationOf(family: Family, stated: Stated<unknown>, where: string): Family['activation'] {
  const given = activationKeys.map((key) => stated.get(key)).find((each) => each !== undefined && each !== null);
  if (given === undefined) return family.activation;
  const found = Object.entries(activations).find(([, names]) => names.includes(given as string));
  if (found) return found[0] as Family['activation'];
  throw new ModelError(
    `${where}: the activation ${String(given)} is not supported; supported: ${Object.values(activations).flat().join(', ')}.`,
  );
}

/** Settings that all models of the family share, and those that say whether tensors are there. */
function flagsOf(family: Family, stated: Stated<unknown>, where: string): Map<string, boolean> {
  for (const [key, [value, meaning]] of Object.entries(family.fixed ?? {}))
    if ((stated.get(key) ?? value) !== value) throw new ModelError(`${where}: ${key}: ${meaning} is not supported.`);
  const keys = family.tensors.flatMap(({ flag }) => flag ?? []);
  const given = keys.map((key) => [key, stated.get(key)] as const);
  return new Map(given.filter((each): each is [string, boolean] => typeof each[1] === 'boolean'));
}

function factsOf(family: Family, stated: Stated<unknown>, where: string, context: number): ModelFacts {
  const read: ReadNumber = (keys, fallback) => {
    for (const key of keys) {
      const given = stated.get(key);
      if (given === null && fallback !== undefined) return 0;
      if (typeof given === 'number') return given;
      if (given !== undefined) throw new ModelError(`${where}: ${key} is not a number.`);
    }
    if (fallback !== undefined) return fallback;
    throw new ModelError(`${where}: ${keys[0]} is missing.`);
  };
  const size = sizesOf('stored', read);
  const numbers = numbersOf(family, 'stored', read, where);
  const { layers, headDim, maxPosition: positions } = numbers;
  const window = family.windows ? windowOf(family, stated, size) : 0;
  const original = read(['original_max_position_embeddings'], 0) || undefined;
  const part = (stated.get('partial_rotary_factor') ?? undefined) as number | undefined; // judged where it is used
  const sizes = { headDim, part, positions, original, context: Math.min(positions, context) };
  const readRope = (set: Stated<unknown>) => storedRope(set, sizes, where);
  const { all, windows } = ropesOf({ family, stated, size, where, readRope });
  return {
    ...numbers,
    vocab: size('vocab'),
    activation: activationOf(family, stated, where),
    rope: all,
    windowRope: windows,
    window,
    layer: layersOf(family, layers, window, listedLayers(family, stated, layers, where)),
    flags: flagsOf(family, stated, where),
    tied: (stated.get('tie_word_embeddings') ?? family.tied) === true,
  };
}

function windowOf(family: Family, stated: Stated<unknown>, size: SizeOf): number {
  const used = family.windows === 'counted' ? (stated.get('use_sliding_window') ?? false) : true;
  return used === true ? size('window', family.window ?? 0) : 0;
}

/** Which layers have a window or are not rotated, where config.json lists them or has a rule of its own. */
function listedLayers(family: Family, stated: Stated<unknown>, layers: number, where: string): Listed {
  const list = (key: string, values: readonly [no: unknown, yes: unknown]): boolean[] | undefined => {
    const given = stated.get(key);
    if (given === undefined || given === null) return undefined;
    if (!Array.isArray(given) || given.length !== layers || !given.every((each) => values.includes(each)))
      throw new ModelError(`${where}: ${key} must have ${values.join(' or ')} for each of ${layers} layers.`);
    return given.map((each) => each === values[1]);
  };
  const count = (key: string): number | undefined => {
    const given = stated.get(key) ?? undefined;
    if (given !== undefined && !(Number.isInteger(given) && (given as number) >= 0))
      throw new ModelError(`${where}: ${key} must be a whole number.`);
    return given as number | undefined;
  };
  const windows =
    family.windows === undefined
      ? {}
      : {
          windowed: list('layer_types', ['full_attention', 'sliding_attention']),
          fullEvery: count('sliding_window_pattern') ?? count('_sliding_window_pattern'),
          firstWindowed: family.windows === 'counted' ? count('max_window_layers') : undefined,
        };
  if (family.unrotatedEvery === undefined) return windows;
  const rotations = { rotated: list('no_rope_layers', [0, 1]), unrotatedEvery: count('no_rope_layer_interval') };
  return { ...windows, ...rotations };
}

interface RopeReading {
  readonly family: Family;
  readonly stated: Stated<unknown>;
  readonly size: SizeOf;
  readonly where: string;
  readonly readRope: (set: Stated<unknown>) => Rope;
}

/**
 * RoPE's base and scaling: together in rope_parameters since transformers 5, there also one set for each type of layer;
 * apart before, with the base of layers with windows in a key of its own.
 */
function ropesOf({ family, stated, size, where, readRope }: RopeReading): { all: Rope; windows?: Rope } {
  const [rope_theta, scaling, parameters] = ['rope_theta', 'rope_scaling', 'rope_parameters'].map((key) =>
    stated.get(key),
  );
  const given = (parameters ?? scaling ?? {}) as Record<string, unknown>;
  const isSet = (each: unknown): each is Record<string, unknown> => each?.constructor === Object;
  const read = (set: Record<string, unknown>) => readRope(new Stated(new Map(Object.entries(set))));
  const hasBase = rope_theta !== undefined && rope_theta !== null;
  if (isSet(given) && !Object.values(given).some(isSet)) {
    const all = read({ ...(hasBase ? { rope_theta } : {}), ...given });
    if (family.windowBase === undefined) return { all };
    return { all, windows: { base: size('windowBase', family.windowBase), dims: all.dims } };
  }
  const { full_attention, sliding_attention, ...others } = given;
  if (
    family.windowBase === undefined ||
    !isSet(full_attention) ||
    !isSet(sliding_attention) ||
    Object.keys(others).length
  )
    throw new ModelError(
      `${where}: RoPE must have one set of parameters; one for each type of layer is not supported for ${family.name}.`,
    );
  return { all: read(full_attention), windows: read(sliding_attention) };
}
