/** The targets that kernel tests run on: how each builds a policy, and in which order its threads run. */
import { build, shipped } from '../../codegen/build.ts';
import { emulate } from '../emulation/emulate.ts';
import { crossed } from './crossed.ts';
import type { Machine } from './driver.ts';
import { amx } from './machines.ts';
import type { CudaOptions, Plan } from '../../codegen/plan/types.ts';

export interface Runner {
  readonly name: string;
  /** of the emulation's threads and blocks */
  readonly order?: string;
  /** where its libraries run; default: here */
  readonly machine?: Machine;
  policy(name: string): Promise<{ library: string; plan: Plan }>;
  file(path: string): Promise<{ library: string; plan: Plan }>;
}

export const cpu: Runner = {
  name: 'cpu',
  policy: (name) => build(shipped(name)!),
  file: (path) => build(path),
};

/** AMX's tiles, emulated where there are none. */
export const cpuWithAmx: Runner = {
  name: 'cpu, AMX',
  machine: amx,
  policy: (name) => crossed(shipped(name)!, amx),
  file: (path) => crossed(path, amx),
};

/** CUDA's text on this CPU; `options` says which kernels the library holds. */
export const emulated = (order: string, options: CudaOptions): Runner => ({
  name: `cuda, ${order}`,
  order,
  policy: (name) => emulate(shipped(name)!, options),
  file: (path) => emulate(path, options),
});
