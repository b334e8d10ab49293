/** The build: one compile for two processes, nothing half-written, what a missing tool or a broken template says. */
import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, builtBefore, compileSource, shipped } from '../../codegen/build.ts';
import { targets } from '../../codegen/back/targets.ts';
import { quickCompiler } from './quick.ts';
import { root } from '../../toolchain/folders.mjs';

const home = mkdtempSync(join(tmpdir(), 'skv-build-'));
process.on('exit', () => rmSync(home, { recursive: true, force: true }));

// what is tested here is the way to the compiler and back
const quick = quickCompiler('-O0');
process.env.CXX = quick;

let folders = 0;
/** A fresh folder for builds. */
const fresh = () => join(home, `generated-${folders++}`);
const knorm = shipped('knorm')!;

/** Runs `source` as a module in another process; resolves to its output and exit code. */
function elsewhere(source: string, env: Record<string, string> = {}): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', source], {
    cwd: root,
    env: { ...process.env, ...env },
  });
  let output = '';
  child.stdout.on('data', (chunk) => (output += chunk));
  child.stderr.on('data', (chunk) => (output += chunk));
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, output })));
}

const building = (directory: string, file = knorm) => `
  import { build } from ${JSON.stringify(join(root, 'codegen', 'build.ts'))};
  const { library } = await build(${JSON.stringify(file)}, { directory: ${JSON.stringify(directory)} }).catch((error) => { console.log(error.name, error.message); process.exit(1); });
  console.log(library);`;

test('three processes build the same policy: all succeed, one compiles', async () => {
  const directory = fresh();
  // a compiler that counts itself
  const counter = join(home, 'c++');
  writeFileSync(
    counter,
    `#!/bin/sh\ncase "$*" in *policy.dir*" -c "*policy.cpp*) echo x >> ${join(home, 'compiled')};; esac\nexec ${quick} "$@"\n`,
    { mode: 0o755 },
  );
  const all = await Promise.all([1, 2, 3].map(() => elsewhere(building(directory), { CXX: counter })));
  for (const { code, output } of all) assert.is(code, 0, output);
  assert.is(new Set(all.map(({ output }) => output.trim())).size, 1);
  assert.is(readFileSync(join(home, 'compiled'), 'utf8').trim().split('\n').length, 1, 'compiled once');
  assert.equal(
    readdirSync(directory).filter((name) => /\.(tmp|lock)/.test(name)),
    [],
    'nothing is left behind',
  );
});

// a compiler that counts everything, and optimises nothing: its kernels are nobody else's
const counted = join(home, 'c++-all');
writeFileSync(
  counted,
  `#!/bin/sh\ncase "$*" in *" -c "*.cpp*) echo "$*" >> ${join(home, 'compiled-all')};; esac\nexec c++ "$@" -O0\n`,
  { mode: 0o755 },
);
const unoptimised = { CXX: counted, SKV_GENERATED: fresh() };

test('two processes build two policies: the kernels are compiled once', async () => {
  const directory = unoptimised.SKV_GENERATED;
  const files = [knorm, shipped('none')!];
  const both = await Promise.all(files.map((file) => elsewhere(building(directory, file), unoptimised)));
  for (const { code, output } of both) assert.is(code, 0, output);
  const compiled = readFileSync(join(home, 'compiled-all'), 'utf8').match(/(kernels\w*|policy)\.cpp$/gm)!;
  assert.equal(compiled.sort(), [
    'kernels.cpp',
    'kernels_bf16.cpp',
    'kernels_f32.cpp',
    'kernels_lanes.cpp',
    ...Array(4).fill('policy.cpp'), // of each the passes and the probes
  ]);
  assert.is(readdirSync(directory).filter((name) => /^kernels-[0-9a-f]{16}$/.test(name)).length, 1);
});

test('old builds and the drafts of killed ones go, recent ones and other policies stay', async () => {
  const directory = fresh();
  const aged = (name: string, days: number) => {
    mkdirSync(join(directory, name), { recursive: true });
    const then = Date.now() / 1000 - days * 86_400;
    utimesSync(join(directory, name), then, then);
  };
  const builds = Array.from({ length: 10 }, (_, i) => `knorm-cpu-${i}`.padEnd(26, '0'));
  builds.forEach((name, i) => aged(name, i < 2 ? 0.5 : i));
  aged('knorm-cuda-0000000000000000', 30);
  aged('other-cpu-0000000000000000', 30);
  aged('knorm-cpu-0000000000000000.1234.tmp', 1);
  aged('knorm-cpu-1111111111111111.5678.tmp', 0);
  const { directory: built } = await build(knorm, { directory });
  const left = readdirSync(directory).filter((name) => !/^index/.test(name));
  const stay = [
    ...builds.slice(0, 7), // with the new one eight
    basename(built),
    'knorm-cuda-0000000000000000',
    'other-cpu-0000000000000000',
    'knorm-cpu-1111111111111111.5678.tmp',
  ];
  assert.equal(left.sort(), stay.sort());
});

