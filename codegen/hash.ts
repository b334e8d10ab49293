/** Names a build by everything that can change its bytes. */
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Target } from './plan-types.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

const sources = (folder: string, pattern: RegExp): string[] =>
  (readdirSync(join(root, folder), { recursive: true }) as string[])
    .filter((name) => pattern.test(name))
    .sort()
    .map((name) => join(root, folder, name));

let ours: string | undefined;

/** The compiler itself: its code, the templates, the dsl and the ABI. */
function compilerHash(): string {
  if (ours) return ours;
  const hash = createHash('sha256');
  for (const file of [
    ...sources('codegen', /\.ts$/),
    ...sources('dsl', /\.ts$/),
    ...sources('templates', /\.(hbs|hpp|cuh|h|txt)$/),
    join(root, 'runtime', 'native', 'abi.h'),
  ])
    hash.update(readFileSync(file));
  ours = hash.digest('hex');
  return ours;
}

/** A file's text as TypeScript reads it. */
export const textOf = (file: string): string => readFileSync(file, 'utf8').replace(/^\uFEFF/, '');

/** Of the texts of a policy's files (itself and what it imports), target and compiler's fingerprint: 16 hexadecimal digits. */
export function contentHash(texts: Iterable<string>, target: Target, fingerprint: string): string {
  const hash = createHash('sha256').update(compilerHash()).update(target).update(fingerprint);
  hash.update(`${process.platform} ${process.arch}`);
  for (const text of texts) hash.update('\0').update(text);
  return hash.digest('hex').slice(0, 16);
}
