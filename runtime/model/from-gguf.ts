/** A GGUF file → ModelSpec: its metadata as numbers, its tensors by name. */
import { closeSync, openSync, readSync } from 'node:fs';
import { WeightType } from '../contract/records.ts';
import { typeName } from '../contract/weights.ts';
import { type AssembledModel, type FoundTensor, assemble } from './assemble.ts';
import type { ModelFacts } from './facts.ts';
import type { Family } from './families/family.ts';
import { familyOf } from './families/index.ts';
import type { Gguf, GgufTensor, GgufValue } from './gguf.ts';
import { type Listed, layersOf } from './layers.ts';
import { type ReadNumber, numbersOf, sizesOf } from './numbers.ts';
import { ggufRope } from './rope-gguf.ts';
import { Stated, refuseKeys, refuseTensors } from './stated.ts';
import { ModelError } from './types.ts';

/** `context`: tokens that will be served at most. Throws a ModelError that names the key or tensor at fault. */
export function fromGguf(gguf: Gguf, context = Infinity): AssembledModel {
  const architecture = gguf.metadata.get('general.architecture');
  const family = familyOf('gguf', architecture, gguf.file);
  const stated = new Stated(gguf.metadata);
  const tensors = new Stated(new Map(gguf.tensors.map((tensor) => [tensor.name, tensor])));
  const facts = factsOf(family, { gguf, stated, tensors, context }, String(architecture));
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
function embeddingRows(gguf: Gguf, tensors: readonly { role: string; names: { gguf?: string } }[]): number | undefined {
  const embed = tensors.find(({ role }) => role === 'embed')?.names.gguf;
  return gguf.tensors.find(({ name }) => name === embed)?.dims[1];
}

/** A file, its keys and tensors by name. */
interface Stating {
  readonly gguf: Gguf;
  readonly stated: Stated<GgufValue>;
  readonly tensors: Stated<GgufTensor>;
  readonly context: number;
}

function factsOf(family: Family, from: Stating, architecture: string): ModelFacts {
  const { gguf, stated } = from;
  const value = (key: string) => stated.get(`${architecture}.${key}`);
  const read: ReadNumber = (keys, fallback) => {
    for (const key of keys) {
      const given = everywhere(value(key), `${gguf.file}: metadata ${architecture}.${key}`);
      if (typeof given === 'number' || typeof given === 'bigint') return Number(given);
      if (given !== undefined) throw new ModelError(`${gguf.file}: metadata ${architecture}.${key} is not a number.`);
    }
    if (fallback !== undefined) return fallback;
    throw new ModelError(`${gguf.file}: metadata ${architecture}.${keys[0]} is missing.`);
  };
  const size = sizesOf('gguf', read);
  if (read(['expert_count'], 0) > 0) throw new ModelError(`${gguf.file}: mixtures of experts are not supported.`);
  const numbers = numbersOf(family, 'gguf', read, gguf.file);
  const { layers, headDim, maxPosition } = numbers;
  const window = family.windows ? size('window', family.window ?? 0) : 0;
  const rope = ggufRope({
    value,
    number: (key, fallback) => read([key], fallback),
    factors: (name, count) => ropeFactors(from, name, count),
    headDim,
    positions: maxPosition,
    context: Math.min(maxPosition, from.context),
    where: gguf.file,
  });
  return {
    ...numbers,
    vocab: embeddingRows(gguf, family.tensors) ?? size('vocab', 0),
    activation: family.activation,
    rope,
    windowRope:
      family.windowBase === undefined ? undefined : { base: size('windowBase', family.windowBase), dims: rope.dims },
    window,
    layer: layersOf(family, layers, window, listedLayers(value, layers, gguf.file)),
    flags: new Map(),
  };
}

/** Which layers have a window, where the file lists them or has a rule of its own. */
function listedLayers(value: (key: string) => unknown, layers: number, where: string): Listed {
  const pattern = value('attention.sliding_window_pattern');
  if (pattern === undefined || (Number.isInteger(pattern) && (pattern as number) >= 0))
    return { fullEvery: pattern as number | undefined };
  const entries: readonly unknown[] = Array.isArray(pattern) || pattern instanceof Int32Array ? [...pattern] : [];
  if (entries.length !== layers || !entries.every((each) => [0, 1, false, true].includes(each as number | boolean)))
    throw new ModelError(
      `${where}: attention.sliding_window_pattern must be a number, or have 1 (a window) or 0 for each of ${layers} layers.`,
    );
  return { windowed: entries.map(Boolean) };
}

/** A number, also of a list with one for each layer, if it is the same everywhere. */
function everywhere(given: unknown, what: string): unknown {
  if (!(given instanceof Int32Array || given instanceof Float32Array) || given.length === 0) return given;
  if (given.some((each) => each !== given[0]))
    throw new ModelError(`${what} differs by layer, which is not supported.`);
  return given[0];
}

/** A tensor of divisors of the frequencies, if there is one. */
function ropeFactors({ gguf, tensors }: Stating, name: string, expected: number): Float32Array | undefined {
  const tensor = tensors.get(name);
  if (!tensor) return undefined;
  const { type, file, fileSize, offset, dims } = tensor;
  const [count] = dims;
  if (type !== WeightType.F32 || count !== expected || offset + count * 4 > fileSize)
    throw new ModelError(`${gguf.file}: ${name} must be ${expected} numbers in F32.`);
  const bytes = readRange(file, offset, count * 4);
  const factors = new Float32Array(bytes.buffer, bytes.byteOffset, count).slice();
  if (factors.some((factor) => !(factor > 0 && Number.isFinite(factor))))
    throw new ModelError(`${gguf.file}: ${name} has a factor that is not positive.`);
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
