/** The C++ compilers and build tools of this machine, and what to install where one is missing. */
import { spawnSync } from 'node:child_process';

const runs = (command: string) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;

/** What CMake looks for, too, where CXX names none. */
const COMPILERS = ['c++', 'g++', 'clang++'];

let found: string | undefined;

/** The C++ compiler of every build: what CXX names, a command and its arguments, or the first that is there. */
export function compiler(): readonly [command: string, ...args: string[]] {
  const [command, ...args] = process.env.CXX?.split(' ').filter(Boolean) ?? [];
  return command ? [command, ...args] : [(found ??= COMPILERS.find(runs) ?? COMPILERS[0])];
}

const versions = new Map<string, string>();

/** What it says of itself; '' where it does not run. Asked once a process. */
export function compilerVersion(): string {
  const [command, ...args] = compiler();
  const key = [command, ...args].join(' ');
  if (!versions.has(key))
    versions.set(key, spawnSync(command, [...args, '--version'], { encoding: 'utf8' }).stdout ?? '');
  return versions.get(key)!;
}

/** The same where CXX is set: builds by another compiler are other builds. Else '', and those need no compiler to be there. */
export const namedCompiler = (): string => (process.env.CXX ? compilerVersion() : '');

/** What to install when a build fails for want of a tool; undefined when nothing is missing. */
export function missingTool(needs: 'cmake and c++' | 'c++' = 'cmake and c++'): string | undefined {
  if (needs !== 'c++' && !runs('cmake'))
    return 'CMake is missing. Install it (Debian, Ubuntu: apt-get install cmake; macOS: brew install cmake), then build again.';
  if (!compilerVersion())
    return process.env.CXX
      ? `CXX names ${process.env.CXX}, which does not run. Set it to a C++ compiler, or unset it.`
      : 'A C++ compiler is missing. Install one (Debian, Ubuntu: apt-get install g++ make; macOS: xcode-select --install), then build again.';
  if (needs !== 'c++' && !buildTools.some(runs))
    return 'CMake has nothing to build with: neither ninja nor make. Install one (Debian, Ubuntu: apt-get install make; macOS: xcode-select --install), then build again.';
  return undefined;
}

/** What CMake hands its work to: one of them. */
export const buildTools = ['ninja', 'make'];
