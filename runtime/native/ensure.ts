/** Builds the native addon when it is missing or its sources have changed, and says so. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { UserError } from '../../toolchain/errors.ts';
import { compilerVersion, missingTool, namedCompiler } from '../../toolchain/compilers.ts';
import { tryLock } from '../../toolchain/locks.ts';
import { nativeFolder, root } from '../../toolchain/folders.mjs';

/** The addon's own build failed: what is missing, or what the compiler said. */
export class NativeBuildError extends UserError {
  override name = 'NativeBuildError';
}

/** Hash of everything the addon and the CPU backend are built from. Node's version is no part of it: the addon uses Node-API alone. */
function sourceHash(): string {
  const hash = createHash('sha256').update(process.arch);
  const folder = join(root, 'runtime');
  const sources = (readdirSync(folder, { recursive: true }) as string[])
    .filter((name) => /\.(h|cpp)$/.test(name) && !name.startsWith(join('native', 'cuda')))
    .sort();
  for (const file of [join(root, 'CMakeLists.txt'), ...sources.map((name) => join(folder, name))])
    hash.update(readFileSync(file));
  return hash.digest('hex');
}

const sleep = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

/** Runs `work` while this process alone holds the lock file. */
function locked(lock: string, work: () => void): void {
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

/** Fills `folder` by CMake. What an earlier build has left there is used again, if only the sources have changed. */
function compile(folder: string): void {
  const start = Date.now();
  process.stderr.write('skv: building the native addon (once for these sources) …\n');
  rmSync(join(folder, 'CMakeCache.txt'), { force: true }); // names the folder of the sources, which may have moved
  const cmakeJs = createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js');
  const result = spawnSync(process.execPath, [cmakeJs, 'compile', '--directory', root, '--out', folder, '-p', '2'], {
    encoding: 'utf8',
    cwd: root,
    maxBuffer: 1 << 28, // a compiler may warn at length; what overflows would end it
  });
  if (result.status !== 0) {
    const said = `${result.stdout}\n${result.stderr}\n${result.error?.message ?? ''}`.trim().split('\n');
    const errors = said.filter((line) => /\b(error|fatal|FAILED|CMake Error|undefined reference)\b/i.test(line));
    const why = missingTool() ?? (errors.length ? errors.slice(0, 20) : said.slice(-40)).join('\n');
    throw new NativeBuildError(`The native addon could not be built.\n${why}`);
  }
  process.stderr.write(`skv: native addon built in ${((Date.now() - start) / 1000).toFixed(0)} s\n`);
}

let built: string | undefined;

/** Path of skv.node, built if needed. Throws with the fixing command when it cannot be. */
export function ensureNative(): string {
  if (built) return built;
  const hash = sourceHash();
  const folder = nativeFolder(hash);
  const output = join(folder, 'Release', 'skv.node');
  const stamp = join(folder, 'native.hash');
  const isBuilt = () => {
    if (!existsSync(output) || !existsSync(stamp)) return false;
    const [sources, ...compiler] = readFileSync(stamp, 'utf8').split('\n');
    const named = namedCompiler();
    return sources === hash && (!named || named === compiler.join('\n'));
  };
  if (!isBuilt()) {
    mkdirSync(folder, { recursive: true });
    locked(join(folder, 'native.lock'), () => {
      if (isBuilt()) return; // another process built it while this one waited
      compile(folder);
      writeFileSync(stamp, `${hash}\n${compilerVersion()}`);
    });
  }
  return (built = output);
}
