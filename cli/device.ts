/** --device: where a model runs, decided once; auto is a CUDA device where one can serve, else the CPU. */
import { existsSync, readFileSync } from 'node:fs';
import type { BuildOptions } from '../codegen/build.ts';
import { headDims } from '../codegen/plan/cuda.ts';
import type { BuiltPolicy } from '../codegen/plan/types.ts';
import type { Engine } from '../runtime/engine/engine.ts';
import { agreedPlace, storedAs } from '../runtime/engine/setup.ts';
import { DeviceError, type EngineOptions } from '../runtime/engine/types.ts';
import type { LoadedModel } from '../runtime/model/types.ts';
import { buildCudaBackend } from '../runtime/native/cuda.ts';
import { type CudaDevice, NoDeviceError, checkDriver, findDevice } from '../runtime/native/driver.ts';
import { cublasLtCandidates, findCuda } from '../toolchain/cuda.ts';
import { UserError } from '../toolchain/errors.ts';
import { CompileError } from '../toolchain/process.ts';
import { positive } from './flags.ts';
import { type EngineFlags, kvTypeOf, openEngine } from './model.ts';
import { bytes, note } from './output.ts';

export interface DeviceFlags {
  device: string;
  gpuMemoryUtilization?: string;
  cudaPath?: string;
  kvCacheMemory?: string;
  place?: string;
}

/** Where a model runs. */
export type Place = { readonly target: 'cpu' } | { readonly target: 'cuda'; readonly device: CudaDevice };

/** Flags that do nothing on the CPU. `why`: it was chosen, where auto did. */
function onCpu(flags: DeviceFlags, why: string): Place {
  const given = {
    'gpu-memory-utilization': flags.gpuMemoryUtilization,
    'cuda-path': flags.cudaPath,
    place: flags.place,
  };
  for (const [flag, value] of Object.entries(given))
    if (value !== undefined) throw new UserError(`--${flag} ${value} does nothing on the CPU${why && `: ${why}`}.`);
  if (why) note(`skv: on the CPU: ${why}`);
  return { target: 'cpu' };
}

/** A CUDA device, its driver and a compiler for it. Throws a UserError that says what is missing. */
function onCuda({ cudaPath }: DeviceFlags): Place {
  const device = findDevice();
  checkDriver(device, findCuda(cudaPath).version);
  return { target: 'cuda', device };
}

/** --place: whose memory pages lie in; undefined: the policies say. */
function pageMemory({ place, gpuMemoryUtilization }: DeviceFlags): EngineOptions['place'] {
  if (place !== undefined && place !== 'device' && place !== 'host')
    throw new UserError(`--place ${place}: device and host are possible.`);
  if (place === 'host' && gpuMemoryUtilization !== undefined)
    throw new UserError(
      `--gpu-memory-utilization ${gpuMemoryUtilization} does nothing with --place host: the pool lies in this machine's memory, --kv-cache-memory is its size.`,
    );
  return place;
}

/** The policies that are asked for. */
export interface PolicyFiles {
  files: readonly string[];
  compile(options: BuildOptions): Promise<BuiltPolicy[]>;
}

/**
 * Whether the CPU is to compile them first, to tell: nvcc takes minutes for what the host's memory does not need. Their
 * texts are looked at; one that imports the word is compiled twice.
 */
const mayWantHost = ({ files }: PolicyFiles): boolean =>
  files.some((file) => /\bplace\b.*\bhost\b/.test(readFileSync(file, 'utf8')));

/** Looks for a device; a line says what was chosen and why. */
export function choosePlace(flags: DeviceFlags): Place {
  const { device, gpuMemoryUtilization, kvCacheMemory } = flags;
  if (gpuMemoryUtilization !== undefined) positive('gpu-memory-utilization', gpuMemoryUtilization, 1);
  pageMemory(flags);
  if (device !== 'auto' && device !== 'cpu' && device !== 'cuda')
    throw new UserError(`--device ${device}: auto, cpu and cuda are possible.`);
  if (device === 'cpu') return onCpu(flags, '');
  try {
    const place = onCuda(flags);
    if (gpuMemoryUtilization !== undefined && kvCacheMemory !== undefined)
      note(`skv: --kv-cache-memory ${kvCacheMemory} is the pool's size; --gpu-memory-utilization changes nothing`);
    return place;
  } catch (error) {
    return instead(flags, error);
  }
}

