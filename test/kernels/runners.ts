/** The targets that kernel tests run on: how each builds a policy, and in which order its threads run. */
import { build, shipped } from '../../codegen/build.ts';
import type { Plan } from '../../codegen/plan/types.ts';
import { emulate } from '../emulation/emulate.ts';
import { crossed } from './crossed.ts';
import type { Machine, Shape } from './driver.ts';
import { amx } from './machines.ts';

interface Built {
  library: string;
  plan: Plan;
}

/** What a library is to run: one for CUDA holds the kernels of one head size and type, which many tests share. */
export type Runs = Pick<Shape, 'headDim' | 'kvType'>;

export interface Runner {
  readonly name: string;
  /** of the emulation's threads and blocks */
  readonly order?: string;
  /** where its libraries run; default: here */
  readonly machine?: Machine;
  policy(name: string, runs: Runs): Promise<Built>;
  file(path: string, runs: Runs): Promise<Built>;
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

/** CUDA's text on this CPU. */
export const emulated = (order: string): Runner => {
  const file = (path: string, { headDim, kvType }: Runs) => emulate(path, { headDims: [headDim], kvTypes: [kvType] });
  return { name: `cuda, ${order}`, order, policy: (name, runs) => file(shipped(name)!, runs), file };
};
