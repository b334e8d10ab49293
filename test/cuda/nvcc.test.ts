/** One call of nvcc, with the wheels: what the library is, what is read from the compiler, and what its errors say. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { targets } from '../../codegen/back/targets.ts';
import { gencode } from '../../toolchain/cuda.ts';
import { occupancy } from '../../codegen/back/cuda/occupancy.ts';
import { CompileError } from '../../toolchain/process.ts';
import { InternalError } from '../../codegen/ir/diagnostics.ts';
import { readUsage, usageOf } from '../../codegen/back/cuda/usage.ts';
import { installWheels } from '../../toolchain/wheels.ts';

const home = mkdtempSync(join(tmpdir(), 'skv-nvcc-'));
process.on('exit', () => rmSync(home, { recursive: true, force: true }));
const cudaPath = await installWheels();

/** Attention without a kernel. */
const NONE = `#ifdef SKV_LAUNCHES
int main() {}
#endif
`;

let folders = 0;
async function compile(text: string, archs = [80, 90]): Promise<{ folder: string; library: string }> {
  const folder = join(home, String(folders++));
  mkdirSync(folder);
  writeFileSync(join(folder, 'policy.cu'), text);
  writeFileSync(join(folder, 'attention.cu'), NONE);
  return { folder, library: await targets.cuda.compiler({ cudaPath, archs }).compile(folder, 'mine.ts') };
}

async function refusal(text: string, archs?: number[]): Promise<string> {
  const error = await compile(text, archs).then(
    () => assert.unreachable('it compiles'),
    (reason: Error) => reason,
  );
  // the machine's, or skv's own: generated text that does not compile is no mistake of the user's
  assert.ok(error instanceof CompileError || error instanceof InternalError, String((error as Error).stack));
  assert.equal(readdirSync(join(home, String(folders - 1))), ['attention.cu', 'policy.cu'], 'nothing is left behind');
  return (error as Error).message;
}

const scaled = (expression: string) => `#ifdef SKV_LAUNCHES
#include <cstdio>
int main() { puts("scaled<Policy, __nv_bfloat16, 64>\\t128\\t64"); }
#else
#include "abi.h"
#include <cuda_bf16.h>
namespace {
struct Policy {};
template <class P, class T, int D>
__global__ void __launch_bounds__(128) scaled(float* x) {
  __shared__ T tile[D];
  tile[threadIdx.x % D] = (T)x[threadIdx.x];
  __syncthreads();
#line 7 "mine.ts"
  x[threadIdx.x] = ${expression};
#line 17 "policy.cu"
}
}  // namespace
extern "C" __attribute__((visibility("default"))) const skv_policy* skv_policy_entry(void) {
  scaled<Policy, __nv_bfloat16, 64><<<1, 128>>>(nullptr);
  return nullptr;
}
#endif
`;

test('a library exports its entry alone, opens without a driver, and has its usage beside it', async () => {
  const { folder, library } = await compile(scaled('2.0f * (float)tile[(threadIdx.x + 1) % D]'));
  const symbols = spawnSync('nm', ['-D', '--defined-only', library], { encoding: 'utf8' }).stdout.trim().split('\n');
  assert.equal(
    symbols.map((line) => line.split(' ').at(-1)),
    ['skv_policy_entry'],
  );
  const opened = spawnSync('python3', ['-c', `import ctypes; print(ctypes.CDLL("${library}").skv_policy_entry())`], {
    encoding: 'utf8',
  });
  assert.is(opened.stdout, '0\n', opened.stderr);
  const usage = usageOf(folder)!;
  assert.equal(
    usage.map(({ kernel, arch, threads, shared, stack }) => ({ kernel, arch, threads, shared, stack })),
    [80, 90].map((arch) => ({
      kernel: 'scaled<Policy, __nv_bfloat16, 64>',
      arch,
      threads: 128,
      shared: 128 + 64, // its own and the launch's
      stack: 0,
    })),
  );
  for (const { registers, milliseconds } of usage) assert.ok(registers > 4 && registers < 64 && milliseconds > 0);
});

test('an error in the policy’s expression stands at the policy’s line', async () => {
  assert.match(await refusal(scaled('skv_nrom(1.0f)')), /mine\.ts:7: error: identifier "skv_nrom" is undefined/);
});