test('an unchanged policy is found without the compiler, a changed one is built again', async () => {
  const directory = fresh();
  const file = join(home, 'mine.ts');
  const text = readFileSync(knorm, 'utf8').replace("'knorm'", "'mine'");
  writeFileSync(file, text);
  const first = await build(file, { directory });
  const { mtimeMs } = statSync(first.library);
  const again = await build(file, { directory });
  assert.is(again.library, first.library);
  assert.is(JSON.stringify(again.plan), JSON.stringify(first.plan));
  assert.is(statSync(again.library).mtimeMs, mtimeMs);
  writeFileSync(file, text.replace('-slot.size', 'slot.size'));
  const changed = await build(file, { directory });
  assert.is.not(changed.plan.hash, first.plan.hash);
  assert.ok(existsSync(first.library), 'a library in use stays');
});

test('builds that move together with their policies are found again', async () => {
  const [here, there] = [join(home, 'here'), join(home, 'there')];
  mkdirSync(here);
  writeFileSync(join(here, 'mine.ts'), readFileSync(knorm, 'utf8'));
  const { plan } = await build(join(here, 'mine.ts'), { directory: join(here, 'generated') });
  renameSync(here, there);
  const found = builtBefore(join(there, 'mine.ts'), { directory: join(there, 'generated') });
  assert.is(found?.plan.hash, plan.hash);
  assert.ok(existsSync(found!.library));
});

test('an unchanged policy is found without loading TypeScript', async () => {
  const directory = fresh();
  // the debugger knows every script that a process has read
  const loaded = `${building(directory)}
  import { Session } from 'node:inspector';
  const session = new Session();
  session.connect();
  let read = false;
  // ts-morph brings TypeScript as a file of its own
  session.on('Debugger.scriptParsed', ({ params }) => (read ||= params.url.includes('/typescript')));
  session.post('Debugger.enable');
  console.log(read);`;
  const own = process.env.SKV_MARCH || 'native';
  const marches = [own, own === 'x86-64' ? 'native' : 'x86-64', own]; // a build for other flags does not take its place
  const outputs: string[] = [];
  for (const march of marches) outputs.push((await elsewhere(loaded, { ...unoptimised, SKV_MARCH: march })).output);
  assert.match(outputs[0], /policy\.so\ntrue\n$/);
  assert.match(outputs[1], /policy\.so\ntrue\n$/);
  assert.match(outputs[2], /policy\.so\nfalse\n$/);
});

test('a file that is only re-exported belongs to the build, in the process that has read it before, too', async () => {
  const directory = fresh();
  const file = join(home, 'reexports.ts');
  const text = readFileSync(knorm, 'utf8').replace("'knorm'", "'reexports'").replace('-slot.size', '-rate(slot.size)');
  writeFileSync(file, `\uFEFFimport { rate } from './lib.ts';\n${text}`);
  writeFileSync(join(home, 'lib.ts'), "export { rate } from './rate.ts';\n");
  writeFileSync(join(home, 'rate.ts'), 'export const rate = (x: number) => x * 2;\n');
  const first = await build(file, { directory });
  const { mtimeMs } = statSync(first.library);
  assert.is(statSync((await build(file, { directory })).library).mtimeMs, mtimeMs, 'unchanged: found');
  writeFileSync(join(home, 'rate.ts'), 'export const rate = (x: number) => x * 3;\n');
  const changed = await build(file, { directory });
  assert.is.not(changed.plan.hash, first.plan.hash);
  assert.match(readFileSync(join(changed.directory, 'policy.cpp'), 'utf8'), /\* 3\.0f/);
});

test('a state may be called like a lane of ours', async () => {
  const file = join(home, 'shift.ts');
  writeFileSync(
    file,
    `import { definePolicy, topK } from 'skv';
export default definePolicy({ name: 'shift', observe: 'every', accumulate: { shift: { init: 0, next: (x, s) => x + s.attn } },
  score: (s) => s.shift, keep: topK(64) });\n`,
  );
  const { sources } = await compileSource(file);
  assert.match(sources['policy.cpp'], /shift_lane = 0, class_lane = 0/);
});

