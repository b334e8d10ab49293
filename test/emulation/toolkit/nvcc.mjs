/**
 * nvcc of the emulation: takes what the builds here ask nvcc for and compiles it as C++ for this CPU. With the backend's
 * device goes CUDA's runtime on this CPU.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const folders = [here, join(here, 'include'), dirname(here)];

/** Builds are kept by nvcc's version: this one's is another as soon as a text of the emulation is. */
function version() {
  const hash = createHash('sha256');
  for (const folder of folders)
    for (const name of readdirSync(folder).sort())
      if (/\.(h|hpp|cpp|mjs)$/.test(name)) hash.update(readFileSync(join(folder, name)));
  return `V13.0.${Number.parseInt(hash.digest('hex').slice(0, 7), 16)}`;
}

/** Flags that mean a GPU, or a linker that is told otherwise; those of the second kind come with a value. */
const alone = /^(-fmad=.*|-L.*)$/;
const valued = new Set(['-gencode', '-Xptxas', '-Xcompiler', '-Xlinker', '-cudart']);

/** @param {readonly string[]} given */
function compile(given) {
  /** @type {string[]} */
  const args = [];
  for (let i = 0; i < given.length; i++) {
    if (valued.has(given[i])) i++;
    else if (given[i].endsWith('.o') && given[i - 1] !== '-o') args.push('-x', 'none', given[i], '-x', 'c++');
    else if (!alone.test(given[i])) args.push(given[i] === '-O3' ? '-O1' : given[i]);
  }
  if (args.some((each) => each.endsWith('device_cuda.cpp'))) args.push(join(here, 'cudart.cpp'));
  const flags = ['-x', 'c++', '-march=native', '-ffp-contract=off', '-fPIC', ...folders.map((path) => `-I${path}`)];
  const { status } = spawnSync(process.env.CXX ?? 'c++', [...flags, ...args, '-ldl', '-pthread'], { stdio: 'inherit' });
  return status ?? 1;
}

/** As ptxas tells it. */
const spilling = `ptxas info    : Compiling entry function 'decode_kernel' for 'sm_90'
    16 bytes stack frame, 16 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 255 registers
ptxas error   : Registers are spilled to local memory in function 'decode_kernel'`;

const args = process.argv.slice(2);
if (args[0] === '--version') console.log(`emulated nvcc ${version()}`);
else if (process.env.SKV_EMULATED_FAILURE === 'nvcc') process.exitCode = console.log(spilling) ?? 1;
else process.exitCode = compile(args);
