/** Where nvcc is looked for and in which order; its installation from wheels: whole or not at all, once, with clear errors. */
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findCuda } from '../../toolchain/cuda.ts';
import { CompileError } from '../../toolchain/process.ts';
import { cudaWheels, installWheels, wheelFolder } from '../../toolchain/wheels.ts';
import { root } from '../../toolchain/folders.mjs';

const home = mkdtempSync(join(tmpdir(), 'skv-cuda-'));
process.on('exit', () => rmSync(home, { recursive: true, force: true }));
const before = { ...process.env };
const path = process.env.PATH!.split(':').filter((folder) => !existsSync(join(folder, 'nvcc')));
/** A machine without CUDA and an empty cache, before every test. */
test.before.each(() => {
  process.env = { ...before, PATH: path.join(':'), SKV_CACHE: mkdtempSync(join(home, 'cache-')) };
  for (const name of ['CUDA_PATH', 'PIP_INDEX_URL', 'PIP_EXTRA_INDEX_URL']) delete process.env[name];
});
test.after(() => void (process.env = before));

/** A folder that looks like a toolkit of this version; its nvcc only tells that. */
function toolkit(name: string, version: string, libraries = 'lib64'): string {
  const folder = join(home, name);
  for (const each of ['bin', libraries]) mkdirSync(join(folder, each), { recursive: true });
  writeFileSync(join(folder, libraries, 'libcudart_static.a'), '');
  writeFileSync(
    join(folder, 'bin', 'nvcc'),
    `#!/bin/sh\necho "Cuda compilation tools, release ${version}, V${version}"\n`,
  );
  chmodSync(join(folder, 'bin', 'nvcc'), 0o755);
  return folder;
}

function refusal(path?: string): string {
  try {
    return assert.unreachable(`found ${findCuda(path).home}`) as never;
  } catch (error) {
    assert.instance(error, CompileError, String((error as Error).stack));
    return (error as Error).message;
  }
}

test('--cuda-path, then CUDA_PATH, then the PATH, then the wheels', () => {
  const [flag, env, onPath] = ['flag', 'env', 'on-path'].map((name, i) => toolkit(name, `13.0.${i}`));
  mkdirSync(dirname(wheelFolder()), { recursive: true });
  const wheels = toolkit('wheels/nvidia/cu13', '13.0.88', 'lib');
  spawnSync('cp', ['-r', join(home, 'wheels'), wheelFolder()]);
  assert.ok(existsSync(wheels));
  process.env.CUDA_PATH = env;
  process.env.PATH = [...path, join(onPath, 'bin')].join(':');
  assert.equal(findCuda(flag), {
    from: '--cuda-path',
    home: flag,
    nvcc: join(flag, 'bin/nvcc'),
    libraries: join(flag, 'lib64'),
    version: '13.0.0',
  });
  assert.is(findCuda().home, env);
  delete process.env.CUDA_PATH;
  assert.is(findCuda().home, onPath);
  process.env.PATH = path.join(':');
  const found = findCuda();
  assert.is(found.from, 'wheels');
  assert.is(found.libraries, join(wheelFolder(), 'nvidia/cu13/lib'));
});

test('a link to nvcc on the PATH leads to its toolkit; one that is too old is passed over', () => {
  const links = join(home, 'links');
  mkdirSync(links);
  spawnSync('ln', ['-s', join(toolkit('linked', '12.8.61'), 'bin', 'nvcc'), links]);
  process.env.PATH = [...path, join(toolkit('old', '11.8.89'), 'bin'), links].join(':');
  assert.is(findCuda().home, join(home, 'linked'));
  process.env.PATH = [...path, join(home, 'old', 'bin')].join(':');
  assert.match(refusal(), /old\/bin\/nvcc is 11\.8\.89, 12\.8 or newer is needed\n.*skv doctor --install-cuda/);
});

test('nothing found: says so and names the command', () => {
  assert.match(refusal(), /There is no CUDA compiler .*\n.*skv doctor --install-cuda$/);
});