test('what the compiler does not know, and a folder that takes no files, are no bugs of skv', async () => {
  const march = await elsewhere(building(fresh()), { SKV_MARCH: 'avx1024' });
  assert.match(march.output, /CompileError The C\+\+ compiler knows no architecture avx1024\. Set SKV_MARCH/);
  const cxx = await elsewhere(building(fresh()), { CXX: '/nowhere/c++' });
  assert.match(cxx.output, /CompileError CXX names \/nowhere\/c\+\+, which does not run/);
  const readOnly = await elsewhere(building('/sys/skv'));
  assert.match(readOnly.output, /CompileError Builds cannot be written to \/sys\/skv .*SKV_GENERATED/);
});

test('CXX names another compiler: what the first has built is not taken for its own', async () => {
  const directory = fresh();
  await build(knorm, { directory });
  assert.ok(builtBefore(knorm, { directory }));
  const other = join(home, 'another');
  writeFileSync(other, '#!/bin/sh\necho another 1.0\n', { mode: 0o755 });
  try {
    process.env.CXX = other;
    assert.is(builtBefore(knorm, { directory }), undefined);
  } finally {
    process.env.CXX = quick;
  }
});

test('a lock left by a dead process is broken', async () => {
  const directory = fresh();
  const { plan } = await compileSource(knorm);
  mkdirSync(directory);
  writeFileSync(join(directory, `knorm-cpu-${plan.hash}.lock`), '4194303');
  await build(knorm, { directory });
});

test('a failed compile leaves nothing, and says what to install', async () => {
  const directory = fresh();
  const bare = join(home, 'empty');
  mkdirSync(bare);
  const { code, output } = await elsewhere(building(directory), { PATH: bare });
  assert.is(code, 1);
  assert.match(output, /CompileError CMake is missing\. Install it .*apt-get install cmake/);
  assert.equal(readdirSync(directory), []);
});

test('a full disk is named, and keeps nothing of the build', async () => {
  const directory = fresh();
  mkdirSync(directory);
  const program = join(home, 'build.mts');
  writeFileSync(program, building(directory));
  // its own mounts, so that only the build meets the small disk
  const on = (size: string) =>
    spawnSync(
      'unshare',
      [
        '-rm',
        'sh',
        '-c',
        `mount -t tmpfs -o size=${size} tmpfs ${directory} || exit 77; ${process.execPath} --import tsx ${program}; code=$?; ls -A ${directory}; exit $code`,
      ],
      { cwd: root, encoding: 'utf8' },
    );
  for (const size of ['8k', '64k', '256k']) {
    const { status, stdout, error } = on(size);
    if (error || status === 77 || !stdout) return; // no mounts for users here
    assert.is(status, 1, stdout);
    assert.match(stdout, /^CompileError The disk of .*generated-\d+ is full\. Free some space/, size);
    assert.is(stdout.trim().split('\n').length, 1, `nothing is left behind: ${stdout}`);
  }
  assert.match(on('32m').stdout, /policy\.so\nindex-.*json\nknorm-cpu-/, 'with room it builds');
});

test('an error in generated code points at the policy', async () => {
  const { sources } = await compileSource(knorm);
  const folder = fresh();
  mkdirSync(folder);
  writeFileSync(join(folder, 'policy.cpp'), sources['policy.cpp'].replace('skv_norm(', 'skv_nrom('));
  const line =
    readFileSync(knorm, 'utf8')
      .split('\n')
      .findIndex((text) => text.includes('norm(slot.key)')) + 1;
  try {
    await targets.cpu.compiler({}).compile(folder, knorm);
    assert.unreachable('it compiles');
  } catch (error) {
    assert.match((error as Error).message, /internal: the generated code of .*knorm\.ts does not compile/);
    assert.match((error as Error).message, new RegExp(`knorm\\.ts:${line}:\\d+: error: .*skv_nrom`));
  }
});

test('an error after an expression points at the generated file', async () => {
  const { sources } = await compileSource(knorm);
  const folder = fresh();
  mkdirSync(folder);
  const text = sources['policy.cpp'].replace('skv_policy table(', 'skv_polity table(');
  writeFileSync(join(folder, 'policy.cpp'), text);
  const line = text.split('\n').findIndex((each) => each.startsWith('skv_polity')) + 1;
  await targets.cpu
    .compiler({})
    .compile(folder, knorm)
    .then(
      () => assert.unreachable('it compiles'),
      (error: Error) => assert.match(error.message, new RegExp(`policy\\.cpp:${line}:\\d+: error`)),
    );
});

test.run();
