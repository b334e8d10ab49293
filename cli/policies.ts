/** A policy by its shipped name or by its file. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { build, shipped } from '../codegen/build.ts';
import type { BuiltPolicy } from '../codegen/plan/types.ts';
import { note } from './output.ts';
import { UserError } from '../toolchain/errors.ts';
import { root } from '../toolchain/folders.mjs';

export const shippedNames = (): string[] =>
  readdirSync(join(root, 'policies'))
    .filter((name) => name.endsWith('.ts'))
    .map((name) => name.slice(0, -3))
    .sort();

/** Edits between two words, to suggest what was meant. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length];
}

/** `auto` is no policy: everything is kept. */
export function policyFile(nameOrFile: string): string {
  const name = nameOrFile === 'auto' ? 'none' : nameOrFile;
  const known = shipped(name);
  if (known) return known;
  if (existsSync(name)) return name;
  const near = shippedNames()
    .map((each) => ({ each, far: distance(name, each) }))
    .sort((a, b) => a.far - b.far)[0];
  const hint = near.far <= 3 ? ` Did you mean ${near.each}?` : '';
  throw new UserError(
    `There is no policy ${nameOrFile}: neither a file nor one of ${shippedNames().join(', ')}.${hint}`,
  );
}

export async function buildPolicy(nameOrFile: string): Promise<BuiltPolicy> {
  const file = policyFile(nameOrFile);
  const start = Date.now();
  const built = await build(file);
  if (Date.now() - start > 1000)
    note(`skv: compiled ${built.plan.name} in ${((Date.now() - start) / 1000).toFixed(1)} s`);
  return built;
}
