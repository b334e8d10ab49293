/** Machines other than this one: a cross-compiler and an emulator of its processor, where they are installed. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../toolchain/folders.mjs';
import { cpuBackend, native } from '../../runtime/native/index.ts';
import { compiler, compilerVersion } from '../../toolchain/compilers.ts';
import { type Machine, host } from './driver.ts';

const runs = (command: string) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;

export const aarch64: Machine = {
  name: 'aarch64',
  cxx: 'aarch64-linux-gnu-g++',
  flags: [],
  run: ['qemu-aarch64', '-L', '/usr/aarch64-linux-gnu'],
  packages: 'g++-aarch64-linux-gnu qemu-user',
};

/** The same with dot products of bf16. */
export const armBf16: Machine = { ...aarch64, name: 'aarch64-bf16', flags: ['-march=armv8.2-a+bf16'] };

/** The least that every x86-64 processor has. */
export const plain = host('x86-64', '-march=x86-64');

export const avx2 = host('x86-64-v3', '-march=x86-64-v3');

/** What does AMX's instructions where the processor cannot. */
const emulatedAmx = { sources: [join(root, 'test/emulation/amx.cpp')], flags: ['-mamx-tile', '-DSKV_EMULATE_AMX'] };

/** AVX-512's dot products of bytes, in registers of 256 bits too, and AMX's. GCC 12 finds fault with its own header. */
const vnniFlags = [
  ...['-march=x86-64-v4', '-mavx512vnni', '-Wno-uninitialized', '-Wno-maybe-uninitialized'],
  ...['-Wno-unknown-warning-option', '-mamx-int8', ...emulatedAmx.flags],
];
export const vnni: Machine = { ...host('x86-64-vnni', ...vnniFlags), sources: emulatedAmx.sources };

/** AMX's products of bf16, for attention: what has them has AVX-512's. */
export const amx: Machine = {
  ...host('x86-64-amx', '-march=x86-64-v4', '-mavx512bf16', '-mamx-bf16', ...emulatedAmx.flags),
  sources: emulatedAmx.sources,
};

/** The other one of GCC and clang, or what SKV_OTHER_CXX names: the sources must say the same to both. */
const otherCxx = process.env.SKV_OTHER_CXX || (/clang/.test(compilerVersion()) ? 'g++' : 'clang++');
const otherVersion = spawnSync(otherCxx, ['--version'], { encoding: 'utf8' }).stdout ?? '';

/** A machine of this processor's by the other compiler. What is kept of its builds has its version in the name. */
export const byOther = (machine: Machine): Machine => ({
  ...machine,
  name: `${machine.name}-by-${createHash('sha256').update(otherVersion).digest('hex').slice(0, 8)}`,
  cxx: otherCxx,
  flags: machine.flags.slice(compiler().length - 1),
  packages: otherCxx === 'g++' ? 'g++' : 'clang',
});

/** What this processor has but AMX's tiles, which add in an order of their own: a name for -march. */
export const fusing = native().isas(cpuBackend()).includes('amx') ? 'cooperlake' : 'native';

/** The same, as policies are compiled. */
export const own = host(fusing, `-march=${fusing}`);

/** The same asking the processor, which may have no tiles. */
export const amxIfThere: Machine = {
  ...amx,
  name: 'x86-64-amx-if-there',
  flags: amx.flags.filter((flag) => !flag.startsWith('-D')),
};

function compiles(...flags: string[]): boolean {
  const [cxx, ...own] = compiler();
  return spawnSync(cxx, [...own, ...flags, '-E', '-x', 'c++', '/dev/null'], { stdio: 'ignore' }).status === 0;
}

/** Whether this compiler knows AMX, and is one for processors that may have it. */
export const compilesAmx = (): boolean =>
  process.arch === 'x64' && process.platform === 'linux' && compiles('-mamx-int8', '-mamx-bf16');

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
export function missing({ name, cxx, run, packages }: Machine): string | undefined {
  const tools = [cxx, ...run.slice(0, 1)].filter((tool) => !runs(tool));
  return tools.length
    ? `${name} is not tested: ${tools.join(' and ')} missing (Debian: apt-get install ${packages})`
    : undefined;
}
