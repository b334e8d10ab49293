/** The package as npm makes it, and as a stranger gets it: packed, then installed outside the clone. */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as assert from 'uvu/assert';
import { root } from '../../toolchain/folders.mjs';

export interface Packed {
  filename: string;
  unpackedSize: number;
  files: { path: string; size: number }[];
}

/** Runs npm; `--offline` unless a network is wished for. */
function npm(folder: string, args: string[]): string {
  const { status, stdout, stderr } = spawnSync('npm', args, { cwd: folder, encoding: 'utf8' });
  assert.is(status, 0, `npm ${args.join(' ')}: ${stderr}`);
  return stdout;
}

/** `npm pack`, into a folder. */
export const pack = (into: string): Packed =>
  JSON.parse(npm(root, ['pack', '--json', '--offline', '--pack-destination', into]))[0];

/** Paths of what a plain `npm install skv` brings, below node_modules: nothing that only a clone needs. */
function dependencies(): string[] {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean; devOptional?: boolean }>;
  };
  return Object.entries(packages)
    .filter(([path, { dev, devOptional }]) => /^node_modules\/(@[^/]+\/)?[^/]+$/.test(path) && !dev && !devOptional)
    .map(([path]) => path.slice('node_modules/'.length))
    .filter((name) => existsSync(join(root, 'node_modules', name))); // other platforms' are not
}

/**
 * Installs a tarball in `app` as npm would, without a network: skv unpacked, its dependencies, locked and those alone, as
 * links to the clone's. With SKV_INSTALL=npm it is npm itself, which asks the registry.
 */
export function install(app: string, tarball: string): void {
  if (process.env.SKV_INSTALL === 'npm') {
    writeFileSync(join(app, 'package.json'), '{}\n');
    npm(app, ['install', '--no-audit', '--no-fund', tarball]);
    return;
  }
  const modules = join(app, 'node_modules');
  const skv = join(modules, 'skv');
  mkdirSync(skv, { recursive: true });
  const { status, stderr } = spawnSync('tar', ['-xzf', tarball, '-C', skv, '--strip-components=1'], {
    encoding: 'utf8',
  });
  assert.is(status, 0, stderr);
  for (const name of dependencies()) {
    mkdirSync(dirname(join(modules, name)), { recursive: true });
    symlinkSync(join(root, 'node_modules', name), join(modules, name));
  }
  const { bin } = JSON.parse(readFileSync(join(skv, 'package.json'), 'utf8')) as { bin: Record<string, string> };
  mkdirSync(join(modules, '.bin'));
  for (const [name, file] of Object.entries(bin)) {
    chmodSync(join(skv, file), 0o755);
    symlinkSync(join('..', 'skv', file), join(modules, '.bin', name));
  }
}

/** Everything in a folder but other packages, as paths below it, sorted. */
export const filesBelow = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(folder.length + 1))
    .sort();

/** Runs a program of the app's node_modules/.bin, as npx does. */
export const npx = (app: string, env: NodeJS.ProcessEnv, name: string, ...args: string[]): SpawnSyncReturns<string> =>
  spawnSync(join(app, 'node_modules', '.bin', name), args, { cwd: app, encoding: 'utf8', env });
