/**
 * A stranger's first minutes: the packed tarball, installed into an empty folder whose name has a blank, outside the
 * clone. init, build, test and run work there, `skv` is found by TypeScript and by Node, and the package's own folder is
 * left as it came: what skv builds goes to the user's cache. The native build is kept in build/package, so that an
 * unchanged tree compiles it once.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../../toolchain/folders.mjs';
import { ggufParts, writeGguf } from '../model/write.ts';
import { filesBelow, install, npx, pack } from './pack.ts';

const folder = mkdtempSync(join(tmpdir(), 'skv install-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const app = join(folder, 'an app');
const cache = join(folder, 'the cache');
mkdirSync(app);
const { filename, files } = pack(folder);
install(app, join(folder, filename));

const kept = join(root, 'build', 'package');
if (existsSync(kept)) cpSync(kept, cache, { recursive: true, preserveTimestamps: true });

const { SKV_GENERATED: _, NODE_OPTIONS: __, ...outer } = process.env;
const env = { ...outer, SKV_CACHE: cache, NO_COLOR: '1' };
const skv = (...args: string[]) => {
  const { status, stdout, stderr } = npx(app, env, 'skv', ...args);
  assert.is(status, 0, `skv ${args.join(' ')}: ${stderr}`);
  return stdout;
};
const node = (...args: string[]) => spawnSync(process.execPath, args, { cwd: app, encoding: 'utf8', env });

test('skv init writes a policy that TypeScript accepts there', () => {
  skv('init');
  assert.match(readFileSync(join(app, 'mine.ts'), 'utf8'), "from 'skv'");
  const tsc = join(app, 'node_modules', 'typescript', 'bin', 'tsc');
  const right = node(tsc, '--noEmit', '-p', '.');
  assert.is(right.status, 0, right.stdout);
  // and sees types: the same settings refuse what is wrong
  writeFileSync(
    join(app, 'wrong.ts'),
    readFileSync(join(app, 'mine.ts'), 'utf8').replace('slot.mass,', 'slot.nothing,'),
  );
  const wrong = node(tsc, '--noEmit', '-p', '.');
  rmSync(join(app, 'wrong.ts'));
  assert.match(wrong.stdout, /wrong\.ts\(\d+,\d+\): error TS2339: Property 'nothing'/);
});

test('every strict setting of TypeScript, and each way to find modules, accepts it', () => {
  const strict = ['strict', 'noUncheckedIndexedAccess', 'exactOptionalPropertyTypes', 'noUnusedLocals'];
  strict.push('noPropertyAccessFromIndexSignature', 'noImplicitOverride', 'noImplicitReturns', 'noUnusedParameters');
  const tsc = join(app, 'node_modules', 'typescript', 'bin', 'tsc');
  const modules = [
    { module: 'NodeNext', moduleResolution: 'NodeNext' },
    { module: 'ESNext', moduleResolution: 'Bundler' },
  ];
  for (const [i, how] of modules.entries()) {
    const compilerOptions = { target: 'ES2022', types: [], skipLibCheck: false, noEmit: true, ...how };
    const all = { ...compilerOptions, ...Object.fromEntries(strict.map((name) => [name, true])) };
    const config = join(app, `tsconfig.${i}.json`);
    writeFileSync(config, JSON.stringify({ compilerOptions: all, files: ['mine.ts'] }));
    const { status, stdout } = node(tsc, '-p', config);
    rmSync(config);
    assert.is(status, 0, `${how.module}: ${stdout}`);
  }
});

test('Node finds skv, too', () => {
  const text = "import { topK } from 'skv'; console.log(JSON.stringify(topK(3)))";
  const { stdout, stderr } = node('--input-type=module', '-e', text);
  assert.is(stdout.trim(), '{"kind":"topK","budget":3}', stderr);
});

test('skv build, skv test', () => {
  const { name, library } = JSON.parse(skv('build', 'mine.ts', '--json'));
  assert.is(name, 'mine');
  assert.ok(library.startsWith(join(cache, 'generated')), library);
  const { runs } = JSON.parse(skv('test', 'mine.ts', '--runs', '20', '--json'));
  assert.is(runs, 20);
  const built = readdirSync(cache).filter((name) => name.startsWith('native-'));
  rmSync(kept, { recursive: true, force: true });
  // with the times that its build system compares
  for (const name of built) cpSync(join(cache, name), join(kept, name), { recursive: true, preserveTimestamps: true });
});

test('skv run', () => {
  writeFileSync(join(app, 'tiny.gguf'), writeGguf(ggufParts()));
  const out = skv(
    'run',
    '--model',
    'tiny.gguf',
    '--policy',
    'mine.ts',
    '--param',
    'budget=192',
    '--max-tokens',
    '4',
    'ab 1',
  );
  assert.ok(out.length > 0);
});

test('a package that only some commands use is asked for by name', () => {
  if (process.env.SKV_INSTALL !== 'npm') return; // the clone's own packages are within reach of links
  const { status, stderr } = npx(app, env, 'skv', 'demo', '--model', 'tiny.gguf');
  assert.is(status, 1);
  assert.match(stderr, /npm install @stdlib\/datasets-moby-dick/);
});

test('the package is as it came, and the command ran from a bundle', () => {
  assert.equal(filesBelow(join(app, 'node_modules', 'skv')), files.map(({ path }) => path).sort());
  const [bundle, ...others] = readdirSync(join(cache, 'js'));
  assert.equal(others, []);
  assert.ok(existsSync(join(cache, 'js', bundle, 'main.js')));
});

test.run();
