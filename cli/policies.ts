/** A policy by its shipped name or by its file. */
import { existsSync } from 'node:fs';
import { build, shipped, shippedNames } from '../codegen/build.ts';
import type { BuiltPolicy } from '../codegen/plan/types.ts';
import { checkRatio, valuesOf } from '../runtime/engine/params.ts';
import { parseParams, parseRatio } from './flags.ts';
import { note } from './output.ts';
import { UserError } from '../toolchain/errors.ts';
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

export async function buildPolicy(nameOrFile: string): Promise<BuiltPolicy> {
  const file = policyFile(nameOrFile);
  const start = Date.now();
  const built = await build(file);
  if (Date.now() - start > 1000)
    note(`skv: compiled ${built.plan.name} in ${((Date.now() - start) / 1000).toFixed(1)} s`);
  return built;
}