test('a wrong folder says what was looked for, whoever named it', () => {
  const empty = join(home, 'nothing');
  const message = refusal(empty);
  assert.match(message, `--cuda-path ${empty} is no CUDA toolkit`);
  assert.match(message, `${empty}/bin/nvcc does not exist`);
  assert.match(message, `${empty}/nvidia/cu13/bin/nvcc does not exist`);
  const bare = toolkit('bare', '13.0.1');
  rmSync(join(bare, 'lib64'), { recursive: true });
  assert.match(refusal(bare), /has no libcudart_static\.a \(looked in lib64, lib, /);
  process.env.CUDA_PATH = empty;
  assert.match(refusal(), `CUDA_PATH ${empty} is no CUDA toolkit`);
});

test('a pip --target folder is a --cuda-path', () => {
  toolkit('target/nvidia/cu13', '13.0.88', 'lib');
  assert.is(findCuda(join(home, 'target')).home, join(home, 'target/nvidia/cu13'));
});

/** Wheels with the pinned names and versions and a line of content each, for pip to find in a folder. */
function tinyWheels(): string {
  const folder = join(home, 'find-links');
  if (existsSync(folder)) return folder;
  mkdirSync(folder);
  const program = `
import re, sys, zipfile
for line in open(sys.argv[1]):
    if '==' not in line or line.startswith('#'): continue
    name, version = line.strip().split('==')
    plain = name.replace('-', '_')
    info = f'{plain}-{version}.dist-info'
    with zipfile.ZipFile(f'{sys.argv[2]}/{plain}-{version}-py3-none-any.whl', 'w') as z:
        z.writestr(f'nvidia/cu13/{plain}.txt', name)
        z.writestr(f'{info}/METADATA', f'Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\nRequires-Dist: nowhere-to-be-found\\n')
        z.writestr(f'{info}/WHEEL', 'Wheel-Version: 1.0\\nGenerator: skv\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
        z.writestr(f'{info}/RECORD', '')
`;
  const { status, stderr } = spawnSync('python3', ['-c', program, cudaWheels.requirements, folder], {
    encoding: 'utf8',
  });
  assert.is(status, 0, stderr);
  return folder;
}

const installing = `
  import { installWheels } from ${JSON.stringify(join(root, 'toolchain', 'wheels.ts'))};
  await installWheels().then(console.log, (error) => { console.log(error.name, error.message); process.exit(1); });`;

/** Installs in another process. */
function elsewhere(env: Record<string, string>): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', installing], {
    cwd: root,
    env: { ...process.env, ...env },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, output })));
}

const left = () => readdirSync(process.env.SKV_CACHE!);

test('two processes install at once: both succeed, pip runs once, nothing is left behind', async () => {
  const counter = join(home, 'python');
  writeFileSync(counter, `#!/bin/sh\necho x >> ${join(home, 'ran')}\nexec python3 "$@"\n`, { mode: 0o755 });
  mkdirSync(`${wheelFolder()}.12345678.tmp`); // of a process that was killed
  const env = { PYTHON: counter, PIP_NO_INDEX: '1', PIP_FIND_LINKS: tinyWheels() };
  const both = await Promise.all([elsewhere(env), elsewhere(env)]);
  for (const { code, output } of both) assert.is(code, 0, output);
  assert.equal(readFileSync(join(home, 'ran'), 'utf8'), 'x\n');
  assert.equal(left(), [wheelFolder().split('/').at(-1)]);
  assert.equal(
    readdirSync(join(wheelFolder(), 'nvidia', 'cu13')).sort(),
    ['cccl', 'crt', 'nvcc', 'runtime'].map((name) => `nvidia_cuda_${name}.txt`).concat('nvidia_nvvm.txt'),
  );
});

test('failures of pip say what to do and leave nothing', async () => {
  const bare = join(home, 'bare-python');
  writeFileSync(bare, '#!/bin/sh\nexec python3 -S "$@"\n', { mode: 0o755 }); // without what is installed beside it
  const cases: [Record<string, string>, RegExp][] = [
    [{ PYTHON: join(home, 'no-python') }, /no-python was not found\. Install Python 3 with pip/],
    [{ PYTHON: bare }, /bare-python has no pip\. Install Python 3 with pip .* skv doctor --install-cuda/],
    [
      { PIP_INDEX_URL: 'http://127.0.0.1:9/', PIP_RETRIES: '1' },
      /No package index can be reached[\s\S]*pip download --no-deps/,
    ],
    [
      { PIP_NO_INDEX: '1', PIP_FIND_LINKS: home },
      /pip could not install the CUDA compiler: ERROR: No matching distribution[\s\S]*PIP_FIND_LINKS=wheels skv doctor/,
    ],
  ];
  for (const [env, says] of cases) {
    const { code, output } = await elsewhere(env);
    assert.is(code, 1, output);
    assert.match(output, says, output);
    assert.equal(left(), []);
  }
});

test('a full disk is named and keeps nothing', () => {
  const cache = process.env.SKV_CACHE!;
  const program = join(home, 'install.mts');
  writeFileSync(program, installing);
  const script = `mount -t tmpfs -o size=64k tmpfs ${cache} || exit 77; ${process.execPath} --import tsx ${program}; code=$?; ls -A ${cache}; exit $code`;
  const env = { ...process.env, PIP_NO_INDEX: '1', PIP_FIND_LINKS: tinyWheels() };
  const { status, stdout, error } = spawnSync('unshare', ['-rm', 'sh', '-c', script], {
    cwd: root,
    env,
    encoding: 'utf8',
  });
  if (error || status === 77 || !stdout) return; // no mounts for users here
  assert.is(status, 1, stdout);
  assert.match(stdout, /^CompileError The disk of .* is full\. Free some space/);
  assert.is(stdout.trim().split('\n').length, 1, `nothing is left behind: ${stdout}`);
});

test('the real wheels: installed once for this machine, and their nvcc runs', async () => {
  process.env = { ...before, PATH: path.join(':') };
  delete process.env.CUDA_PATH;
  const folder = await installWheels();
  const found = findCuda();
  assert.is(found.from, 'wheels');
  assert.is(found.home, join(folder, 'nvidia/cu13'));
  assert.is(found.version, '13.0.88');
});

test.run();
