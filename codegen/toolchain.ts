/** The compilers of this machine: which are missing, and how processes that share a build folder take turns. */
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';

/** What to install when a build fails for want of a tool; undefined when nothing is missing. */
export function missingTool(): string | undefined {
  const runs = (command: string) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
  if (!runs('cmake'))
    return 'CMake is missing. Install it (Debian, Ubuntu: apt-get install cmake; macOS: brew install cmake), then build again.';
  if (![process.env.CXX ?? 'c++', 'g++', 'clang++'].some(runs))
    return 'A C++ compiler is missing. Install one (Debian, Ubuntu: apt-get install g++ make; macOS: xcode-select --install), then build again.';
  return undefined;
}

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
