/**
 * What `--full` adds to a bundle: skv itself as npm has it, its packages in one piece of JavaScript, Node, builds for the
 * device, and tiny models with what the CPU answers.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { startServer } from '../../bench/server.ts';
import { standalone } from '../../cli/bundle.mjs';
import { type BuildOptions, build, shipped } from '../../codegen/build.ts';
import { buildCudaBackend } from '../../runtime/native/cuda.ts';
import { ensureNative } from '../../runtime/native/ensure.ts';
import { findCuda } from '../../toolchain/cuda.ts';
import { policyFolder, root } from '../../toolchain/folders.mjs';
import { randomTokens, smallBudgets } from '../engine/small.ts';
import { sourceFor } from '../oracle/duo.ts';
import { type TinyFamily, sizes, tinyFamilies, wideFamilies } from '../oracle/families.ts';
import { type Asked, RECORDED, type Recorded, ask, flagsOf } from './serve/answers.ts';
import { type ModelFile, writeModel } from './serve/models.ts';

/** Of processors, whose builds are for pages in host memory: what a GPU's machine has at least. */
const MARCH = process.arch === 'x64' ? 'x86-64-v3' : 'native';
/** Architecture of the lent machines: H100, H200. */
const ARCH = 90;

/** How much of everything. */
export interface Scope {
  /** asked of the first family, the full cache first; others are asked for two */
  policies: readonly string[];
  families: readonly TinyFamily[];
  /** types of quantised weights */
  types: readonly NonNullable<ModelFile['type']>[];
  /** measured, with heads of 128 numbers in bf16 */
  measured: readonly string[];
}

export const everything = (policies: readonly string[]): Scope => ({
  policies: ['none', ...policies.filter((name) => name !== 'none')],
  families: tinyFamilies,
  types: ['Q8_0', 'Q4_K'],
  measured: ['none', 'h2o', 'snapkv', 'streaming', 'tova', 'keydiff'],
});

/** f32 on both sides, sums in another order. */
const TOLERANCE = 1e-3;
/** Weights and what they meet in bf16 there and f32 here, of models whose logits spread as widely; on average. */
const BF16_TOLERANCE = 0.1;
/** The CPU rounds products of two scales to f16 as it packs weights of K types; the device has them as the file does. */
const K_TOLERANCE = 0.03;

/** Asked of every model. */
const few = ['none', 'h2o'];

const PROMPT = 76;
const ANSWER = 16;
const flags = [
  ...['--max-model-len', String(sizes.positions), '--max-num-seqs', '8', '--max-num-batched-tokens', '64'],
  ...['--kv-cache-memory', '16MiB'],
];

/** Writes `skv` into the bundle. */
export async function writeFull(bundle: string, scope: Scope): Promise<void> {
  const folder = join(bundle, 'skv');
  await writePackage(folder);
  mkdirSync(join(folder, 'models'));
  const models = writeModels(folder, scope);
  writeFileSync(join(folder, 'models', RECORDED), JSON.stringify(await record(folder, models)));
  await writeBuilds(folder, scope, models);
}