/** The CPU instead of a device that cannot serve, where the user left it open. */
function instead(flags: DeviceFlags, error: unknown): Place {
  if (!(error instanceof NoDeviceError || error instanceof DeviceError || error instanceof CompileError)) throw error;
  if (flags.device === 'cuda')
    throw new UserError(`--device cuda: ${error.message.replace(/\.$/, '')}; or serve with --device cpu.`);
  return onCpu(flags, error.message);
}

/** Bytes that a model's weights take on a device at least. */
const weightBytes = ({ spec }: LoadedModel): number =>
  spec.tensors.reduce((sum, { bytes, rows, cols }) => sum + Math.min(bytes, 2 * rows * cols), 0);

/** Policies for this device's architecture, the model's heads and the type of its pages. */
async function compileForCuda(
  device: CudaDevice,
  model: LoadedModel,
  { compile }: PolicyFiles,
  flags: DeviceFlags & EngineFlags,
): Promise<BuiltPolicy[]> {
  const { headDim } = model.spec;
  if (!headDims.includes(headDim))
    throw new NoDeviceError(
      `${model.name} has heads of ${headDim} numbers; CUDA kernels are for ${headDims.join(', ')}; with --place host the CPU's attend`,
    );
  const options = { target: 'cuda', cudaPath: flags.cudaPath, archs: [device.arch], headDims: [headDim] } as const;
  const asked = kvTypeOf(flags);
  const kvType = asked ?? 'bf16';
  const policies = await compile({ ...options, kvTypes: [kvType] });
  const stored = storedAs(policies, asked);
  return stored === kvType ? policies : compile({ ...options, kvTypes: [stored] });
}

/** The policies for what attends to their pages, the host's CPU or the device, and which it is. */
async function placed(
  device: CudaDevice,
  model: LoadedModel,
  asked: PolicyFiles,
  flags: DeviceFlags & EngineFlags,
): Promise<{ policies: BuiltPolicy[]; place: ReturnType<typeof agreedPlace> }> {
  const memory = pageMemory(flags);
  if (memory === 'host' || mayWantHost(asked)) {
    const policies = await asked.compile({});
    const place = agreedPlace(policies, memory);
    if (place === 'host') return { policies, place };
  }
  const policies = await compileForCuda(device, model, asked, flags);
  const place = agreedPlace(policies, memory);
  return { policies: place === 'host' ? await asked.compile({}) : policies, place };
}

/** The backend and the policies that it runs. */
async function openOnCuda(
  device: CudaDevice,
  model: LoadedModel,
  asked: PolicyFiles,
  flags: DeviceFlags & EngineFlags,
): Promise<Engine> {
  const needed = weightBytes(model);
  if (needed > device.free)
    throw new NoDeviceError(
      `${model.name} has ${bytes(needed)} of weights, ${device.name} ${bytes(device.free)} free of ${bytes(device.total)}: end what else runs there (nvidia-smi names it), or take a smaller model`,
    );
  const { policies, place } = await placed(device, model, asked, flags);
  pageMemory({ ...flags, place });
  const cublasLt = cublasLtCandidates(findCuda(flags.cudaPath)).find(existsSync);
  if (cublasLt) process.env.SKV_CUBLASLT = cublasLt; // what the backend opens; else the loader's
  const { library } = await buildCudaBackend({ cudaPath: flags.cudaPath, archs: [device.arch] });
  const { gpuMemoryUtilization: fraction } = flags;
  const poolFraction = fraction === undefined ? undefined : Number(fraction);
  const engine = await openEngine(model, policies, flags, { backend: library, poolFraction, place });
  note(
    `skv: on the GPU: ${device.name}, sm_${device.arch}${place === 'host' ? '; the CPU attends to pages in its own memory' : ''}`,
  );
  return engine;
}

/** An engine where it was decided; with auto on the CPU where the device turns out not to serve. */
export async function openOn(
  place: Place,
  model: LoadedModel,
  asked: PolicyFiles,
  flags: DeviceFlags & EngineFlags,
): Promise<Engine> {
  if (place.target === 'cuda')
    try {
      return await openOnCuda(place.device, model, asked, flags);
    } catch (error) {
      // a mistake of the policy's own is told as one; what the CPU's compiler takes is the device's to refuse
      if (error instanceof CompileError) await asked.compile({});
      instead(flags, error);
    }
  return openEngine(model, await asked.compile({}), flags);
}
