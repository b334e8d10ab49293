/**
 * The same model in another weight format: peers read Q4_1 by slow paths, and quality is comparable only at 8 bits. Weights
 * go through f32, so Q8_0 of a Q4_1 file means the Q4_1 file; the bytes and the work are those of a published Q8_0.
 */
import { createHash } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readSync, renameSync, statSync, writeSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type GgufTensor, readGguf } from '../runtime/model/gguf.ts';
import { cacheFolder } from '../toolchain/folders.mjs';
import { ModelError } from '../runtime/model/types.ts';
import { WeightType } from '../runtime/contract/records.ts';
import { type WeightName, blockOf, typeName, weightName } from '../runtime/contract/weights.ts';

export type Format = 'F16' | 'Q4_0' | 'Q8_0';

const BLOCK = 32;

/** Types that dequantise() knows. */
const readable: readonly number[] = ['F32', 'F16', 'BF16', 'Q4_0', 'Q4_1', 'Q8_0'].map(
  (name) => WeightType[name as WeightName],
);

/** Bytes of 32 weights of a type that can be read. */
const bytesOf = (type: number): number => (BLOCK / blockOf(type).elements) * blockOf(type).bytes;

/** llama.cpp's general.file_type */
const fileType: Record<Format, number> = { F16: 1, Q4_0: 2, Q8_0: 7 };

const float = new Float32Array(1);
const word = new Uint32Array(float.buffer);

/** To half precision, to nearest even; weights are far from its ends, what is beyond becomes 0 or infinity. */
export function toF16(x: number): number {
  float[0] = x;
  const bits = word[0];
  const sign = (bits >>> 16) & 0x8000;
  const exponent = ((bits >>> 23) & 255) - 112;
  if (exponent >= 31) return sign | 0x7c00;
  const mantissa = (bits & 0x7fffff) | 0x800000;
  const shift = exponent > 0 ? 13 : 14 - exponent;
  if (shift > 24) return sign;
  const rest = mantissa & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  let value = (exponent > 0 ? exponent << 10 : 0) + ((mantissa >> shift) & (exponent > 0 ? 1023 : 2047));
  if (rest > half || (rest === half && value & 1)) value++;
  return sign | value;
}

export function fromF16(h: number): number {
  const exponent = (h >> 10) & 31;
  const fraction = h & 1023;
  const value =
    exponent === 31
      ? fraction
        ? Number.NaN
        : Number.POSITIVE_INFINITY
      : exponent
        ? 2 ** (exponent - 15) * (1 + fraction / 1024)
        : fraction * 2 ** -24;
  return h & 0x8000 ? -value : value;
}

/** Every half as a number: a model has a hundred million of them. */
let halves: Float32Array | undefined;

/** One block of any format as f32. */
export function dequantise(type: number, bytes: Buffer, at: number, out: Float32Array): void {
  const table = (halves ??= Float32Array.from({ length: 65_536 }, (_, h) => fromF16(h)));
  const half = (offset: number) => table[bytes[at + offset] | (bytes[at + offset + 1] << 8)];
  const nibbles = (from: number, scale: number, least: number) => {
    for (let i = 0; i < 16; i++) {
      out[i] = scale * (bytes[from + i] & 15) + least;
      out[i + 16] = scale * (bytes[from + i] >> 4) + least;
    }
  };
  if (type === WeightType.Q4_0) nibbles(at + 2, half(0), -8 * half(0));
  else if (type === WeightType.Q4_1) nibbles(at + 4, half(0), half(2));
  else if (type === WeightType.Q8_0) {
    const scale = half(0);
    for (let i = 0; i < BLOCK; i++) out[i] = scale * ((bytes[at + 2 + i] << 24) >> 24);
  } else if (type === WeightType.F16) for (let i = 0; i < BLOCK; i++) out[i] = half(2 * i);
  else if (type === WeightType.F32) for (let i = 0; i < BLOCK; i++) out[i] = bytes.readFloatLE(at + 4 * i);
  else if (type === WeightType.BF16)
    for (let i = 0; i < BLOCK; i++) {
      word[0] = bytes.readUInt16LE(at + 2 * i) << 16;
      out[i] = float[0];
    }
}

/** One block of f32 in another format. Q4_0 takes its scale from the value farthest from zero, as GGUF's writers do. */
export function quantise(format: Format, x: Float32Array, bytes: Buffer, at: number): void {
  if (format === 'F16') {
    for (let i = 0; i < BLOCK; i++) {
      const half = toF16(x[i]);
      bytes[at + 2 * i] = half;
      bytes[at + 2 * i + 1] = half >> 8;
    }
    return;
  }
  let most = 0;
  for (const value of x) if (Math.abs(value) > Math.abs(most)) most = value;
  const scale = toF16(format === 'Q8_0' ? Math.abs(most) / 127 : most / -8);
  const d = fromF16(scale);
  bytes.writeUInt16LE(scale, at);
  if (format === 'Q8_0')
    for (let i = 0; i < BLOCK; i++)
      bytes.writeInt8(Math.max(-127, Math.min(127, d ? Math.round(x[i] / d) : 0)), at + 2 + i);
  else
    for (let i = 0; i < 16; i++) {
      const [low, high] = [x[i], x[i + 16]].map((value) =>
        Math.max(0, Math.min(15, d ? Math.round(value / d) + 8 : 8)),
      );
      bytes[at + 2 + i] = low | (high << 4);
    }
}

