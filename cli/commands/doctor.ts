import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { INSTALL, devices, findCuda } from '../../toolchain/cuda.ts';
import { buildTools } from '../../toolchain/compilers.ts';
import { installWheels, wheelFolder } from '../../toolchain/wheels.ts';
import { cpuBackend, native } from '../../runtime/native/index.ts';
import { chooseThreads, findProcessors } from '../../runtime/native/processors.ts';
import { DEFAULT_MODEL, resolveModel } from '../../runtime/model/source.ts';
import { json, note, say } from '../output.ts';

interface Finding {
  what: string;
  found: string | null;
  fix?: string;
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
    return {
      what: 'native addon',
      found: `instruction sets ${native().isas(cpuBackend()).join(', ')}`,
    };
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

function gpuFinding(): Finding {
  const name = existsSync('/dev/nvidia0')
    ? firstLine('nvidia-smi', ['--query-gpu=name,driver_version', '--format=csv,noheader'])
    : null;
  const found = name && `${name}, sm_${devices().join(', sm_')}`;
  return { what: 'NVIDIA GPU', found, fix: 'none was found; CUDA kernels can be built here, not run' };
}

async function install(): Promise<void> {
  if (!existsSync(wheelFolder())) note('skv: fetching nvcc from NVIDIA’s PyPI wheels (100 MB, 270 MB unpacked) …');
  note(`skv: nvcc is in ${await installWheels()}`);
}

export async function doctor(options: { json?: boolean; installCuda?: boolean; cudaPath?: string }): Promise<void> {
  if (options.installCuda) await install();
  const model = await resolveModel(DEFAULT_MODEL, { offline: true }).catch(() => null);
  const findings: Finding[] = [
    { what: 'Node', found: process.version },
    {
      what: 'C++ compiler',
      found: firstThere(['c++', 'g++', 'clang++']),
      fix: 'apt-get install g++ make (or: xcode-select --install)',
    },
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
    gpuFinding(),
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
