/** The first CUDA device of this machine, by NVIDIA's driver alone; or why there is none, and the way out. */
import { UserError } from '../../toolchain/errors.ts';
import { type DriverAnswer, native } from './index.ts';

export interface CudaDevice {
  name: string;
  /** compute capability, such as 90 */
  arch: number;
  /** of CUDA that the driver runs, such as 13000 */
  driver: number;
  /** bytes of its memory */
  free: number;
  total: number;
}

/** There is no device that can run the kernels. */
export class NoDeviceError extends UserError {
  override name = 'NoDeviceError';
}

/** Oldest device that the kernels are written for: cp.async and bf16 products. */
const OLDEST = 80;

/** 13000 → 13.0 */
export const cudaVersion = (number: number): string =>
  `${Math.floor(number / 1000)}.${Math.floor((number % 1000) / 10)}`;
const capability = (arch: number): string => `${Math.floor(arch / 10)}.${arch % 10}`;

/** What a failed call means, and what to do; the first row that fits. */
const failures: readonly { call?: string; code?: number; means: (text: string) => string }[] = [
  {
    call: 'dlopen',
    means: (text) => `there is no NVIDIA driver here (${text}): install one for CUDA 13, 580 or newer`,
  },
  { code: 100, means: () => noDevice() },
  {
    code: 803,
    means: () => 'the NVIDIA driver and its kernel module are of two versions: restart the machine',
  },
  {
    code: 2,
    means: () => 'the device has no memory left for a program: end what else runs there (nvidia-smi names it)',
  },
];

function noDevice(): string {
  const hidden = process.env.CUDA_VISIBLE_DEVICES;
  const why = hidden === undefined ? '' : ` (CUDA_VISIBLE_DEVICES is "${hidden}")`;
  return `the NVIDIA driver finds no device${why}: nvidia-smi lists what is there, and a container needs --gpus all`;
}

/** Throws a NoDeviceError: one sentence that says what is missing and what to do. */
export function findDevice(answer: DriverAnswer = native().driver()): CudaDevice {
  const { call, code, text = '', version = 0, devices, name = 'a device', capability: arch = 0 } = answer;
  if (call !== undefined) {
    const row = failures.find((each) => (each.call ?? call) === call && (each.code ?? code) === code);
    throw new NoDeviceError(
      row?.means(text) ?? `the NVIDIA driver fails (${call}: ${text}): nvidia-smi may say more, or restart the machine`,
    );
  }
  if (devices === 0) throw new NoDeviceError(noDevice());
  if (arch < OLDEST)
    throw new NoDeviceError(
      `${name} has compute capability ${capability(arch)}, ${capability(OLDEST)} or newer is needed: take a GPU of the Ampere generation or later`,
    );
  return { name, arch, driver: version, free: answer.free ?? 0, total: answer.total ?? 0 };
}

/** Throws a NoDeviceError where the driver is older than what a compiler of this version makes. */
export function checkDriver({ driver }: CudaDevice, compiler: string): void {
  const made = Number(compiler.split('.')[0]);
  if (Math.floor(driver / 1000) >= made) return;
  throw new NoDeviceError(
    `the NVIDIA driver is for CUDA ${cudaVersion(driver)} and nvcc ${compiler} builds for ${made}: install a newer driver (580 for CUDA 13), or name a toolkit 12.8 in CUDA_PATH`,
  );
}
