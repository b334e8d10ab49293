/**
 * A strict GGUF reader (versions 2 and 3): header, metadata and tensor table; tensor data stays in the file. Every count,
 * length and offset is checked before it is believed.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { Texts } from './texts.ts';
import { POINTER, isPointer } from './pointer.ts';
import { ModelError } from './types.ts';

export type GgufValue = number | bigint | boolean | string | GgufValue[] | Texts | Int32Array | Float32Array;

export interface GgufTensor {
  readonly name: string;
  /** fastest-varying dimension first, as the file has it */
  readonly dims: readonly number[];
  readonly type: number;
  /** which of a split model's files has it, and how long that is */
  readonly file: string;
  readonly fileSize: number;
  /** from the start of the file */
  readonly offset: number;
}

export interface Gguf {
  readonly file: string;
  readonly size: number;
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: readonly GgufTensor[];
}

const MAX_KEYS = 65_536;
const MAX_TENSORS = 1_048_576;
const MAX_STRING = 64 << 20;
const MAX_ARRAY = 1 << 26;
const MAX_HEADER = 1 << 30;

/** Bytes of the fixed-size value types, by number. */
const widths: Record<number, number> = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 };
const STRING = 8;
const ARRAY = 9;

/** Reads a file front to back through a window that grows by need. */
class Cursor {
  private window = Buffer.alloc(0);
  private start = 0;
  at = 0;

  constructor(
    private readonly fd: number,
    readonly file: string,
    readonly size: number,
  ) {}

  fail(what: string): never {
    if (isPointer(this.file)) throw new ModelError(`${this.file}: ${POINTER}.`);
    throw new ModelError(
      `${this.file}: ${what} (at byte ${this.at} of ${this.size}). The file is damaged or not a GGUF model; download it again.`,
    );
  }

  /** The next n bytes as a view that is valid until the next call. */
  take(n: number, what: string): Buffer {
    if (n > this.size - this.at) this.fail(`${what} needs ${n} bytes, the file ends before`);
    if (this.at < this.start || this.at + n > this.start + this.window.length) {
      const length = Math.min(Math.max(n, 1 << 20), this.size - this.at);
      const next = Buffer.allocUnsafe(length);
      let got = 0;
      while (got < length) {
        const read = readSync(this.fd, next, got, length - got, this.at + got);
        if (read === 0) this.fail(`${what}: the file became shorter while it was read`);
        got += read;
      }
      this.window = next;
      this.start = this.at;
    }
    const from = this.at - this.start;
    this.at += n;
    if (this.at > MAX_HEADER) this.fail('the header is larger than 1 GiB');
    return this.window.subarray(from, from + n);
  }

  u32(what: string): number {
    return this.take(4, what).readUInt32LE();
  }

  /** A count or length; larger than `limit` is damage, not data. */
  count(what: string, limit: number): number {
    const bytes = this.take(8, what);
    const value = bytes.readUInt32LE(4) * 2 ** 32 + bytes.readUInt32LE(0); // exact up to 2^53, and no limit is larger
    if (value > limit) this.fail(`${what} is ${bytes.readBigUInt64LE()}, more than ${limit}`);
    return value;
  }

  string(what: string): string {
    const length = this.count(`the length of ${what}`, MAX_STRING);
    return this.take(length, what).toString('utf8');
  }

  scalar(type: number, what: string): number | bigint | boolean {
    const bytes = this.take(widths[type], what);
    switch (type) {
      case 0:
        return bytes.readUInt8();
      case 1:
        return bytes.readInt8();
      case 2:
        return bytes.readUInt16LE();
      case 3:
        return bytes.readInt16LE();
      case 4:
        return bytes.readUInt32LE();
      case 5:
        return bytes.readInt32LE();
      case 6:
        return bytes.readFloatLE();
      case 7:
        if (bytes[0] > 1) this.fail(`${what} is a boolean of ${bytes[0]}`);
        return bytes[0] === 1;
      case 10:
        return bytes.readBigUInt64LE();
      case 11:
        return bytes.readBigInt64LE();
      default:
        return bytes.readDoubleLE();
    }
  }

