/** A GGUF file → ModelSpec: its metadata as numbers, its tensors by name. */
import { closeSync, openSync, readSync } from 'node:fs';
import { WeightType } from '../contract/records.ts';
import { weightName } from '../contract/weights.ts';
import { type AssembledModel, type FoundTensor, assemble } from './assemble.ts';
import type { ModelFacts } from './facts.ts';
import { familyOf } from './families/index.ts';
import type { Gguf } from './gguf.ts';
import { ModelError } from './types.ts';

/** Throws a ModelError that names the key or tensor at fault. */
export function fromGguf(gguf: Gguf): AssembledModel {
  const architecture = gguf.metadata.get('general.architecture');
  const family = familyOf('gguf', architecture, gguf.file);
  const facts = factsOf(gguf, String(architecture), embeddingRows(gguf, family.tensors));
  const byName = new Map(gguf.tensors.map((tensor) => [tensor.name, tensor]));
  const find = (name: string): FoundTensor | undefined => {
    const tensor = byName.get(name);
    if (!tensor) return undefined;
    const [cols, rows = 1, ...rest] = tensor.dims;
    if (rest.some((dim) => dim !== 1))
      throw new ModelError(
        `${gguf.file}: tensor ${name} has the shape ${tensor.dims.join(' × ')}, a matrix is expected.`,
      );
    const { type, offset } = tensor;
    return {
      type,
      typeName: weightName(type) ?? `type ${type}`,
      rows,
      cols,
      file: gguf.file,
      fileSize: gguf.size,
      offset,
    };
  };
  const spec = assemble(family, facts, { format: 'gguf', where: gguf.file, find });
  return { spec, maxPosition: facts.maxPosition, architecture: String(architecture) };
}

/** The vocabulary's size is not always among the metadata, but the embedding has a row for each token. */
function embeddingRows(gguf: Gguf, tensors: readonly { role: string; names: { gguf: string } }[]): number | undefined {
  const embed = tensors.find(({ role }) => role === 'embed')?.names.gguf;
  return gguf.tensors.find(({ name }) => name === embed)?.dims[1];
}

function factsOf(gguf: Gguf, architecture: string, vocab: number | undefined): ModelFacts {
  const value = (key: string) => gguf.metadata.get(`${architecture}.${key}`);
  const number = (key: string, fallback?: number): number => {
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
  const scaling = value('rope.scaling.type');
  if (scaling !== undefined && scaling !== 'none' && scaling !== 'linear')
    throw new ModelError(`${gguf.file}: RoPE scaling of type ${String(scaling)} is not supported.`);
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
    rope: {
      base: number('rope.freq_base', 10000),
      dims: number('rope.dimension_count', headDim),
      scaling: scaling === 'linear' ? { kind: 'linear', factor: number('rope.scaling.factor') } : undefined,
      factors: ropeFactors(gguf, headDim / 2),
    },
  };
}

/** The tensor rope_freqs.weight, if there is one: divisors of the frequencies. */
function ropeFactors(gguf: Gguf, expected: number): Float32Array | undefined {
  const tensor = gguf.tensors.find(({ name }) => name === 'rope_freqs.weight');
  if (!tensor) return undefined;
  const { type, offset, dims } = tensor;
  const [count] = dims;
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
