/** A strict safetensors reader: the JSON header of one file, or of all files of an index. Tensor data stays in the files. */
import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { POINTER, isPointer } from './pointer.ts';
import { ModelError } from './types.ts';

export interface StoredTensor {
  readonly name: string;
  readonly dtype: string;
  /** slowest-varying dimension first */
  readonly shape: readonly number[];
  readonly file: string;
  /** from the start of the file */
  readonly offset: number;
  readonly bytes: number;
}

const SINGLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';
const MAX_HEADER = 100 << 20;
/** Bits of an element. */
const widths: Record<string, number> = {
  F64: 64,
  F32: 32,
  F16: 16,
  BF16: 16,
  C64: 64,
  I64: 64,
  I32: 32,
  I16: 16,
  I8: 8,
  U64: 64,
  U32: 32,
  U16: 16,
  U8: 8,
  BOOL: 8,
  F8_E4M3: 8,
  F8_E5M2: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  F6_E2M3: 6,
  F6_E3M2: 6,
  F4: 4,
};

const isIndex = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** Refuses a file, with what is wrong. */
type Fail = (what: string) => never;

/** The tensors of one file. Throws ModelError with the tensor or section at fault. */
export function readSafetensors(file: string): StoredTensor[] {
  const fail: Fail = (what) => {
    if (isPointer(file)) throw new ModelError(`${file}: ${POINTER}.`);
    throw new ModelError(`${file}: ${what}. The file is damaged or not safetensors; download it again.`);
  };
  const { header, data, bytes } = readHeader(file, fail);
  const tensors = Object.entries(header)
    .filter(([name]) => name !== '__metadata__')
    .map(([name, entry]): StoredTensor => {
      const { dtype, shape, from, to } = entryOf(name, entry, bytes, fail);
      return { name, dtype, shape, file, offset: data + from, bytes: to - from };
    });
  const sorted = [...tensors].sort((a, b) => a.offset - b.offset);
  for (let i = 1; i < sorted.length; i++)
    if (sorted[i].offset < sorted[i - 1].offset + sorted[i - 1].bytes)
      fail(`tensors ${sorted[i - 1].name} and ${sorted[i].name} overlap`);
  return [...tensors, ...twins(tensors, header.__metadata__)];
}

/** Tensors that were left out since another one is the same: safetensors notes them as `name: the other`. */
function twins(tensors: readonly StoredTensor[], notes: unknown): StoredTensor[] {
  const here = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  return Object.entries(notes ?? {}).flatMap(([name, other]) => {
    const twin = here.get(other as string);
    return twin && !here.has(name) ? [{ ...twin, name }] : [];
  });
}

/** The JSON header, where the data begins in the file, and how many bytes it has. */
function readHeader(file: string, fail: Fail): { header: Record<string, unknown>; data: number; bytes: number } {
  let fd: number;
  try {
    fd = openSync(file, 'r');
  } catch (error) {
    throw new ModelError(`${file}: cannot be opened (${(error as NodeJS.ErrnoException).code}).`);
  }
  try {
    const { size } = fstatSync(fd);
    if (size < 8) fail('it is shorter than its own length field');
    const head = Buffer.alloc(8);
    readSync(fd, head, 0, 8, 0);
    const length = head.readBigUInt64LE();
    if (length > BigInt(MAX_HEADER) || Number(length) > size - 8)
      fail(`its header claims ${length} bytes, the file has ${size - 8}`);
    const text = Buffer.alloc(Number(length));
    if (readSync(fd, text, 0, text.length, 8) !== text.length) fail('it became shorter while it was read');
    let header: unknown;
    try {
      header = JSON.parse(text.toString('utf8'));
    } catch {
      fail('its header is not JSON');
    }
    if (typeof header !== 'object' || header === null || Array.isArray(header)) fail('its header is not an object');
    const data = 8 + Number(length);
    return { header: header as Record<string, unknown>, data, bytes: size - data };
  } finally {
    closeSync(fd);
  }
}

