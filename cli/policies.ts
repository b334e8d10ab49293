/** A policy by its shipped name or by its file. */
import { existsSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { type BuildOptions, build, builtBefore, shipped, shippedNames } from '../codegen/build.ts';
import type { BuiltPolicy } from '../codegen/plan/types.ts';
import { checkRatio, valuesOf } from '../runtime/engine/params.ts';
import { parseParams, parseRatio } from './flags.ts';
import { note } from './output.ts';
import { UserError } from '../toolchain/errors.ts';
import { CompileError } from '../toolchain/process.ts';
import { root } from '../toolchain/folders.mjs';
import { nearest } from '../toolchain/words.ts';

/** `auto` is no policy: everything is kept. */
export function policyFile(nameOrFile: string): string {
  const name = nameOrFile === 'auto' ? 'none' : nameOrFile;
  const known = shipped(name);
  if (known) return known;
  if (existsSync(name)) return name;
  const near = nearest(name, shippedNames());
  const hint = near ? ` Did you mean ${near}?` : '';
  throw new UserError(
    `There is no policy ${nameOrFile}: neither a file nor one of ${shippedNames().join(', ')}.${hint}`,
  );
}

/** What --param and --ratio ask of a policy; refused before a model is opened, if it has nothing to do with them. */
export function askedOf({ plan }: BuiltPolicy, flags: { param: string[]; ratio?: string }) {
  const params = parseParams(flags.param);
  const ratio = parseRatio('ratio', flags.ratio);
  valuesOf(plan, params);
  checkRatio(plan, params, ratio);
  return { params, ratio };
}

/** What another process of ours has said of what does not compile. */
class ToldError extends CompileError {
  override get told(): string {
    return this.message;
  }
}

/** Compiles a file in a process that ends: what does it takes some 100 MB, which no server should keep. */
async function compileApart(file: string, options: BuildOptions): Promise<void> {
  const { target, archs, cudaPath, headDims, kvTypes } = options;
  const given = { target, arch: archs, 'cuda-path': cudaPath, 'head-dim': headDims, kv: kvTypes };
  const flags = Object.entries(given).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}`, `${value}`],
  );
  const child = spawn(process.execPath, [join(root, 'cli', 'skv.mjs'), 'build', file, ...flags], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (chunk) => (said += chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code === 1) throw new ToldError(said.trimEnd());
  if (code !== 0) throw new Error(`skv build ${file} ended with ${code}: ${said}`);
}

/** `apart`: whoever asks goes on for long. */
export async function buildPolicy(
  nameOrFile: string,
  { apart = false, ...options }: BuildOptions & { apart?: boolean } = {},
): Promise<BuiltPolicy> {
  const file = policyFile(nameOrFile);
  const start = Date.now();
  let built = builtBefore(file, options);
  if (!built) {
    if (apart) await compileApart(file, options);
    built = await build(file, options);
  }
  if (Date.now() - start > 1000)
    note(`skv: compiled ${built.plan.name} in ${((Date.now() - start) / 1000).toFixed(1)} s`);
  return built;
}
