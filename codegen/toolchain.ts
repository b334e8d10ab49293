/** The compilers of this machine: which are missing, and how processes that share a build folder take turns. */
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Folder for what is fetched once and kept: models that do not come from the hub, the CUDA toolchain. */
export const cacheFolder = (): string =>
  process.env.SKV_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'skv');

/** What to install when a build fails for want of a tool; undefined when nothing is missing. */
export function missingTool(needs: 'cmake and c++' | 'c++' = 'cmake and c++'): string | undefined {
  const runs = (command: string) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
  if (needs !== 'c++' && !runs('cmake'))
    return 'CMake is missing. Install it (Debian, Ubuntu: apt-get install cmake; macOS: brew install cmake), then build again.';
  const { CXX } = process.env;
  if (CXX && !runs(CXX.split(' ')[0]))
    return `CXX names ${CXX}, which does not run. Set it to a C++ compiler, or unset it.`;
  if (!['c++', 'g++', 'clang++'].some(runs))
    return 'A C++ compiler is missing. Install one (Debian, Ubuntu: apt-get install g++ make; macOS: xcode-select --install), then build again.';
  if (needs !== 'c++' && !buildTools.some(runs))
    return 'CMake has nothing to build with: neither ninja nor make. Install one (Debian, Ubuntu: apt-get install make; macOS: xcode-select --install), then build again.';
  return undefined;
}

/** What CMake hands its work to: one of them. */
export const buildTools = ['ninja', 'make'];

/** Takes the lock file and returns what releases it; undefined while another living process holds it. */
export function tryLock(lock: string): (() => void) | undefined {
  try {
    writeFileSync(lock, String(process.pid), { flag: 'wx' });
    return () => rmSync(lock, { force: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    if (isStale(lock)) rmSync(lock, { force: true });
    return undefined;
  }
}

/** Left by a dead process, or older than any build takes. */
function isStale(lock: string): boolean {
  try {
    const pid = Number(readFileSync(lock, 'utf8'));
    if (Date.now() - statSync(lock).mtimeMs > 600_000) return true;
    if (!pid) return false; // just being written
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

/** Runs `work` while this process alone holds the lock. */
export async function locked<T>(lock: string, work: () => Promise<T>): Promise<T> {
  let release = tryLock(lock);
  while (!release) {
    await new Promise((done) => setTimeout(done, 100));
    release = tryLock(lock);
  }
  try {
    return await work();
  } finally {
    release();
  }
}