const aligned = (n: number) => Math.ceil(n / BLOCK) * BLOCK;

/** The metadata of a GGUF file as it stands, general.file_type changed: [count, bytes]. */
function metadataBytes(file: Buffer, format: Format): Buffer {
  const widths = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];
  let at = 24;
  const text = () => {
    const n = Number(file.readBigUInt64LE(at));
    at += 8 + n;
    return file.toString('utf8', at - n, at);
  };
  const skip = (type: number) => {
    if (type === 8) text();
    else if (type === 9) {
      const of = file.readUInt32LE(at);
      const n = Number(file.readBigUInt64LE(at + 4));
      at += 12;
      if (of < 8 || of > 9) at += n * widths[of];
      else for (let i = 0; i < n; i++) skip(of);
    } else at += widths[type];
  };
  const keys = Number(file.readBigUInt64LE(16));
  for (let i = 0; i < keys; i++) {
    const key = text();
    const type = file.readUInt32LE(at);
    at += 4;
    if (key === 'general.file_type') file.writeUInt32LE(fileType[format], at);
    skip(type);
  }
  return file.subarray(24, at);
}

/** What a tensor becomes: matrices the wanted format, embeddings at least 8 bits, vectors as they are. */
function typeOf({ name, dims, type }: GgufTensor, format: Format): number {
  if (dims.length < 2) return type;
  return format === 'Q4_0' && /^(token_embd|output)\.weight$/.test(name) ? WeightType.Q8_0 : WeightType[format];
}

function convert(file: number, tensor: GgufTensor, to: number): Buffer {
  const count = tensor.dims.reduce((a, b) => a * b, 1);
  if (!readable.includes(tensor.type))
    throw new ModelError(`${tensor.name} is stored as ${typeName(tensor.type)}, which cannot be requantised.`);
  const from = bytesOf(tensor.type);
  if (to === tensor.type) {
    const same = Buffer.alloc((count / BLOCK) * from);
    readSync(file, same, 0, same.length, tensor.offset);
    return same;
  }
  const source = Buffer.alloc((count / BLOCK) * from);
  readSync(file, source, 0, source.length, tensor.offset);
  const out = Buffer.alloc((count / BLOCK) * bytesOf(to));
  const format = weightName(to) as Format;
  const values = new Float32Array(BLOCK);
  for (let b = 0; b < count / BLOCK; b++) {
    dequantise(tensor.type, source, b * from, values);
    quantise(format, values, out, b * bytesOf(to));
  }
  return out;
}

/** Path of a GGUF file's weights in another format; written once, into the user's cache. */
export function requantise(path: string, format: Format, folder = join(cacheFolder(), 'bench')): string {
  const { size, mtimeMs } = statSync(path);
  const mark = createHash('sha256').update(`${path} ${size} ${mtimeMs}`).digest('hex').slice(0, 8);
  const target = join(folder, `${basename(path).replace(/(\.[A-Z0-9_]+)?\.gguf$/, '')}-${mark}.${format}.gguf`);
  if (existsSync(target)) return target;
  mkdirSync(folder, { recursive: true });
  const gguf = readGguf(path);
  if (Number(gguf.metadata.get('split.count') ?? 1) > 1)
    throw new ModelError(`${path}: is one part of several; join them first (llama-gguf-split --merge).`);
  const u64 = (n: number) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(n));
    return bytes;
  };
  const u32 = (n: number) => Buffer.from(Uint32Array.of(n).buffer);
  const input = openSync(path, 'r');
  const draft = `${target}.${process.pid}.tmp`;
  const output = openSync(draft, 'w');
  try {
    const head = Buffer.alloc(Math.min(...gguf.tensors.map(({ offset }) => offset)));
    readSync(input, head, 0, head.length, 0);
    let offset = 0;
    const infos = gguf.tensors.map((tensor) => {
      const type = typeOf(tensor, format);
      const info = [
        u64(Buffer.byteLength(tensor.name)),
        Buffer.from(tensor.name),
        u32(tensor.dims.length),
        ...tensor.dims.map(u64),
        u32(type),
        u64(offset),
      ];
      offset += aligned((tensor.dims.reduce((a, b) => a * b, 1) / BLOCK) * bytesOf(type));
      return Buffer.concat(info);
    });
    const header = Buffer.concat([head.subarray(0, 24), metadataBytes(head, format), ...infos]);
    writeSync(output, header);
    writeSync(output, Buffer.alloc(aligned(header.length) - header.length));
    for (const tensor of gguf.tensors) {
      const bytes = convert(input, tensor, typeOf(tensor, format));
      writeSync(output, bytes);
      writeSync(output, Buffer.alloc(aligned(bytes.length) - bytes.length));
    }
  } finally {
    closeSync(input);
    closeSync(output);
  }
  renameSync(draft, target);
  return target;
}
