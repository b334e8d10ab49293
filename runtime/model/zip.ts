/** The directory of a zip file (a wheel), and small members of it. Zip64 sizes are understood. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { inflateRawSync } from 'node:zlib';
import { ModelError } from './types.ts';

export interface ZipEntry {
  /** 0: stored, 8: deflated */
  readonly method: number;
  readonly compressed: number;
  readonly size: number;
  /** where its data starts in the file */
  readonly offset: number;
}

function bytesAt(fd: number, at: number, length: number): Buffer {
  const out = Buffer.alloc(length);
  if (readSync(fd, out, 0, length, at) !== length) throw new ModelError('the zip file is cut short');
  return out;
}

/** Every member by name. Throws ModelError when the file is no zip file. */
export function readZip(file: string): Map<string, ZipEntry> {
  const fd = openSync(file, 'r');
  try {
    const { size } = fstatSync(fd);
    const tail = bytesAt(fd, Math.max(0, size - 65_557), Math.min(size, 65_557));
    const end = tail.lastIndexOf(Buffer.from([0x50, 0x4b, 5, 6]));
    if (end < 0) throw new ModelError(`${file}: is not a zip file`);
    let count = tail.readUInt16LE(end + 10);
    let length = tail.readUInt32LE(end + 12);
    let start = tail.readUInt32LE(end + 16);
    const locator = end - 20;
    if (locator >= 0 && tail.readUInt32LE(locator) === 0x07064b50) {
      const end64 = bytesAt(fd, Number(tail.readBigUInt64LE(locator + 8)), 56);
      count = Number(end64.readBigUInt64LE(32));
      length = Number(end64.readBigUInt64LE(40));
      start = Number(end64.readBigUInt64LE(48));
    }
    if (start + length > size) throw new ModelError(`${file}: the zip file is damaged`);
    const directory = bytesAt(fd, start, length);
    const entries = new Map<string, ZipEntry>();
    for (let at = 0, i = 0; i < count; i++) {
      if (at + 46 > length || directory.readUInt32LE(at) !== 0x02014b50)
        throw new ModelError(`${file}: the zip file is damaged`);
      const [nameLength, extraLength, commentLength] = [28, 30, 32].map((field) => directory.readUInt16LE(at + field));
      const name = directory.toString('utf8', at + 46, at + 46 + nameLength);
      let compressed = directory.readUInt32LE(at + 20);
      let uncompressed = directory.readUInt32LE(at + 24);
      let header = directory.readUInt32LE(at + 42);
      const extra = directory.subarray(at + 46 + nameLength, at + 46 + nameLength + extraLength);
      for (let e = 0; e + 4 <= extra.length; e += 4 + extra.readUInt16LE(e + 2)) {
        if (extra.readUInt16LE(e) !== 1) continue;
        let field = e + 4;
        const wide = () => Number(extra.readBigUInt64LE((field += 8) - 8));
        if (uncompressed === 0xffffffff) uncompressed = wide();
        if (compressed === 0xffffffff) compressed = wide();
        if (header === 0xffffffff) header = wide();
      }
      const local = bytesAt(fd, header, 30);
      const offset = header + 30 + local.readUInt16LE(26) + local.readUInt16LE(28);
      if (offset + compressed > size) throw new ModelError(`${file}: member ${name} reaches past the end`);
      entries.set(name, { method: directory.readUInt16LE(at + 10), compressed, size: uncompressed, offset });
      at += 46 + nameLength + extraLength + commentLength;
    }
    return entries;
  } finally {
    closeSync(fd);
  }
}

/** A small member's bytes. */
export function readEntry(file: string, entry: ZipEntry): Buffer {
  const fd = openSync(file, 'r');
  try {
    const raw = bytesAt(fd, entry.offset, entry.compressed);
    return entry.method === 8 ? inflateRawSync(raw) : raw;
  } finally {
    closeSync(fd);
  }
}