/** One entry of the header: type, shape, and where its data lies, which has `bytes` in all. */
function entryOf(name: string, entry: unknown, bytes: number, fail: Fail) {
  const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as Record<string, unknown>;
  const width =
    typeof dtype === 'string' && Object.hasOwn(widths, dtype)
      ? widths[dtype]
      : fail(`tensor ${name} has the unknown type ${String(dtype)}`);
  if (!Array.isArray(shape) || shape.length > 8 || !shape.every(isIndex)) fail(`tensor ${name} has no proper shape`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isIndex))
    fail(`tensor ${name} has no proper data_offsets`);
  const dims = shape as number[];
  const [from, to] = offsets as [number, number];
  const count = dims.reduce((product, dim) => product * dim, 1);
  if (to < from || to > bytes) fail(`tensor ${name} lies at ${from} … ${to}, the data has ${bytes} bytes`);
  if (!Number.isSafeInteger(count * width) || count * width !== 8 * (to - from))
    fail(`tensor ${name} is ${dims.join(' × ')} ${String(dtype)}, but has ${to - from} bytes`);
  return { dtype: dtype as string, shape: dims, from, to };
}

/** The tensors of a model folder: of model.safetensors, or of the files its index names. */
export function readSafetensorsFolder(folder: string): StoredTensor[] {
  const [single, index] = [SINGLE, INDEX].map((name) => join(folder, name));
  if (!existsSync(index)) {
    if (existsSync(single)) return readSafetensors(single);
    throw new ModelError(`${folder}: has no ${SINGLE}${insteadOf(folder)}.`);
  }
  const map = weightMap(index);
  const files = [...new Set(map.values())];
  if (existsSync(single) && !files.includes(SINGLE))
    throw new ModelError(
      `${folder}: has ${SINGLE} and an index of other files, which need not be the same weights. Move one of the two away.`,
    );
  const missing = files.filter((name) => !existsSync(join(folder, name)));
  if (missing.length)
    throw new ModelError(
      `${index}: ${missing.length} of its ${files.length} files are missing: ${missing.slice(0, 8).join(', ')}. Download them.`,
    );
  // A file may hold a tensor that the index gives to another one: an older copy, which nobody reads.
  const stored = files.flatMap((name) => readSafetensors(join(folder, name)));
  const found = stored.filter(({ name, file }) => (map.get(name) ?? basename(file)) === basename(file));
  const present = new Set(found.map(({ name }) => name));
  for (const [name, file] of map)
    if (!present.has(name))
      throw new ModelError(`${index}: promises tensor ${name} in ${file}, which does not have it.`);
  return found;
}

/** Which file has a tensor, by an index. */
function weightMap(index: string): Map<string, string> {
  let map: Map<string, unknown>;
  try {
    map = new Map(Object.entries(JSON.parse(readFileSync(index, 'utf8')).weight_map ?? {}));
  } catch {
    throw new ModelError(`${index}: ${isPointer(index) ? POINTER : 'is not JSON. Download it again'}.`);
  }
  for (const name of map.values())
    if (typeof name !== 'string' || name !== basename(name))
      throw new ModelError(`${index}: names the file ${String(name)}, which is not inside the folder.`);
  return map as Map<string, string>;
}

/** What a folder without the files that are wanted has instead, and what to do. */
export function insteadOf(folder: string): string {
  const names = readdirSync(folder).sort();
  const of = (pattern: RegExp) => names.filter((name) => pattern.test(name));
  const [gguf] = of(/\.gguf$/);
  if (gguf) return `, but GGUF files: give one of them as the model, such as ${join(folder, gguf)}`;
  if (names.includes('adapter_config.json'))
    return ', but an adapter: merge it into its base model (merge_and_unload) and save that';
  const [own] = of(/^consolidated.*\.safetensors$/);
  if (own) return `, but ${own}, Mistral's own format: use the folder in transformers' format`;
  const [part] = of(/\.safetensors$/);
  if (part) return `, and nothing that says what ${part} is a part of; download the folder again`;
  const [pickle] = of(/\.(bin|pth?|ckpt)$/);
  if (pickle) return `, but ${pickle}: only safetensors and GGUF are read; save the model with safe_serialization`;
  return ` and no ${INDEX}`;
}
