/** A strict safetensors reader: the JSON header of one file, or of all files of an index. Tensor data stays in the files. */
import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
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
  return tensors;
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

/** The tensors of a model folder: model.safetensors, or the files its index names. */
export function readSafetensorsFolder(folder: string): StoredTensor[] {
  const single = join(folder, 'model.safetensors');
  if (existsSync(single)) return readSafetensors(single);
  const index = join(folder, 'model.safetensors.index.json');
  if (!existsSync(index)) throw new ModelError(`${folder}: has no model.safetensors${insteadOf(folder)}.`);
  let map: Record<string, string>;
  try {
    map = JSON.parse(readFileSync(index, 'utf8')).weight_map ?? {};
  } catch {
    throw new ModelError(`${index}: is not JSON. Download it again.`);
  }
  const files = new Set(Object.values(map));
  for (const name of files)
    if (typeof name !== 'string' || name !== basename(name))
      throw new ModelError(`${index}: names the file ${String(name)}, which is not inside the folder.`);
  const found = [...files].flatMap((name) => readSafetensors(join(folder, name)));
  const present = new Set(found.map((tensor) => tensor.name));
  for (const name of Object.keys(map))
    if (!present.has(name)) throw new ModelError(`${index}: promises tensor ${name}, which is in none of its files.`);
  return found;
}

/** What a folder without the files that are wanted has instead, and what to do. */
export function insteadOf(folder: string): string {
  const names = readdirSync(folder).sort();
  const of = (pattern: RegExp) => names.filter((name) => pattern.test(name));
  const [gguf] = of(/\.gguf$/);
  if (gguf) return `, but GGUF files: give one of them as the model, such as ${join(folder, gguf)}`;
  const [part] = of(/\.safetensors$/);
  if (part)
    return ` and no model.safetensors.index.json that says what ${part} is a part of; download the folder again`;
  const [pickle] = of(/\.(bin|pth?|ckpt)$/);
  if (pickle) return `, but ${pickle}: only safetensors and GGUF are read; save the model with safe_serialization`;
  return ' and no model.safetensors.index.json';
}
