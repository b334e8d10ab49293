/** Policies and kernels compiled for machines other than this one. */
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { sources } from '../../codegen/back/cpu/kernels.ts';
import { includes } from '../../codegen/back/shared/includes.ts';
import { compileSource, shipped } from '../../codegen/build.ts';
import type { Plan } from '../../codegen/plan/types.ts';
import { root } from '../../toolchain/folders.mjs';
import { type Machine, compileFor } from './driver.ts';

export interface Built {
  library: string;
  plan: Plan;
  machine?: Machine;
}

/** By another compiler, hardly optimised to save time; kept beside the addon's build under a name that tells its content. */
async function kept(machine: Machine, name: string, make: (args: string[], draft: string) => Promise<void>) {
  const folder = join(root, 'build', 'cross');
  const file = join(folder, `${machine.name}-${name}`);
  if (existsSync(file)) return file;
  mkdirSync(folder, { recursive: true });
  const draft = join(folder, `${process.pid}-${machine.name}-${name}`);
  const include = includes.map((path) => `-I${path}`);
  const flags = ['-O1', '-fPIC', '-fvisibility=hidden', '-ffp-contract=off', '-fno-math-errno'];
  await make([...flags, ...include, '-o', draft], draft);
  renameSync(draft, file);
  return file;
}

const objects = new Map<string, Promise<string[]>>();
/** The kernels' objects, made once a machine. */
function kernels(machine: Machine): Promise<string[]> {
  const made = async () => {
    const { plan } = await compileSource(shipped('none')!, { march: machine.name }); // its hash covers them
    return Promise.all(
      sources.map((source) =>
        kept(machine, `${basename(source)}-${plan.hash}.o`, (args) => compileFor(machine, [...args, '-c', source])),
      ),
    );
  };
  if (!objects.has(machine.name)) objects.set(machine.name, made());
  return objects.get(machine.name)!;
}

/** A policy's file built for another machine. */
export async function crossed(file: string, machine: Machine): Promise<Built> {
  const linked = await kernels(machine);
  const { plan, sources } = await compileSource(file, { march: machine.name });
  const library = await kept(machine, `${basename(file, '.ts')}-${plan.hash}.so`, async (args, draft) => {
    const [passes, probes] = ['passes', 'probes'].map((part) => `${draft}-${part}.cpp`); // as templates/cpu/CMakeLists.txt
    writeFileSync(passes, sources['policy.cpp']);
    writeFileSync(probes, `#define SKV_PROBES\n${sources['policy.cpp']}`);
    await compileFor(machine, [...args, '-shared', passes, probes, ...linked]);
    for (const file of [passes, probes]) rmSync(file);
  });
  return { library, plan, machine };
}
