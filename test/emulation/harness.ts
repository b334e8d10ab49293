/** Programs of one kernel for the emulation, compiled and run: what it computes and what it finds. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { includes } from '../../codegen/back/shared/includes.ts';
import { root } from '../../toolchain/folders.mjs';

const folder = mkdtempSync(join(tmpdir(), 'skv-emulation-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

/** Compiles device code, each `kernels` entry a body of `__global__ void name(Io io)`, and gives a runner. */
export function program(kernels: Record<string, string>, define: string[] = []) {
  const names = Object.keys(kernels);
  const text = `#include "cuda/mma.cuh"
struct Io { const float* in; float* out; int n; };
${names.map((name) => `__global__ void ${name}(Io io) {\n  Arena arena;\n  const auto in = global(io.in);\n  const auto out = global(io.out);\n  (void)in, (void)out, (void)arena;\n${kernels[name]}\n}`).join('\n')}
int main(int, char** argv) {
  const int blocks = atoi(argv[2]), threads = atoi(argv[3]), shared = atoi(argv[4]), n = atoi(argv[5]);
  std::vector<float> in(n), out(n, -1);
  for (int i = 0; i < n; i++) in[i] = i;
  for (int i = 0; i < atoi(argv[6]); i++) out[i] = 0;
  expose(in.data(), n * 4, "in"), expose(out.data(), n * 4, "out");
  int32_t code = -1;
${names.map((name) => `  if (!strcmp(argv[1], "${name}")) code = SKV_LAUNCH(${name}, dim3(blocks), threads, shared, nullptr, (Io{in.data(), out.data(), n}));`).join('\n')}
  if (code) return puts(device_error(code)), 1;
  for (float x : out) printf("%.9g ", x);
  return 0;
}
`;
  const source = join(mkdtempSync(join(folder, 'program-')), `${names[0]}.cpp`);
  writeFileSync(source, text);
  const binary = source.replace('.cpp', '');
  const searched = [...includes, join(root, 'test', 'emulation')].map((path) => `-I${path}`);
  const compiled = spawnSync(process.env.CXX ?? 'c++', [
    '-std=c++17',
    '-O1',
    ...define,
    ...searched,
    source,
    '-o',
    binary,
  ]);
  if (compiled.status !== 0) throw new Error(String(compiled.stderr));
  return (name: string, { blocks = 1, threads = 64, shared = 1024, n = 64, clear = 0, order = 'forward' } = {}) => {
    const args = [name, blocks, threads, shared, n, clear].map(String);
    const { status, stdout, signal } = spawnSync(binary, args, {
      encoding: 'utf8',
      env: { ...process.env, SKV_EMULATE: order },
    });
    if (signal) throw new Error(`${name} ended with ${signal}`);
    return status === 0
      ? { values: stdout.trim().split(' ').map(Number), error: undefined }
      : { values: [], error: stdout.trim() };
  };
}
