/**
 * A full bundle, small: unpacked elsewhere, without Node on the PATH, its server answers on an emulated device what the CPU
 * answered here, and is measured; what is wrong is told and stops nothing else.
 */
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { emulatedMachine } from '../emulation/toolkit.ts';
import { tinyFamilies } from '../oracle/families.ts';
import { checkSize, writeBundle } from './bundle.ts';
import { everything, pack, writeFull } from './full.ts';
import { type Answer, RECORDED, type Recorded, compare } from './serve/answers.ts';

const home = mkdtempSync(join(tmpdir(), 'skv-bundle-'));
process.on('exit', () => rmSync(home, { recursive: true, force: true }));
Object.assign(process.env, await emulatedMachine(home));

const made = join(home, 'made');
await writeBundle(made, []);
const families = tinyFamilies.filter(({ name }) => name === 'llama' || name === 'gemma2');
await writeFull(made, { ...everything(['h2o', 'none']), families, types: [], measured: [] });
pack(made, 'skv');
const bundle = join(home, 'there');
cpSync(made, bundle, { recursive: true });
rmSync(made, { recursive: true });
mkdirSync(join(bundle, 'build'));
symlinkSync(process.execPath, join(bundle, 'build', 'node')); // node.xz takes a minute to pack

/** A PATH with every command but Node's. */
const commands = join(home, 'commands');
mkdirSync(commands);
const found = new Map<string, string>();
for (const folder of process.env
  .PATH!.split(':')
  .filter((each) => existsSync(each))
  .reverse())
  for (const name of readdirSync(folder)) found.set(name, join(folder, name));
for (const [name, path] of found) if (!/^(node|npm|npx|corepack)/.test(name)) symlinkSync(path, join(commands, name));

function gpu(args: string[], env: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync(join(bundle, 'gpu.sh'), args, {
    cwd: bundle,
    env: { ...process.env, PATH: commands, ...env },
    encoding: 'utf8',
  });
  return { status, out: stdout, err: stderr };
}

test('serve-check: every line is ok, and is kept where it was asked for', () => {
  assert.is(spawnSync('node', [], { env: { PATH: commands } }).error?.message, 'spawnSync node ENOENT');
  const out = join(home, 'out');
  const { status, out: said } = gpu(['serve-check'], { OUT: out });
  assert.is(status, 0, said);
  const table = readFileSync(join(out, 'serve-check.md'), 'utf8');
  assert.is(readFileSync(join(out, 'serve-check.log'), 'utf8'), table);
  for (const words of [
    /^\| ok \| llama \| a server \| ready after/m,
    /^\| ok \| llama \| none \| 16 tokens, log-probabilities within \S+e-\d/m,
    /^\| ok \| llama in bf16 \| none \| log-probabilities of 75 tokens are 0\.0\S+ apart/m,
    /^\| ok \| llama, pages in the host's memory \| h2o \| 16 tokens/m,
    /^\| ok \| gemma2 \| h2o \| 16 tokens/m,
    /^\| ok \| llama \| all at once \| 2 requests/m,
    /^\| ok \| llama \| a chat/m,
    /^\| ok \| llama \| a stream/m,
    /^\| ok \| llama \| clients that go away \| 6 left; then 16 tokens/m,
    /^\| ok \| llama \| \/health and \/metrics \| \d+ tokens/m,
    /^\| ok \| llama \| a full pool \| 4 requests, [1-9]\d* preemptions/m,
    /^all passed$/m,
  ])
    assert.match(table, words);
  const built = readdirSync(join(bundle, 'skv', 'generated'));
  assert.equal(
    built.filter((name) => name.startsWith('attention-')),
    [],
    'nothing was compiled again',
  );
});

