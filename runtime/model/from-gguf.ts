/** A GGUF file → ModelSpec: its metadata as numbers, its tensors by name. */
import { closeSync, openSync, readSync } from 'node:fs';
import { WeightType } from '../contract/records.ts';
import { typeName } from '../contract/weights.ts';
import { type AssembledModel, type FoundTensor, assemble } from './assemble.ts';
import type { ModelFacts } from './facts.ts';
import { familyOf } from './families/index.ts';
import type { Gguf, GgufTensor, GgufValue } from './gguf.ts';
import type { Rope, RopeScaling } from './rope.ts';
import { Stated, refuseKeys, refuseTensors } from './stated.ts';
import { ModelError } from './types.ts';

/** Throws a ModelError that names the key or tensor at fault. */
export function fromGguf(gguf: Gguf): AssembledModel {
  const architecture = gguf.metadata.get('general.architecture');
  const family = familyOf('gguf', architecture, gguf.file);
  const stated = new Stated(gguf.metadata);
  const tensors = new Stated(new Map(gguf.tensors.map((tensor) => [tensor.name, tensor])));
  const facts = factsOf({ gguf, stated, tensors }, String(architecture), embeddingRows(gguf, family.tensors));
  refuseKeys(stated, String(architecture), gguf.file);
  const find = (name: string): FoundTensor | undefined => {
    const tensor = tensors.get(name);
    if (!tensor) return undefined;
    const [cols, rows = 1, ...rest] = tensor.dims;
    if (rest.some((dim) => dim !== 1))
      throw new ModelError(
        `${gguf.file}: tensor ${name} has the shape ${tensor.dims.join(' × ')}, a matrix is expected.`,
      );
    const { type, file, fileSize, offset } = tensor;
    return { type, typeName: typeName(type), rows, cols, file, fileSize, offset };
  };
  const spec = assemble(family, facts, { format: 'gguf', where: gguf.file, find });
  refuseTensors(tensors, family, 'gguf', gguf.file);
  return { spec, maxPosition: facts.maxPosition, architecture: String(architecture) };
}

/** The vocabulary's size is not always among the metadata, but the embedding has a row for each token. */
function embeddingRows(gguf: Gguf, tensors: readonly { role: string; names: { gguf: string } }[]): number | undefined {
  const embed = tensors.find(({ role }) => role === 'embed')?.names.gguf;
  return gguf.tensors.find(({ name }) => name === embed)?.dims[1];
}

/** A file, its keys and tensors by name. */
interface Stating {
  readonly gguf: Gguf;
  readonly stated: Stated<GgufValue>;
  readonly tensors: Stated<GgufTensor>;
}

/** A number below the architecture. Throws where it is missing and has no fallback. */
type NumberOf = (key: string, fallback?: number) => number;

function factsOf(from: Stating, architecture: string, vocab: number | undefined): ModelFacts {
  const { gguf, stated } = from;
  const value = (key: string) => stated.get(`${architecture}.${key}`);
  const number: NumberOf = (key, fallback) => {
    const given = value(key) ?? fallback;
    if (typeof given !== 'number' && typeof given !== 'bigint')
      throw new ModelError(
        `${gguf.file}: metadata ${architecture}.${key} is ${given === undefined ? 'missing' : 'not a number'}.`,
      );
    return Number(given);
  };
  if (number('expert_count', 0) > 0) throw new ModelError(`${gguf.file}: mixtures of experts are not supported.`);
  const heads = number('attention.head_count');
  const width = number('embedding_length');
  const headDim = number('attention.key_length', width / heads);
  const valueDim = number('attention.value_length', headDim);
  if (valueDim !== headDim)
    throw new ModelError(`${gguf.file}: keys of ${headDim} dimensions with values of ${valueDim} are not supported.`);
  return {
    layers: number('block_count'),
    width,
    heads,
    kvHeads: number('attention.head_count_kv', heads),
    headDim,
    ffn: number('feed_forward_length'),
    vocab: vocab ?? number('vocab_size', 0),
    normEps: number('attention.layer_norm_rms_epsilon'),
    maxPosition: number('context_length'),
    rope: ropeOf(from, value, number, headDim),
  };
}

function ropeOf(from: Stating, value: (key: string) => unknown, number: NumberOf, headDim: number): Rope {
  return {
    base: number('rope.freq_base', 10000),
    dims: number('rope.dimension_count', headDim),
    scaling: ropeScaling(from.gguf, value('rope.scaling.type'), number),
    factors: ropeFactors(from, headDim / 2),
  };
}

/** As llama.cpp has it: a factor without a type is linear, the older key counts where the newer is absent, 0 is no factor. */
function ropeScaling(gguf: Gguf, type: unknown, number: NumberOf): RopeScaling | undefined {
  const older = number('rope.scale_linear', 0);
  const factor = number('rope.scaling.factor', older);
  if (type !== undefined && type !== 'none' && type !== 'linear')
    throw new ModelError(`${gguf.file}: RoPE scaling of type ${String(type)} is not supported.`);
  if (type === 'none' || factor === 0 || factor === 1) return undefined;
  if (!(factor > 0 && Number.isFinite(factor))) throw new ModelError(`${gguf.file}: RoPE's factor is ${factor}.`);
  return { kind: 'linear', factor };
}

/** The tensor rope_freqs.weight, if there is one: divisors of the frequencies. */
function ropeFactors({ gguf, tensors }: Stating, expected: number): Float32Array | undefined {
  const tensor = tensors.get('rope_freqs.weight');
  if (!tensor) return undefined;
  const { type, file, fileSize, offset, dims } = tensor;
  const [count] = dims;
  if (type !== WeightType.F32 || count !== expected || offset + count * 4 > fileSize)
    throw new ModelError(`${gguf.file}: rope_freqs.weight must be ${expected} numbers in F32.`);
  const bytes = readRange(file, offset, count * 4);
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
