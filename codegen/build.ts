/** The pipeline, one line a stage, behind a content-addressed cache. */
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join, relative, resolve } from 'node:path';
import type { CompileOptions, Compiler } from './back/shared/target.ts';
import { targets } from './back/targets.ts';
import { textOf } from './front/text.ts';
import { contentHash } from './hash.ts';
import type { Policy } from './ir/nodes.ts';
import type { BuiltPolicy, CudaOptions, Plan, Target } from './plan/types.ts';
import { CompileError, DiskFullError } from '../toolchain/process.ts';
import { drafted, locked, renamed } from '../toolchain/locks.ts';
import { policyFolder, root } from '../toolchain/folders.mjs';

export interface BuildOptions extends CompileOptions, CudaOptions {
  target?: Target;
  /** compile again although it is cached */
  force?: boolean;
  /** where builds live; default policyFolder() */
  directory?: string;
}

/** Everything before the C++ compiler, as `skv explain` shows it. */
export interface Compiled {
  policy: Policy;
  plan: Plan;
  files: readonly string[];
  sources: Readonly<Record<string, string>>;
}

const compilerOf = (options: BuildOptions): Compiler => targets[options.target ?? 'cpu'].compiler(options);

/** Everything beside a policy's text that can change its library. */
const fingerprintOf = (options: BuildOptions): string =>
  [compilerOf(options).fingerprint, ...(options.headDims ?? []), ...(options.kvTypes ?? [])].join(' ');

/** check (read → lower → verify) → simplify → verify → plan → render. Throws PolicyErrors; writes nothing. */
export async function compileSource(file: string, options: BuildOptions = {}): Promise<Compiled> {
  const target = options.target ?? 'cpu';
  // loaded here: a cached build needs none of the compiler, and ts-morph takes seconds
  const [{ check }, { verifySimplified }, { simplify }, { plan }, { render }] = await Promise.all([
    import('./front/check.ts'),
    import('./ir/verify.ts'),
    import('./ir/simplify.ts'),
    import('./plan/plan.ts'),
    import('./back/render.ts'),
  ]);
  const { syntax, policy: written } = check(file); // the author's mistakes end here
  const policy = verifySimplified(simplify(written)); // smaller, the same values
  const planned = plan(policy, target, contentHash(syntax.files.values(), target, fingerprintOf(options)), options);
  return { policy, plan: planned, files: [...syntax.files.keys()], sources: render(policy, planned) };
}

/** An entry of the index: which build a policy file had when its sources were as hashed. */
interface Entry {
  /** from the folder of builds: who moves both together finds them again */
  files: string[];
  hash: string;
  folder: string;
}

/** The build that a policy file has already; undefined: it must be compiled. */
export function builtBefore(path: string, options: BuildOptions = {}): BuiltPolicy | undefined {
  const { directory = policyFolder(), target = 'cpu' } = options;
  return options.force ? undefined : lookUp(directory, resolve(path), target, fingerprintOf(options));
}

/** Builds a policy file, or returns the build it already has. Safe beside other processes building the same. */
export async function build(path: string, options: BuildOptions = {}): Promise<BuiltPolicy> {
  const cached = builtBefore(path, options);
  if (cached) return cached;
  const file = resolve(path);
  const { directory = policyFolder(), target = 'cpu' } = options;
  const compiler = compilerOf(options);
  const fingerprint = fingerprintOf(options);
  try {
    return await drafted(join(directory, basename(file)), async (draft) => {
      const prepared = Promise.allSettled([compiler.prepare?.(draft)]); // another process's work, while TypeScript is ours
      const compiled = await compileSource(file, options).finally(() => prepared);
      const { plan } = compiled;
      const folder = join(directory, `${plan.name}-${target}-${plan.hash}`);
      await locked(`${folder}.lock`, async () => {
        if (existsSync(join(folder, 'policy.so')) && !options.force) return; // another process was first
        await produce(draft, compiled, compiler);
        renamed(draft, folder);
      });
      const files = compiled.files.map((each) => relative(directory, each));
      const entry: Entry = { files, hash: plan.hash, folder: basename(folder) };
      writeAtomically(indexOf(directory, file, target, fingerprint), JSON.stringify(entry));
      for (const prefix of [`${plan.name}-${target}-`, 'kernels-', 'attention-']) tidy(directory, prefix);
      return { plan, library: join(folder, 'policy.so'), directory: folder };
    });
  } catch (error) {
    throw unwritable(error as NodeJS.ErrnoException, directory) ?? error;
  }
}

