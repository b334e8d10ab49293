/** Lays out every C++ file, as `npm run format` does for TypeScript with biome; `static.test.ts` checks the same files. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from '../../toolchain/folders.mjs';

/** Every C++ file but generated ones, as paths below skv's folder. */
export const sources = ['runtime', 'templates', 'bench', 'test'].flatMap((folder) =>
  (readdirSync(join(root, folder), { recursive: true }) as string[])
    .map((name) => join(folder, name))
    .filter((name) => /\.(h|hpp|cu|cuh|cpp)$/.test(name) && !name.includes('/golden/')),
);

/** clang-format from a package, not the system's: each version has its own opinion, and the lock file names one. */
export function clangFormat(...flags: string[]): { status: number | null; output: string } {
  const program = join(root, 'node_modules/@wasm-fmt/clang-format/clang-format-cli.cjs');
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...flags, ...sources], {
    cwd: root,
    encoding: 'utf8',
  });
  return { status, output: stdout + stderr };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { status, output } = clangFormat('-i');
  process.stdout.write(output);
  process.exitCode = status ?? 1;
}
