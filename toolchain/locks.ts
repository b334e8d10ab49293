/** How processes that share a folder take turns, and leave nothing half done there. */
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Takes the lock file and returns what releases it; undefined while another living process holds it. */
export function tryLock(lock: string): (() => void) | undefined {
  try {
    writeFileSync(lock, String(process.pid), { flag: 'wx' });
    return () => rmSync(lock, { force: true });
  } catch (error) {
    const taken = (error as NodeJS.ErrnoException).code === 'EEXIST';
    if (!taken || isStale(lock)) rmSync(lock, { force: true }); // a full disk leaves a file of nothing
    if (!taken) throw error;
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

/** Runs `work` in a draft, a folder of its own called like `path`; what `work` has not moved elsewhere is gone after it. */
export async function drafted<T>(path: string, work: (draft: string) => Promise<T>): Promise<T> {
  const draft = `${path}.${randomUUID().slice(0, 8)}.tmp`;
  try {
    mkdirSync(draft, { recursive: true });
    return await work(draft);
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}

/** A finished draft takes its final name from what may be there: a folder under such a name is always whole. */
export function renamed(draft: string, folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  renameSync(draft, folder);
}

/** Makes a folder, or makes it anew. */
export const filled = (folder: string, fill: (draft: string) => Promise<void>): Promise<void> =>
  drafted(folder, async (draft) => {
    await fill(draft);
    renamed(draft, folder);
  });

/** Path of a file in a folder that is filled if it is not there. Safe beside other processes that want the same. */
export async function filledOnce(
  folder: string,
  file: string,
  fill: (draft: string) => Promise<void>,
): Promise<string> {
  const path = join(folder, file);
  if (existsSync(path)) return path;
  mkdirSync(dirname(folder), { recursive: true });
  await locked(`${folder}.lock`, async () => {
    if (!existsSync(path)) await filled(folder, fill); // else another process was first
  });
  return path;
}
