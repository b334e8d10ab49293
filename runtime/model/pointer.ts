/** Git's stand-in for a large file: what a clone without Git LFS has in its place. */
import { closeSync, openSync, readSync } from 'node:fs';

export const POINTER =
  'is a pointer of Git LFS, not the file itself. Fetch the files with `git lfs pull`, or with `skv pull hf:owner/repo`';

/** Whether a file that could not be understood is such a pointer. */
export function isPointer(file: string): boolean {
  const start = Buffer.alloc(42);
  try {
    const fd = openSync(file, 'r');
    readSync(fd, start, 0, start.length, 0);
    closeSync(fd);
  } catch {
    return false;
  }
  return start.toString('latin1').startsWith('version https://git-lfs.github.com/spec/');
}
