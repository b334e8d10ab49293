/** Machines other than this one: a cross-compiler and an emulator of its processor, where they are installed. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../toolchain/folders.mjs';
import { cpuBackend, native } from '../../runtime/native/index.ts';
import type { Machine } from './driver.ts';

const runs = (command: string) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;

export const aarch64: Machine = {
  name: 'aarch64',
  cxx: 'aarch64-linux-gnu-g++',
  flags: [],
  run: ['qemu-aarch64', '-L', '/usr/aarch64-linux-gnu'],
};

/** The same with dot products of bf16. */
export const armBf16: Machine = { ...aarch64, name: 'aarch64-bf16', flags: ['-march=armv8.2-a+bf16'] };

/** The least that every x86-64 processor has. */
export const plain: Machine = { name: 'x86-64', cxx: 'c++', flags: ['-march=x86-64'], run: [] };

export const avx2: Machine = { name: 'x86-64-v3', cxx: 'c++', flags: ['-march=x86-64-v3'], run: [] };

/** What does AMX's instructions where the processor cannot. */
const emulatedAmx = { sources: [join(root, 'test/emulation/amx.cpp')], flags: ['-mamx-tile', '-DSKV_EMULATE_AMX'] };

/** AVX-512's dot products of bytes, in registers of 256 bits too, and AMX's. GCC 12 finds fault with its own header. */
export const vnni: Machine = {
  name: 'x86-64-vnni',
  cxx: 'c++',
  flags: [
    ...['-march=x86-64-v4', '-mavx512vnni', '-Wno-uninitialized', '-Wno-maybe-uninitialized'],
    ...['-mamx-int8', ...emulatedAmx.flags],
  ],
  run: [],
  sources: emulatedAmx.sources,
};

/** AMX's products of bf16, for attention: what has them has AVX-512's. */
export const amx: Machine = {
  name: 'x86-64-amx',
  cxx: 'c++',
  flags: ['-march=x86-64-v4', '-mavx512bf16', '-mamx-bf16', ...emulatedAmx.flags],
  run: [],
  sources: emulatedAmx.sources,
};

/** The same asking the processor, which may have no tiles. */
export const amxIfThere: Machine = {
  ...amx,
  name: 'x86-64-amx-if-there',
  flags: amx.flags.filter((flag) => !flag.startsWith('-D')),
};

/** Whether this compiler knows AMX, and is one for processors that may have it. */
export const compilesAmx = (): boolean =>
  process.arch === 'x64' &&
  process.platform === 'linux' &&
  spawnSync('c++', ['-mamx-int8', '-mamx-bf16', '-E', '-x', 'c++', '/dev/null'], { stdio: 'ignore' }).status === 0;

/** Why nothing that is compiled for `amx` runs here; undefined when it does. */
export function missingForAmx(): string | undefined {
  if (!compilesAmx())
    return "attention by AMX is not tested: it takes Linux on x86-64, and a compiler that knows AMX's bf16";
  if (!/ avx512_bf16 /.test(readFileSync('/proc/cpuinfo', 'utf8')))
    return 'attention by AMX is not tested: this processor has no AVX-512 with bf16 to stand beside emulated tiles';
  return undefined;
}

/** Whether this processor runs what is compiled for `vnni`. */
export const hasVnni = (): boolean => native().isas(cpuBackend()).includes('avx512vnni');

/** Whether this processor runs what is compiled for `avx2`. */
export const hasAvx2 = (): boolean => native().isas(cpuBackend()).includes('avx2');

/** Why a machine cannot be had here; undefined when it can. */
export function missing({ name, cxx, run }: Machine): string | undefined {
  const tools = [cxx, ...run.slice(0, 1)].filter((tool) => !runs(tool));
  return tools.length
    ? `${name} is not tested: ${tools.join(' and ')} missing (Debian: apt-get install g++-aarch64-linux-gnu qemu-user)`
    : undefined;
}
