/** A compiler that optimises less, for tests of everything but what the optimiser makes. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Path of a compiler for CXX: the usual one with a last word on optimisation. Such builds belong in a folder of their own;
 * the kernels, which all builds share, it compiles as ever.
 */
export function quickCompiler(level: '-O0' | '-O1'): string {
  const folder = mkdtempSync(join(tmpdir(), 'skv-quick-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'c++');
  const cxx = process.env.CXX ?? '/usr/bin/env c++';
  writeFileSync(path, `#!/bin/sh\ncase "$*" in *kernels*.cpp*) exec ${cxx} "$@";; esac\nexec ${cxx} "$@" ${level}\n`, {
    mode: 0o755,
  });
  return path;
}