for (const place of ['device', 'host'])
  test(`bench-serve: a row for each policy, pages in the ${place}'s memory`, () => {
    const tiny = { PROMPT: '48', OUTPUT: '6', REQUESTS: '3', ALONE: '1', MEMORY: '1MiB', POLICIES: 'none,h2o' };
    const flags = [
      '--model',
      'skv/models/llama',
      '--kv-cache-dtype',
      'f32',
      '--dtype',
      'f32',
      '--max-num-seqs',
      '4',
      '--place',
      place,
    ];
    const { status, out } = gpu(['bench-serve', ...flags], tiny);
    assert.is(status, 0, out);
    const [head, , ...rows] = out.split('\n').filter((each) => each.startsWith('|'));
    assert.equal(
      rows.map((row) => row.split(' | ')[0]),
      ['| none', '| h2o'],
    );
    for (const row of rows) {
      assert.is(row.split(' | ').length, head.split(' | ').length);
      assert.match(row, / 0 \|$/, 'none failed');
    }
    assert.match(out, /\nA pool of .* 3 requests at once of 48 \+ 6 tokens, policies keep 0\.125/);
  });

test('a policy that was not built becomes kernels there', () => {
  const command = [join(bundle, 'skv', 'cli', 'skv.mjs'), 'explain', 'tova', '--source', '--target', 'cuda'];
  const { status, stdout, stderr } = spawnSync(join(bundle, 'build', 'node'), command, { encoding: 'utf8' });
  assert.is(status, 0, stderr);
  assert.match(stdout, /tova/);
});

test('what fails is told, and the rest goes on: a policy that does not start, an answer that is another', () => {
  const file = join(bundle, 'skv', 'models', RECORDED);
  const [first] = JSON.parse(readFileSync(file, 'utf8')) as Recorded[];
  const [full, h2o] = first.cases;
  h2o.answer.tokens[3] = 'another';
  const cases = [full, h2o, { ...full, asked: { ...full.asked, policy: 'nowhere' } }];
  const policies = ['none', 'h2o', 'nowhere'];
  writeFileSync(file, JSON.stringify([{ ...first, policies, cases, clients: false }]));
  const { status, out } = gpu(['serve-check']);
  assert.is(status, 1);
  const verdicts = out.match(/^\| (ok|FAIL) \| llama \| [^|]+/gm)!.map((each) => each.replaceAll('| ', '').trim());
  const [starts, fails] = ['ok llama a server', 'FAIL llama a server'];
  assert.equal(verdicts, [fails, starts, 'ok llama none', starts, 'FAIL llama h2o', fails]);
  assert.match(out, /There is no policy nowhere/);
  assert.match(out, /token 3 is \S+, the CPU's another, which leads by/);
  assert.match(out, /\n3 failed/);
});

test('answers are compared as far as two sums can differ', () => {
  const wanted: Answer = { tokens: ['a', 'b'], logprobs: [-1, -2], leads: [0.5, 1e-4] };
  const compared = (change: Partial<Answer>, precision: 'f32' | 'bf16' = 'f32') =>
    compare({ ...wanted, ...change }, wanted, { precision, tolerance: 1e-3 });
  assert.match(compared({ logprobs: [-1.0005, -2] }), /^2 tokens, .* within 5\.0e-4$/);
  assert.match(compared({ tokens: ['a', 'c'] }), /^1 tokens, then a tie \(1\.0e-4\)$/);
  assert.throws(() => compared({ tokens: ['c', 'b'] }), /token 0 is c, the CPU's a, .* 0\.50/);
  assert.throws(() => compared({ logprobs: [-1, -2.1] }), /token 1: .* -2\.1, the CPU's -2/);
  assert.throws(() => compared({ logprobs: [-1, Number.NaN] }), /NaN/);
  assert.throws(() => compared({ tokens: ['a'] }), /token 1 is undefined/);
  assert.match(compared({ logprobs: [-1.0015, -2] }, 'bf16'), /of 2 tokens are 0\.00075 apart on average$/);
  assert.throws(
    () => compared({ logprobs: [-1.002, -2.002] }, 'bf16'),
    /are 0\.00\d+ apart on average, and may be 0\.001/,
  );
  assert.throws(() => compared({ logprobs: [-1] }, 'bf16'), /NaN apart/);
});

test('a bundle that could not go over is refused; one without --full says so', () => {
  assert.throws(() => checkSize(bundle, 1000), /The bundle has \d+ bytes, more than 1000/);
  rmSync(join(bundle, 'skv'), { recursive: true });
  rmSync(join(bundle, 'skv.tar.xz'));
  const { status, err } = gpu(['serve-check']);
  assert.is(status, 1);
  assert.match(err, /made without --full/);
});

test.run();
