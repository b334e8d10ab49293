import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { INSTALL, cublasLtCandidates, findCuda } from '../../toolchain/cuda.ts';
import { buildTools, compilerVersion } from '../../toolchain/compilers.ts';
import { cublasWheels, installWheels, wheelFolder } from '../../toolchain/wheels.ts';
import { type CudaDevice, NoDeviceError, checkDriver, cudaVersion, findDevice } from '../../runtime/native/driver.ts';
import { type DriverAnswer, cpuBackend, native, withoutAmx } from '../../runtime/native/index.ts';
import { chooseThreads, findProcessors } from '../../runtime/native/processors.ts';
import { DEFAULT_MODEL, resolveModel } from '../../runtime/model/source.ts';
import { bytes, json, note, say } from '../output.ts';

interface Finding {
  what: string;
  found: string | null;
  fix?: string;
}

/** What every build uses. */
function compilerFinding(): Finding {
  const found = compilerVersion().split('\n')[0] || null;
  const { CXX } = process.env;
  const fix = CXX
    ? `CXX names ${CXX}, which does not run`
    : 'apt-get install g++ make (or: xcode-select --install); CXX names another';
  return { what: 'C++ compiler', found: found && CXX ? `${found} (CXX)` : found, fix };
}

const firstLine = (command: string, args: string[]): string | null => {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  return status === 0 ? (stdout || stderr).trim().split('\n')[0] : null;
};

/** What the first of these programs that runs says of its version. */
const firstThere = (names: readonly string[]): string | null =>
  names.map((name) => firstLine(name, ['--version'])).find((line) => line !== null) ?? null;

function processorFinding(): Finding {
  const { physical, all, quota } = findProcessors();
  const { threads } = chooseThreads({ physical, all, quota });
  const parts = [
    `${physical.length} physical core${physical.length === 1 ? '' : 's'} of ${all.length} processor${all.length === 1 ? '' : 's'}`,
    ...(quota === undefined ? [] : [`the control group allows ${quota}`]),
    `${threads} thread${threads === 1 ? '' : 's'} by default`,
  ];
  return { what: 'processors', found: parts.join('; ') };
}

function nativeFinding(): Finding {
  try {
    return { what: 'native addon', found: `instruction sets ${native().isas(cpuBackend()).join(', ')}${withoutAmx()}` };
  } catch (error) {
    return { what: 'native addon', found: null, fix: (error as Error).message };
  }
}

function cudaFinding(path?: string): Finding {
  try {
    const { version, home, from } = findCuda(path);
    return { what: 'CUDA compiler', found: `nvcc ${version} in ${home} (${from})` };
  } catch (error) {
    // without a wish for a place, one line is enough: this part is optional
    const wished = path !== undefined || process.env.CUDA_PATH;
    const fix = wished ? (error as Error).message : `none; only --target cuda needs it: ${INSTALL}`;
    return { what: 'CUDA compiler', found: null, fix };
  }
}

/** Driver, device and its memory: what is there, up to what is missing. */
function gpuFindings(path?: string): Finding[] {
  const [driver, gpu] = ['NVIDIA driver', 'NVIDIA GPU'];
  let answer: DriverAnswer;
  try {
    answer = native().driver();
  } catch {
    return [{ what: driver, found: null, fix: 'the native addon asks it, and is not there' }];
  }
  const found = answer.version === undefined ? null : `for CUDA ${cudaVersion(answer.version)}`;
  try {
    const device = findDevice(answer);
    const free = `${bytes(device.free)} free of ${bytes(device.total)}`;
    const here = { what: gpu, found: `${device.name}, sm_${device.arch}, ${free}` };
    return [{ what: driver, found, ...tooOld(device, path) }, here];
  } catch (error) {
    const fix = (error as Error).message;
    const none = { what: gpu, found: null, fix: found === null ? 'the driver tells; --device cuda needs both' : fix };
    return [{ what: driver, found, fix }, none];
  }
}

/** A driver that does not run what the compiler here builds. */
function tooOld(device: CudaDevice, path?: string): Partial<Finding> {
  try {
    checkDriver(device, findCuda(path).version);
  } catch (error) {
    if (error instanceof NoDeviceError) return { found: null, fix: error.message };
  }
  return {};
}

function cublasFinding(path?: string): Finding {
  const what = 'cuBLASLt';
  try {
    const candidates = cublasLtCandidates(findCuda(path));
    const library = candidates.find((each) => native().libraryError(each) === undefined);
    const fix = `none of ${candidates.join(', ')} opens; only --device cuda needs it: ${cublasWheels.command} (420 MB)`;
    return { what, found: library ?? null, fix };
  } catch {
    return { what, found: null, fix: `only --device cuda needs it, after a CUDA compiler` };
  }
}

async function install(): Promise<void> {
  if (!existsSync(wheelFolder())) note('skv: fetching nvcc from NVIDIA’s PyPI wheels (100 MB, 270 MB unpacked) …');
  note(`skv: nvcc is in ${await installWheels()}`);
}

async function installCublas(): Promise<void> {
  if (!existsSync(wheelFolder(cublasWheels))) note('skv: fetching cuBLASLt from NVIDIA’s PyPI wheel (420 MB) …');
  note(`skv: cuBLASLt is in ${await installWheels(cublasWheels)}`);
}

interface DoctorFlags {
  json?: boolean;
  installCuda?: boolean;
  installCublas?: boolean;
  cudaPath?: string;
}

export async function doctor(options: DoctorFlags): Promise<void> {
  if (options.installCuda) await install();
  if (options.installCublas) await installCublas();
  const model = await resolveModel(DEFAULT_MODEL, { offline: true }).catch(() => null);
  const findings: Finding[] = [
    { what: 'Node', found: process.version },
    compilerFinding(),
    { what: 'CMake', found: firstLine('cmake', ['--version']), fix: 'apt-get install cmake (or: brew install cmake)' },
    {
      what: 'make or ninja',
      found: firstThere(buildTools),
      fix: 'apt-get install make (or: xcode-select --install)',
    },
    {
      what: 'Python with pip',
      found: firstLine(process.env.PYTHON ?? 'python3', ['-m', 'pip', '--version']),
      fix: 'apt-get install python3-pip; only packaged models need it',
    },
    processorFinding(),
    nativeFinding(),
    cudaFinding(options.cudaPath),
    ...gpuFindings(options.cudaPath),
    cublasFinding(options.cudaPath),
    { what: `model ${DEFAULT_MODEL}`, found: model, fix: `skv pull ${DEFAULT_MODEL}` },
  ];
  if (options.json)
    return json(
      Object.fromEntries(
        findings.map(({ what, found, fix }) => [what, { found, fix: found === null ? fix : undefined }]),
      ),
    );
  for (const { what, found, fix } of findings) say(`${found === null ? '✘' : '✔'} ${what.padEnd(20)} ${found ?? fix}`);
}
