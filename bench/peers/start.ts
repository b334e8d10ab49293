/** skv as a child process (skv.ts), for everything that measures it as a system. */
import { join } from 'node:path';
import { root } from '../../toolchain/folders.mjs';
import { Child } from '../child.ts';
import type { SkvReady, SkvSetup } from './skv.ts';

/** Resolves when it has its model. */
export async function startSkv(name: string, setup: SkvSetup): Promise<{ child: Child; ready: SkvReady }> {
  const child = Child.script(name, join(root, 'bench', 'peers', 'skv.ts'), setup);
  return { child, ready: await child.hear<SkvReady>() };
}
