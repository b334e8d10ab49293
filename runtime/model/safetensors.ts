/** A strict safetensors reader: the JSON header of one file, or of all files of an index. Tensor data stays in the files. */
import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
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
const widths: Record<string, number> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
};

const isIndex = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** The tensors of one file. Throws ModelError with the tensor or section at fault. */
export function readSafetensors(file: string): StoredTensor[] {
  const fail = (what: string): never => {
    throw new ModelError(`${file}: ${what}. The file is damaged or not safetensors; download it again.`);
  };
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
    const bytes = Buffer.alloc(Number(length));
    if (readSync(fd, bytes, 0, bytes.length, 8) !== bytes.length) fail('it became shorter while it was read');
    let header: unknown;
    try {
      header = JSON.parse(bytes.toString('utf8'));
    } catch {
      fail('its header is not JSON');
    }
    if (typeof header !== 'object' || header === null || Array.isArray(header)) fail('its header is not an object');
    const data = 8 + Number(length);
    const tensors: StoredTensor[] = [];
    for (const [name, entry] of Object.entries(header as Record<string, unknown>)) {
      if (name === '__metadata__') continue;
      const {
        dtype,
        shape,
        data_offsets: offsets,
      } = (entry ?? {}) as { dtype?: unknown; shape?: unknown; data_offsets?: unknown };
      const width =
        typeof dtype === 'string' && Object.hasOwn(widths, dtype)
          ? widths[dtype]
          : fail(`tensor ${name} has the unknown type ${String(dtype)}`);
      if (!Array.isArray(shape) || shape.length > 8 || !shape.every(isIndex))
        fail(`tensor ${name} has no proper shape`);
      if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isIndex))
        fail(`tensor ${name} has no proper data_offsets`);
      const [from, to] = offsets as [number, number];
      const count = (shape as number[]).reduce((product, dim) => product * dim, 1);
      if (to < from || to > size - data)
        fail(`tensor ${name} lies at ${from} … ${to}, the data has ${size - data} bytes`);
      if (!Number.isSafeInteger(count * width) || count * width !== to - from)
        fail(`tensor ${name} is ${(shape as number[]).join(' × ')} ${String(dtype)}, but has ${to - from} bytes`);
      tensors.push({
        name,
        dtype: dtype as string,
        shape: shape as number[],
        file,
        offset: data + from,
        bytes: to - from,
      });
    }
    const sorted = [...tensors].sort((a, b) => a.offset - b.offset);
    for (let i = 1; i < sorted.length; i++)
      if (sorted[i].offset < sorted[i - 1].offset + sorted[i - 1].bytes)
        fail(`tensors ${sorted[i - 1].name} and ${sorted[i].name} overlap`);
    return tensors;
  } finally {
    closeSync(fd);
  }
}

/** The tensors of a model folder: model.safetensors, or the files its index names. */
export function readSafetensorsFolder(folder: string): StoredTensor[] {
  const single = join(folder, 'model.safetensors');
  if (existsSync(single)) return readSafetensors(single);
  const index = join(folder, 'model.safetensors.index.json');
  if (!existsSync(index))
    throw new ModelError(`${folder}: has neither model.safetensors nor model.safetensors.index.json.`);
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