test('an error after it stands in the generated file', async () => {
  const text = scaled('1.0f').replace('return nullptr;', 'return nulptr;');
  const line = text.split('\n').findIndex((each) => each.includes('nulptr')) + 1;
  assert.match(await refusal(text), new RegExp(`policy\\.cu:${line}: error: identifier "nulptr"`));
});

test('a spill fails the build and names kernel, architecture and bytes', async () => {
  const heavy = `#ifdef SKV_LAUNCHES
int main() {}
#else
#include <cuda_runtime.h>
template <int D> __global__ void __launch_bounds__(1024) heavy(float* x) {
  float r[D];
#pragma unroll
  for (int i = 0; i < D; i++) r[i] = x[i * 1024 + threadIdx.x];
  for (int k = 0; k < 10; k++)
#pragma unroll
    for (int i = 0; i < D; i++) r[i] = r[i] * r[(i * 7 + 3) % D] + 1.0f;
#pragma unroll
  for (int i = 0; i < D; i++) x[i * 1024 + threadIdx.x] = r[i];
}
extern "C" int skv_policy_entry(void) { heavy<128><<<1, 1024>>>(nullptr); return 0; }
#endif
`;
  const message = await refusal(heavy, [80]);
  assert.match(message, /^mine\.ts: registers spill to memory/);
  assert.match(message, /heavy<128> on sm_80: [1-9]\d* bytes stored, [1-9]\d* loaded, with \d+ registers/);
});

test('no compiler: the source can be shown, compiling says what to install', async () => {
  const compiler = targets.cuda.compiler({ cudaPath: join(home, 'nowhere') });
  assert.match(compiler.fingerprint, /^none /);
  await Promise.resolve()
    .then(() => compiler.compile(home, 'mine.ts'))
    .then(
      () => assert.unreachable('it compiles'),
      (error: Error) => assert.match(error.message, /--cuda-path .*nowhere is no CUDA toolkit/),
    );
});

test('the fingerprint tells toolkits, architectures and flags apart', () => {
  const [one, both] = [[90], [80, 90]].map((archs) => targets.cuda.compiler({ cudaPath, archs }).fingerprint);
  assert.is.not(one, both);
  assert.match(one, /^13\.0\.88 .*sm_90.*-fmad=false.*-warn-spills,-Werror/);
  assert.equal(gencode([80]), ['-gencode', 'arch=compute_80,code=sm_80']);
});

test('usage: functions that were not inlined count with their kernel', () => {
  const output = `ptxas info    : Compiling entry function '_Z1kPf' for 'sm_90a'
ptxas info    : Function properties for _Z1kPf
    16 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Function properties for _Z1fPf
    8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 24 bytes cumulative stack size, 2048 bytes smem, 368 bytes cmem[0]
ptxas info    : Compile time = 3.500 ms`;
  assert.equal(readUsage(output), [
    {
      kernel: 'k',
      arch: 90,
      registers: 40,
      threads: 0,
      shared: 2048,
      stack: 24,
      spillStores: 4,
      spillLoads: 12,
      milliseconds: 3.5,
    },
  ]);
});

test('occupancy as NVIDIA’s calculator has it', () => {
  /** arch, threads, registers, shared → blocks, warps, limit */
  const known: [number, number, number, number, number, number, string][] = [
    [80, 256, 32, 0, 8, 64, 'warps'],
    [80, 256, 64, 0, 4, 32, 'registers'],
    [80, 256, 255, 0, 1, 8, 'registers'],
    [80, 32, 32, 0, 32, 32, 'blocks'],
    [80, 1024, 65, 0, 0, 0, 'registers'],
    [80, 128, 40, 48 << 10, 3, 12, 'shared memory'],
    [80, 128, 40, 164 << 10, 0, 0, 'shared memory'],
    [90, 128, 168, 0, 3, 12, 'registers'],
    [90, 128, 40, 227 << 10, 1, 4, 'shared memory'],
    [90, 256, 40, 48 << 10, 4, 32, 'shared memory'],
    [86, 256, 40, 0, 6, 48, 'warps'],
  ];
  for (const [arch, threads, registers, shared, blocks, warps, limit] of known) {
    const found = occupancy(arch, { threads, registers, shared })!;
    assert.equal(
      [found.blocks, found.warps, found.limit],
      [blocks, warps, limit],
      `${arch} ${threads} ${registers} ${shared}`,
    );
  }
  assert.is(occupancy(75, { threads: 128, registers: 32, shared: 0 }), undefined);
});

test.run();
