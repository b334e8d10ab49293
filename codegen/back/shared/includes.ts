/** Where a generated source finds what it includes. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { root } from '../../../toolchain/folders.mjs';

export const templates = join(root, 'templates');

/** Folders for the compiler's -I: the templates, and the contract with the engine. */
export const includes: readonly string[] = [templates, join(root, 'runtime', 'contract')];

/** The files and what they include of skv's own, directly or not. */
export function textsOf(files: readonly string[]): ReadonlySet<string> {
  const found = new Set<string>();
  const visit = (file: string) => {
    if (found.has(file)) return;
    found.add(file);
    for (const [, name] of readFileSync(file, 'utf8').matchAll(/^#include "(.+)"/gm)) {
      const at = [dirname(file), ...includes].map((folder) => join(folder, name)).find(existsSync);
      if (at) visit(at);
    }
  };
  files.forEach(visit);
  return found;
}
