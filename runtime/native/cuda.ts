/** The CUDA backend: its sources, and its build by nvcc, once for these sources, compiler and devices. */
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compileFlags, findCuda, gencode, linkFlags } from '../../toolchain/cuda.ts';
import { policyFolder, root } from '../../toolchain/folders.mjs';
import { filledOnce } from '../../toolchain/locks.ts';
import { CompileError, DiskFullError, isFull, run } from '../../toolchain/process.ts';

const native = join(root, 'runtime', 'native');
const sourcesIn = (folder: string) =>
  readdirSync(join(native, folder))
    .filter((name) => /\.(cpp|cu)$/.test(name))
    .map((name) => join(native, folder, name));

/** What it shares with the CPU's: files and types of weights, threads that read them, attention to pages in host memory. */
const shared = ['arena', 'attention', 'kv_cache', 'packed', 'tensors', 'threads', 'weight_types'];

/** What touches the CUDA runtime and cuBLASLt: the device's body, which the emulation has its own of. */
const device = ['cublaslt.cpp', 'device_cuda.cpp'].map((name) => join(native, 'cuda', name));

/** All but the device's body. */
export const backendSources: readonly string[] = [
  ...sourcesIn('cuda').filter((file) => !device.includes(file)),
  ...sourcesIn('step'),
  ...sourcesIn('loader'),
  ...shared.map((name) => join(native, 'cpu', `${name}.cpp`)),
];

/** Folders for the compiler's -I. */
export const backendIncludes: readonly string[] = [
  ...['cuda', 'cpu', 'step', 'loader'].map((folder) => join(native, folder)),
  join(root, 'runtime', 'contract'),
  join(root, 'templates'),
];

/** Texts that a build depends on: sources, and whatever headers they can reach. */
function textsOf(): string[] {
  const headers = [...backendIncludes, join(root, 'templates', 'cuda'), join(root, 'templates', 'shared')].flatMap(
    (folder) =>
      readdirSync(folder)
        .filter((name) => /\.(h|hpp|cuh)$/.test(name))
        .map((name) => join(folder, name)),
  );
  return [...backendSources, ...device, ...headers].sort().map((file) => readFileSync(file, 'utf8'));
}

/** What ptxas said, beside the library. */
const PTXAS = 'ptxas.txt';

/** A built backend, and what ptxas said of its kernels. */
export interface BuiltBackend {
  readonly library: string;
  readonly ptxas: string;
}

/** Builds skv_cuda.so, or returns the build that is there. Throws a CompileError that names the command to run. */
export async function buildCudaBackend(options: {
  cudaPath?: string;
  archs?: readonly number[];
}): Promise<BuiltBackend> {
  const toolchain = findCuda(options.cudaPath);
  const flags = [...compileFlags, ...linkFlags, ...gencode(options.archs)];
  const hash = createHash('sha256').update([toolchain.version, ...flags].join(' '));
  for (const text of textsOf()) hash.update('\0').update(text);
  const directory = policyFolder();
  const folder = join(directory, `backend-cuda-${hash.digest('hex').slice(0, 16)}`);
  const library = await filledOnce(folder, 'skv_cuda.so', async (draft) => {
    const includes = backendIncludes.map((path) => `-I${path}`);
    const files = [...backendSources, ...device];
    const args = [...flags, ...includes, `-L${toolchain.libraries}`, '-o', 'skv_cuda.so', ...files];
    const { code, output } = await run(toolchain.nvcc, args, { cwd: draft, env: { TMPDIR: draft } });
    if (code !== 0 && isFull(output, draft)) throw new DiskFullError(directory);
    if (code !== 0) throw new CompileError(`The CUDA backend does not compile.\n${output.trim()}`);
    writeFileSync(join(draft, PTXAS), output);
  });
  return { library, ptxas: readFileSync(join(folder, PTXAS), 'utf8') };
}