  value(type: number, what: string, depth = 0): GgufValue {
    if (type === STRING) return this.string(what);
    if (type !== ARRAY) {
      if (!(type in widths)) this.fail(`${what} has the unknown type ${type}`);
      return this.scalar(type, what);
    }
    if (depth > 4) this.fail(`${what} nests arrays too deeply`);
    const of = this.u32(`the element type of ${what}`);
    const length = this.count(`the length of ${what}`, MAX_ARRAY);
    if (of !== STRING && of !== ARRAY && !(of in widths)) this.fail(`${what} has elements of the unknown type ${of}`);
    const least = of === STRING ? 8 : of === ARRAY ? 12 : widths[of];
    if (length * least > this.size - this.at)
      this.fail(`${what} has ${length} elements, more than the rest of the file can hold`);
    if (of === 5 || of === 4 || of === 6) {
      const bytes = this.take(length * 4, what);
      const copy = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
      return of === 6 ? new Float32Array(copy) : new Int32Array(copy);
    }
    if (of === STRING) return Texts.of(length, () => this.string(what));
    return Array.from({ length }, () => this.value(of, what, depth + 1));
  }
}

/** Reads the header of a GGUF file. Throws ModelError with the place and the reason. */
export function readGguf(file: string): Gguf {
  let fd: number;
  try {
    fd = openSync(file, 'r');
  } catch (error) {
    throw new ModelError(`${file}: cannot be opened (${(error as NodeJS.ErrnoException).code}).`);
  }
  try {
    return parse(new Cursor(fd, file, fstatSync(fd).size));
  } finally {
    closeSync(fd);
  }
}

function parse(cursor: Cursor): Gguf {
  const magic = cursor.take(4, 'the magic').toString('latin1');
  if (magic === 'FUGG') cursor.fail('this is a big-endian GGUF file, which is not supported');
  if (magic !== 'GGUF') cursor.fail('this is not a GGUF file');
  const version = cursor.u32('the version');
  if (version !== 2 && version !== 3) cursor.fail(`version ${version} of GGUF is not supported (2 and 3 are)`);
  const tensorCount = cursor.count('the number of tensors', MAX_TENSORS);
  const keyCount = cursor.count('the number of metadata keys', MAX_KEYS);

  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < keyCount; i++) {
    const key = cursor.string(`the name of metadata key ${i}`);
    if (metadata.has(key)) cursor.fail(`metadata key ${key} appears twice`);
    metadata.set(key, cursor.value(cursor.u32(`the type of ${key}`), key));
  }

  const { file, size: fileSize } = cursor;
  const tensors: GgufTensor[] = [];
  const names = new Set<string>();
  for (let i = 0; i < tensorCount; i++) {
    const name = cursor.string(`the name of tensor ${i}`);
    if (names.has(name)) cursor.fail(`tensor ${name} appears twice`);
    names.add(name);
    const rank = cursor.u32(`the rank of ${name}`);
    if (rank < 1 || rank > 4) cursor.fail(`tensor ${name} has ${rank} dimensions`);
    const dims = Array.from({ length: rank }, () => cursor.count(`a dimension of ${name}`, 2 ** 40));
    if (dims.some((dim) => dim === 0) || dims.reduce((product, dim) => product * dim, 1) > 2 ** 44)
      cursor.fail(`tensor ${name} has the shape ${dims.join(' × ')}`);
    const type = cursor.u32(`the type of ${name}`);
    tensors.push({ name, dims, type, file, fileSize, offset: cursor.count(`the offset of ${name}`, fileSize) });
  }

  const alignment = Number(metadata.get('general.alignment') ?? 32);
  if (!Number.isInteger(alignment) || alignment < 8 || alignment > 1 << 20 || alignment % 8 !== 0)
    cursor.fail(`the alignment is ${alignment}`);
  const data = Math.ceil(cursor.at / alignment) * alignment;
  for (const tensor of tensors)
    if (tensor.offset % alignment !== 0)
      cursor.fail(`tensor ${tensor.name} starts at ${tensor.offset}, which is not aligned to ${alignment}`);
  return {
    file: cursor.file,
    size: cursor.size,
    version,
    metadata,
    tensors: tensors.map((tensor) => ({ ...tensor, offset: tensor.offset + data })),
  };
}