/** skv's own files, its JavaScript, and the addon, where they are looked for. */
async function writePackage(folder: string): Promise<void> {
  const { files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { files: string[] };
  for (const part of ['package.json', ...files.filter((name) => !name.startsWith('!'))])
    cpSync(join(root, part), join(folder, part), { recursive: true });
  await standalone(join(folder, 'js'), ['test/gpu/serve/check', 'test/gpu/serve/bench']);
  writeFileSync(join(folder, 'cli', 'skv.mjs'), "import '../js/main.js';\n");
  const release = dirname(ensureNative());
  cpSync(release, join(folder, 'build', 'Release'), { recursive: true });
  copyFileSync(join(release, '..', 'native.hash'), join(folder, 'build', 'native.hash'));
}

/** What is not recorded yet. */
interface Model extends Omit<Recorded, 'cases'> {
  asked: Asked[];
}

const askedOf = (policies: readonly string[]): Asked[] =>
  policies.map((policy) => ({
    policy,
    params: policy === 'duo' ? { sinks: 3, recent: 8 } : smallBudgets[policy],
    prompt: [...randomTokens(1, PROMPT, sizes.vocab)],
    maxTokens: ANSWER,
  }));

/** The models and what they are asked; duo, whose own table is of one real model, with a table for them. */
function writeModels(folder: string, { policies, families, types }: Scope): Model[] {
  const models = join(folder, 'models');
  const duo = join('models', 'duo', 'duo.ts');
  const source = sourceFor('duo', { layers: families[0].layers, kvHeads: sizes.kvHeads });
  cpSync(dirname(source), join(models, 'duo'), { recursive: true });
  const model = (file: ModelFile, names: readonly string[], tolerance: number): Model => ({
    ...file,
    ...{ digest: writeModel(models, file), flags, tolerance, precision: 'f32', asked: askedOf(names) },
    clients: names === policies,
    policies: names.map((policy) => (policy === 'duo' ? duo : policy)),
  });
  const plain = families.map(({ name }, i) =>
    model({ name: name.replace(/\W+/g, '-'), family: name, seed: 400 + i }, i === 0 ? policies : few, TOLERANCE),
  );
  const quantised = types.map((type) =>
    model(
      { name: `llama-${type}.gguf`, family: wideFamilies[0].name, seed: 500, type },
      few,
      type.includes('_K') ? K_TOLERANCE : TOLERANCE,
    ),
  );
  const [asked] = askedOf(['none']);
  const inBf16: Model = {
    ...plain[0],
    ...{ precision: 'bf16', tolerance: BF16_TOLERANCE, clients: false, policies: ['none'] },
    asked: [{ ...asked, maxTokens: 1, scored: true }],
  };
  const inHost: Model = { ...plain[0], place: 'host', clients: false, policies: few, asked: askedOf(few) };
  return [plain[0], inBf16, inHost, ...plain.slice(1), ...quantised];
}

/** What the CPU answers here, through the server. */
async function record(folder: string, models: readonly Model[]): Promise<Recorded[]> {
  const recorded: Recorded[] = [];
  for (const { asked, ...model } of models) {
    const { url, stop } = await startServer([...flagsOf(folder, model), '--threads', '1']);
    try {
      const cases = [];
      for (const each of asked) cases.push({ asked: each, answer: await ask(url, each, 60) });
      recorded.push({ ...model, cases });
    } finally {
      await stop();
    }
  }
  for (const { name } of models) rmSync(join(folder, 'models', name), { recursive: true, force: true }); // drawn again over there
  return recorded;
}

/** What nvcc makes here of the policies and the backend, and which nvcc it was: over there another one may lie. */
async function writeBuilds(folder: string, { measured }: Scope, [first]: readonly Model[]): Promise<void> {
  const target = { target: 'cuda', archs: [ARCH] } as const;
  const builds: [files: readonly string[], options: BuildOptions][] = [
    [first.policies, { ...target, headDims: [64], kvTypes: ['f32'] }],
    [['none'], { ...target, headDims: [64], kvTypes: ['bf16'] }],
    [measured, { ...target, headDims: [128], kvTypes: ['bf16'] }],
    [[...new Set([...few, ...measured])], { march: MARCH }],
  ];
  const directory = join(folder, 'generated');
  const keep = (library: string) =>
    cpSync(dirname(library), join(directory, basename(dirname(library))), { recursive: true });
  for (const [names, options] of builds)
    for (const name of names) {
      const file = join(folder, name.endsWith('.ts') ? name : join('policies', `${name}.ts`));
      keep((await build(shipped(name) ?? file, options)).library);
      await build(file, { ...options, directory }); // finds the library, and notes which file it is of
    }
  keep((await buildCudaBackend({ archs: [ARCH] })).library);
  writeFileSync(join(folder, 'nvcc-version'), `nvcc V${findCuda().version}\n`);
}

/** Node as the bundle has it: stripped and packed once, since it takes a minute. Gives its path. */
export function packedNode(): string {
  const file = join(policyFolder(), `node-${process.version}-${process.arch}.xz`);
  if (existsSync(file)) return file;
  const draft = `${file}.${process.pid}.tmp`;
  mkdirSync(dirname(file), { recursive: true });
  try {
    copyFileSync(process.execPath, draft);
    sh(`strip ${quoted(draft)}; xz -6 -T0 ${quoted(draft)}`);
    renameSync(`${draft}.xz`, file);
  } finally {
    rmSync(draft, { force: true });
  }
  return file;
}

const quoted = (path: string) => `'${path.replaceAll("'", "'\\''")}'`;

function sh(command: string): void {
  const { status, stderr } = spawnSync('sh', ['-c', command], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ends with ${status}: ${stderr}`);
}

/** A folder of the bundle as one packed file. */
export function pack(bundle: string, name: string): void {
  sh(`cd ${quoted(bundle)} && tar c ${name} | xz -3 -T0 > ${name}.tar.xz && rm -r ${name}`);
}