/** A build folder that takes no files, in words. */
function unwritable({ code, message }: NodeJS.ErrnoException, directory: string): CompileError | undefined {
  if (code === 'ENOSPC' || code === 'EDQUOT') return new DiskFullError(directory);
  if (code !== 'EROFS' && code !== 'EACCES' && code !== 'EPERM') return undefined;
  return new CompileError(
    `Builds cannot be written to ${directory} (${message}). Name a folder of yours in the environment variable SKV_GENERATED.`,
  );
}

/** One for each set of flags: who goes from one to another and back compiles each once. */
function indexOf(directory: string, file: string, target: Target, fingerprint: string): string {
  const flags = createHash('sha256').update(fingerprint).digest('hex').slice(0, 8);
  const name = Buffer.from(relative(directory, file)).toString('base64url').slice(-120);
  return join(directory, `index-${target}-${name}-${flags}.json`);
}

/** The build of an unchanged file, found without the compiler. */
function lookUp(directory: string, file: string, target: Target, fingerprint: string): BuiltPolicy | undefined {
  try {
    const entry = JSON.parse(readFileSync(indexOf(directory, file, target, fingerprint), 'utf8')) as Entry;
    const files = entry.files.map((each) => resolve(directory, each));
    if (files[0] !== file || contentHash(files.map(textOf), target, fingerprint) !== entry.hash) return undefined;
    const folder = join(directory, entry.folder);
    if (!existsSync(join(folder, 'policy.so'))) return undefined;
    const plan = JSON.parse(readFileSync(join(folder, 'plan.json'), 'utf8')) as Plan;
    if (plan.hash !== entry.hash) return undefined;
    return { plan, library: join(folder, 'policy.so'), directory: folder };
  } catch {
    return undefined; // no entry, or one that cannot be read: build
  }
}

async function produce(draft: string, compiled: Compiled, compiler: Compiler): Promise<void> {
  const { irText } = await import('./ir/text.ts');
  writeFileSync(join(draft, 'ir.txt'), irText(compiled.policy));
  writeFileSync(join(draft, 'plan.json'), `${JSON.stringify(compiled.plan, null, 2)}\n`);
  for (const [name, text] of Object.entries(compiled.sources)) writeFileSync(join(draft, name), text);
  await compiler.compile(draft, compiled.policy.span.file);
}

const HOUR = 3_600_000;
/** Builds of one policy and target that stay whatever their age. */
const NEWEST = 8;

/** Takes away what nobody will ask for: drafts of killed builds, and yesterday's builds of a policy edited many times since. */
function tidy(directory: string, prefix: string): void {
  const entries = readdirSync(directory).flatMap((name) => {
    const stats = statSync(join(directory, name), { throwIfNoEntry: false });
    return stats ? [{ name, age: Date.now() - stats.mtimeMs }] : [];
  });
  const drafts = entries.filter(({ name, age }) => name.endsWith('.tmp') && age > HOUR);
  const builds = entries
    .filter(({ name }) => name.startsWith(prefix) && /^[0-9a-f]{16}$/.test(name.slice(prefix.length)))
    .sort((a, b) => a.age - b.age);
  for (const { name } of [...drafts, ...builds.slice(NEWEST).filter(({ age }) => age > 24 * HOUR)])
    rmSync(join(directory, name), { recursive: true, force: true });
}

function writeAtomically(path: string, text: string): void {
  const draft = `${path}.${randomUUID().slice(0, 8)}.tmp`;
  try {
    writeFileSync(draft, text);
    renameSync(draft, path);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
}

/** Names of the shipped policies, sorted. */
export const shippedNames = (): string[] =>
  readdirSync(join(root, 'policies'))
    .filter((name) => name.endsWith('.ts'))
    .map((name) => name.slice(0, -3))
    .sort();

/** Path of a shipped policy, or undefined. */
export function shipped(name: string): string | undefined {
  const file = join(root, 'policies', `${name}.ts`);
  return /^[a-z0-9-]+$/.test(name) && existsSync(file) ? file : undefined;
}
