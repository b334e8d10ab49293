/** Finds nvcc: --cuda-path, CUDA_PATH, the PATH, then NVIDIA's wheels in skv's cache. The first that is named wins. */
import { spawnSync } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';
import { CompileError } from './process.ts';
import { cublasWheels, wheelFolder } from './wheels.ts';

export interface CudaToolchain {
  /** which rule found it */
  from: '--cuda-path' | 'CUDA_PATH' | 'PATH' | 'wheels';
  /** folder with bin, include and a library folder */
  home: string;
  nvcc: string;
  /** folder of libcudart_static.a */
  libraries: string;
  /** such as 13.0.88 */
  version: string;
}

export const INSTALL = 'skv doctor --install-cuda';

/** Oldest nvcc that compiles what skv generates. */
const OLDEST = [12, 8];

/** A CUDA folder lies below what was named in one of these places; the second is a `pip install --target` folder. */
const HOMES = ['.', 'nvidia/cu13', 'nvidia/cu12'];
const LIBRARIES = ['lib64', 'lib', 'targets/x86_64-linux/lib', 'targets/sbsa-linux/lib'];

/** The toolchain to build with. Throws a CompileError that names the command to run when there is none. */
export function findCuda(path?: string): CudaToolchain {
  if (path !== undefined) return named('--cuda-path', path);
  if (process.env.CUDA_PATH) return named('CUDA_PATH', process.env.CUDA_PATH);
  const tooOld: string[] = [];
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const nvcc = join(folder, 'nvcc');
    if (!folder || !existsSync(nvcc)) continue;
    // a link to the file would hide the headers beside it
    const found = at('PATH', dirname(dirname(realpathSync(nvcc))));
    if (typeof found !== 'string') return found;
    tooOld.push(found);
  }
  const wheels = at('wheels', join(wheelFolder(), 'nvidia', 'cu13'));
  if (typeof wheels !== 'string') return wheels;
  throw new CompileError(
    [
      'There is no CUDA compiler (nvcc) here: neither --cuda-path nor CUDA_PATH is given, the PATH has none that serves, and the wheels are not installed.',
      ...tooOld,
      `Install one into skv's cache (100 MB, no root):  ${INSTALL}`,
    ].join('\n'),
  );
}

/** A folder that the user named must serve: falling through to another would hide the mistake. */
function named(from: '--cuda-path' | 'CUDA_PATH', path: string): CudaToolchain {
  const folder = resolve(path);
  const wrong: string[] = [];
  for (const home of HOMES) {
    const found = at(from, join(folder, home));
    if (typeof found !== 'string') return found;
    wrong.push(found);
  }
  throw new CompileError(
    `${from} ${path} is no CUDA toolkit:\n${wrong.map((line) => `  ${line}`).join('\n')}\nName the folder that holds bin/nvcc, or leave it out and run: ${INSTALL}`,
  );
}

/** The toolkit in a folder, or what is wrong with it. */
function at(from: CudaToolchain['from'], home: string): CudaToolchain | string {
  const nvcc = join(home, 'bin', 'nvcc');
  if (!existsSync(nvcc)) return `${nvcc} does not exist`;
  const { stdout, status } = spawnSync(nvcc, ['--version'], { encoding: 'utf8' });
  const version = stdout?.match(/\bV(\d+\.\d+\.\d+)/)?.[1];
  if (status !== 0 || !version) return `${nvcc} does not run`;
  const [major, minor] = version.split('.').map(Number);
  if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]))
    return `${nvcc} is ${version}, ${OLDEST.join('.')} or newer is needed`;
  const libraries = LIBRARIES.map((name) => join(home, name)).find((folder) =>
    existsSync(join(folder, 'libcudart_static.a')),
  );
  if (!libraries) return `${home} has no libcudart_static.a (looked in ${LIBRARIES.join(', ')})`;
  return { from, home, nvcc, libraries, version };
}

const CUBLASLT = ['libcublasLt.so.13', 'libcublasLt.so.12'];

/** What to open for cuBLASLt, in order: SKV_CUBLASLT alone where it is set, the toolkit's, the wheel's, the loader's. */
export function cublasLtCandidates(toolchain: CudaToolchain): string[] {
  if (process.env.SKV_CUBLASLT) return [process.env.SKV_CUBLASLT];
  const folders = [toolchain.libraries, join(wheelFolder(cublasWheels), 'nvidia', 'cu13', 'lib')];
  const files = folders.flatMap((folder) => CUBLASLT.map((name) => join(folder, name)));
  return [...files.filter(existsSync), ...CUBLASLT];
}

/** Compute capabilities of the devices here, such as [90]; empty without a driver. */
export function devices(): number[] {
  const { status, stdout } = spawnSync('nvidia-smi', ['--query-gpu=compute_cap', '--format=csv,noheader'], {
    encoding: 'utf8',
  });
  if (status !== 0) return [];
  const found = [...stdout.matchAll(/^\s*(\d+)\.(\d)\s*$/gm)].map(
    ([, major, minor]) => Number(major) * 10 + Number(minor),
  );
  return [...new Set(found)].sort((a, b) => a - b);
}

/** -fmad=false: expressions keep the written order; kernels fuse where they say so. A spill is an error. */
export const compileFlags = [
  ...['-std=c++17', '-O3', '-fmad=false', '-Xcompiler', '-fPIC,-fvisibility=hidden'],
  ...['-Xptxas', '-v,-warn-spills,-Werror'],
];

export const linkFlags = ['-shared', '-cudart', 'static', '-Xlinker', '--exclude-libs,ALL,--strip-all'];

/** Machine code for each architecture; PTX for newer ones only where nobody said which device it is for. */
export function gencode(archs: readonly number[] | undefined): string[] {
  const here = archs ?? devices();
  const known = here.length ? here : [80, 90];
  const ptx = here.length ? [] : [`arch=compute_90,code=compute_90`];
  return [...known.map((arch) => `arch=compute_${arch},code=sm_${arch}`), ...ptx].flatMap((each) => ['-gencode', each]);
}
