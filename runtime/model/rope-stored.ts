/** RoPE's parameters in config.json, in every form that transformers has had: a type and what belongs to it. */
import { type Rope, type RopeScaling, longRopeScale, yarnScale } from './rope.ts';
import type { Stated } from './stated.ts';
import { ModelError } from './types.ts';

/** What parameters are measured against. */
export interface RopeSizes {
  readonly headDim: number;
  /** the fraction of a head that is rotated, where config.json has it beside RoPE's parameters */
  readonly part?: number;
  /** max_position_embeddings */
  readonly positions: number;
  /** original_max_position_embeddings beside RoPE's parameters, where config.json has it there */
  readonly original?: number;
  /** tokens that will be served at most */
  readonly context: number;
}

/** Keys that say nothing of the angles, or say it in another type. */
const idle = ['finetuned', 'original_max_position_embeddings'];

type NumberOf = (key: string, fallback?: number) => number;

/** Throws for a type of scaling, or a key of it, that is not known. */
export function storedRope(rope: Stated<unknown>, sizes: RopeSizes, where: string): Rope {
  const number: NumberOf = (key, fallback) => {
    const value = rope.get(key) ?? fallback;
    if (typeof value !== 'number' || !(value > 0 && Number.isFinite(value)))
      throw new ModelError(`${where}: RoPE's ${key} must be a positive number.`);
    return value;
  };
  const [newer, older] = [rope.get('rope_type'), rope.get('type')];
  const kind = newer ?? older ?? (rope.peek('factor') === undefined ? 'default' : 'without rope_type');
  const read = Object.hasOwn(kinds, String(kind)) ? kinds[String(kind)] : undefined;
  if (!read)
    throw new ModelError(
      `${where}: RoPE scaling of type ${String(kind)} is not supported; supported: ${Object.keys(kinds).join(', ')}.`,
    );
  const part = number('partial_rotary_factor', sizes.part ?? 1);
  const dims = Math.trunc(sizes.headDim * part); // as transformers rounds it
  const found = { base: number('rope_theta', 10000), dims, ...read({ rope, number, sizes, dims, where }) };
  const left = rope.left().filter(([key, value]) => value !== null && !idle.includes(key));
  if (left.length)
    throw new ModelError(
      `${where}: RoPE scaling of type ${String(kind)} with ${left.map(([key]) => key).join(', ')} is not supported.`,
    );
  return found;
}

interface Reading {
  readonly rope: Stated<unknown>;
  readonly number: NumberOf;
  readonly sizes: RopeSizes;
  /** of a head that are rotated */
  readonly dims: number;
  readonly where: string;
}

/** How each type is read. */
const kinds: Readonly<Record<string, (from: Reading) => Pick<Rope, 'scaling' | 'factors' | 'scale'>>> = {
  default({ rope }) {
    rope.get('factor'); // which changes nothing there
    return {};
  },
  linear: ({ number }) => ({ scaling: { kind: 'linear', factor: number('factor') } }),
  /** Grows the base beyond the positions that the model was made for, which no sequence here exceeds. */
  dynamic({ number }) {
    number('factor');
    return {};
  },
  llama3: ({ number, where }) => ({ scaling: llama3(number, where) }),
  yarn,
  longrope: longRope,
  su: longRope,
};

function llama3(number: NumberOf, where: string): RopeScaling {
  const scaling = {
    kind: 'llama3',
    factor: number('factor'),
    low: number('low_freq_factor'),
    high: number('high_freq_factor'),
    original: number('original_max_position_embeddings'),
  } as const;
  if (scaling.high <= scaling.low)
    throw new ModelError(`${where}: RoPE's high_freq_factor must be larger than its low_freq_factor.`);
  return scaling;
}

function yarn({ rope, number, sizes, where }: Reading): Pick<Rope, 'scaling' | 'scale'> {
  const factor = number('factor');
  const truncate = rope.get('truncate') ?? true;
  if (typeof truncate !== 'boolean') throw new ModelError(`${where}: RoPE's truncate must be true or false.`);
  const [mscale, all] = ['mscale', 'mscale_all_dim'].map((key) => (rope.get(key) ? number(key) : undefined));
  const both = mscale !== undefined && all !== undefined;
  const scale = both ? yarnScale(factor, mscale) / yarnScale(factor, all) : yarnScale(factor);
  const scaling = {
    kind: 'yarn',
    factor,
    original: number('original_max_position_embeddings', sizes.positions),
    betaFast: number('beta_fast', 32),
    betaSlow: number('beta_slow', 1),
    truncate,
  } as const;
  return { scaling, scale: number('attention_factor', scale) };
}

/** Divisors of the frequencies: short ones while a sequence cannot be longer than in training, else long ones. */
function longRope({ rope, number, sizes, dims, where }: Reading): Pick<Rope, 'factors' | 'scale'> {
  const factorsOf = (key: string): Float32Array => {
    const given = rope.get(key);
    if (!Array.isArray(given) || given.length !== dims / 2 || !given.every((each) => each > 0))
      throw new ModelError(`${where}: RoPE's ${key} must be ${dims / 2} positive numbers.`);
    return Float32Array.from(given);
  };
  const [short, long] = [factorsOf('short_factor'), factorsOf('long_factor')];
  const original = sizes.original ?? number('original_max_position_embeddings', sizes.positions);
  const grown = sizes.positions / original;
  const factor = grown > 1 ? grown : number('factor', 1);
  rope.get('factor'); // what positions say is said twice
  return {
    factors: sizes.context > original ? long : short,
    scale: number('attention_factor', longRopeScale(factor, original)),
  };
}
