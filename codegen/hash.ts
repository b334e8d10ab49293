/** Names a build by everything that can change its bytes. */
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Target } from './plan/types.ts';
import { root } from '../toolchain/folders.mjs';

/** What a build is made with: the compiler's code, the dsl, the templates, and the contract with the engine. */
const madeWith: readonly [folder: string, files: RegExp][] = [
  ['codegen', /\.ts$/],
  ['dsl', /\.ts$/],
  ['templates', /\.(hbs|hpp|cpp|cuh|h|txt)$/],
  ['runtime/contract', /\/(abi|amx\.cpu|layout|records)\.h$/],
];

const targets: readonly Target[] = ['cpu', 'cuda'];

/** A file or folder that bears a target's name is that target's alone. */
const concerns = (target: Target, path: string): boolean =>
  !path.split(/[/.]/).some((part) => part !== target && targets.includes(part as Target));

/** The files whose text names a build for this target, as paths below skv's folder, sorted. */
export function filesOf(target: Target): string[] {
  return madeWith.flatMap(([folder, files]) =>
    (readdirSync(join(root, folder), { recursive: true }) as string[])
      .map((name) => join(folder, name))
      .filter((path) => files.test(path) && concerns(target, path))
      .sort(),
  );
}

const compilerHashes = new Map<Target, string>();

/** The compiler itself, as far as it makes this target's text. Read once a process. */
function compilerHash(target: Target): string {
  const known = compilerHashes.get(target);
  if (known) return known;
  const hash = createHash('sha256');
  for (const path of filesOf(target)) hash.update(readFileSync(join(root, path)));
  const made = hash.digest('hex');
  compilerHashes.set(target, made);
  return made;
}

/** Of the texts of a policy's files (itself and what it imports), target and compiler's fingerprint: 16 hexadecimal digits. */
export function contentHash(texts: Iterable<string>, target: Target, fingerprint: string): string {
  const hash = createHash('sha256').update(compilerHash(target)).update(target).update(fingerprint);
  hash.update(`${process.platform} ${process.arch}`);
  for (const text of texts) hash.update('\0').update(text);
  return hash.digest('hex').slice(0, 16);
}
