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

/** Makes a folder, or makes it anew: `fill` works in a draft beside it, so a folder under its final name is always whole. */
export async function filled(folder: string, fill: (draft: string) => Promise<void>): Promise<void> {
  const draft = `${folder}.${randomUUID().slice(0, 8)}.tmp`;
  try {
    mkdirSync(draft, { recursive: true });
    await fill(draft);
    rmSync(folder, { recursive: true, force: true });
    renameSync(draft, folder);
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}

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
