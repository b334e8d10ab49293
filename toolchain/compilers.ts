/** The C++ compilers and build tools of this machine, and what to install where one is missing. */
import { spawnSync } from 'node:child_process';

/** What to install when a build fails for want of a tool; undefined when nothing is missing. */
export function missingTool(needs: 'cmake and c++' | 'c++' = 'cmake and c++'): string | undefined {
  const runs = (command: string) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
  if (needs !== 'c++' && !runs('cmake'))
    return 'CMake is missing. Install it (Debian, Ubuntu: apt-get install cmake; macOS: brew install cmake), then build again.';
  const { CXX } = process.env;
  if (CXX && !runs(CXX.split(' ')[0]))
    return `CXX names ${CXX}, which does not run. Set it to a C++ compiler, or unset it.`;
  if (!['c++', 'g++', 'clang++'].some(runs))
    return 'A C++ compiler is missing. Install one (Debian, Ubuntu: apt-get install g++ make; macOS: xcode-select --install), then build again.';
  if (needs !== 'c++' && !buildTools.some(runs))
    return 'CMake has nothing to build with: neither ninja nor make. Install one (Debian, Ubuntu: apt-get install make; macOS: xcode-select --install), then build again.';
  return undefined;
}

/** What CMake hands its work to: one of them. */
export const buildTools = ['ninja', 'make'];
