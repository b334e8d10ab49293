/** Builds the native addon when it is missing or its sources have changed, and says so. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { missingTool } from '../../toolchain/compilers.ts';
import { tryLock } from '../../toolchain/locks.ts';
import { root } from '../../toolchain/root.ts';

const output = join(root, 'build', 'Release', 'skv.node');
const stamp = join(root, 'build', 'native.hash');
const lock = join(root, 'build', 'native.lock');

/** The addon's own build failed: what is missing, or what the compiler said. */
export class NativeBuildError extends Error {
  override name = 'NativeBuildError';
}

/** Hash of everything the addon is built from. */
function sourceHash(): string {
  const hash = createHash('sha256').update(process.version).update(process.arch);
  const folder = join(root, 'runtime');
  const sources = (readdirSync(folder, { recursive: true }) as string[])
    .filter((name) => /\.(h|cpp)$/.test(name))
    .sort();
  for (const file of [join(root, 'CMakeLists.txt'), ...sources.map((name) => join(folder, name))])
    hash.update(readFileSync(file));
  return hash.digest('hex');
}

const isBuilt = (hash: string) => existsSync(output) && existsSync(stamp) && readFileSync(stamp, 'utf8') === hash;

const sleep = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

/** Runs `work` while this process alone holds the lock file. */
function locked(work: () => void): void {
  mkdirSync(dirname(lock), { recursive: true });
  let release = tryLock(lock);
  while (!release) {
    sleep(100);
    release = tryLock(lock);
  }
  try {
    work();
  } finally {
    release();
  }
}

let checked = false;

/** Path of skv.node, built if needed. Throws with the fixing command when it cannot be. */
export function ensureNative(): string {
  if (checked) return output;
  const hash = sourceHash();
  if (!isBuilt(hash)) {
    locked(() => {
      if (isBuilt(hash)) return; // another process built it while this one waited
      const start = Date.now();
      process.stderr.write('skv: building the native addon (once; about half a minute) …\n');
      const cmakeJs = createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js');
      const result = spawnSync(
        process.execPath,
        [cmakeJs, 'compile', '--directory', root, '--out', join(root, 'build'), '-p', '2'],
        {
          encoding: 'utf8',
          cwd: root,
        },
      );
      if (result.status !== 0) {
        const why = missingTool() ?? `${result.stdout}\n${result.stderr}`.trim().split('\n').slice(-40).join('\n');
        throw new NativeBuildError(`The native addon could not be built.\n${why}`);
      }
      writeFileSync(stamp, hash);
      process.stderr.write(`skv: native addon built in ${((Date.now() - start) / 1000).toFixed(0)} s\n`);
    });
  }
  checked = true;
  return output;
}
