/** The commands that need no model: help, exit codes, and a policy from `init` to `test` outside the repository. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { elsewhere, skv } from './skv.ts';
import { storedFiles } from '../model/write.ts';

test('every command has help with an example', async () => {
  const { code, out } = await skv('--help');
  assert.is(code, 0);
  const commands = [...out.matchAll(/^ {2}([a-z]+)(?= .*$)/gm)]
    .map((match) => match[1])
    .filter((name) => name !== 'help');
  for (const name of [
    'init',
    'build',
    'explain',
    'test',
    'trace',
    'run',
    'eval',
    'serve',
    'bench',
    'doctor',
    'pull',
    'errors',
    'demo',
  ])
    assert.ok(commands.includes(name), name);
  const helps = await Promise.all(commands.map((name) => skv(name, '--help')));
  helps.forEach((help, i) => {
    assert.is(help.code, 0, commands[i]);
    assert.match(help.out, /Example:\n {2}(skv|npm)/, commands[i]);
  });
});

test('init, build and test of a first policy, outside the repository', async () => {
  assert.is((await skv('init', 'first.ts')).code, 0);
  const again = await skv('init', 'first.ts');
  assert.is(again.code, 1);
  assert.match(again.err, /exists already/);
  const built = await skv('build', 'first.ts', '--json');
  assert.is(built.code, 0, built.err);
  const { name, library } = JSON.parse(built.out);
  assert.is(name, 'first');
  assert.ok(existsSync(library));
  const tested = await skv('test', 'first.ts', '--runs', '20', '--json');
  assert.equal(JSON.parse(tested.out), { policy: 'first', runs: 20, seed: 1, nanSeed: null, advice: [] }, tested.err);
});

test('a policy’s mistakes are printed in full, and nothing is written', async () => {
  const bad = readFileSync(join(elsewhere, 'first.ts'), 'utf8')
    .replace("name: 'first'", "name: 'Bad Name'")
    .replace('slot.mass,', 'slot.mass ** 2,');
  writeFileSync(join(elsewhere, 'bad.ts'), bad);
  const before = readdirSync(join(elsewhere));
  const { code, err, out } = await skv('build', 'bad.ts');
  assert.is(code, 1);
  assert.is(out, '');
  assert.match(err, /✘ bad.ts:\d+:\d+ {2}unsupported-syntax/);
  assert.match(err, /hint: use pow\(x, y\)/);
  assert.not.match(err, /at .*\.ts:\d+/, 'no stack trace');
  assert.equal(readdirSync(elsewhere), before);
});

test('a score that only states out of reach make NaN is fine, and files may import each other', async () => {
  const text = readFileSync(join(elsewhere, 'first.ts'), 'utf8')
    .replace("name: 'first'", "name: 'roots'")
    .replace('slot.mass,', 'half(root(slot.mass)),');
  writeFileSync(join(elsewhere, 'roots.ts'), `import { root } from './a.ts';\nimport { half } from './b.ts';\n${text}`);
  writeFileSync(
    join(elsewhere, 'a.ts'),
    "import { sqrt } from 'skv';\nimport { half } from './b.ts';\nexport const root = (x: number) => sqrt(half(x));\nexport const two = 2;\n",
  );
  writeFileSync(
    join(elsewhere, 'b.ts'),
    "import { two } from './a.ts';\nexport const half = (x: number) => x / two;\n",
  );
  const { code, err } = await skv('test', 'roots.ts', '--runs', '20');
  assert.is(code, 0, err);
});

test('mistakes of the user end with 1 and say what to do', async () => {
  const wrong: [string[], RegExp][] = [
    [['build', 'h20'], /Did you mean h2o\?/],
    [['build', 'no/such/file.ts'], /neither a file nor one of/],
    [['build', 'h2o', '--target', 'tpu'], /cpu and cuda are possible/],
    [['build', 'h2o', '--target', 'cuda', '--arch', '75'], /compute capabilities from 80 on/],
    [['build', 'h2o', '--target', 'cuda', '--head-dim', '48'], /64, 80, 96, 128 and 256/],
    [['build', 'h2o', '--target', 'cuda', '--kv', 'f64'], /bf16, f16 and f32/],
    [
      ['build', 'h2o', '--target', 'cuda', '--cuda-path', 'nowhere'],
      /nowhere is no CUDA toolkit:\n.*bin\/nvcc does not exist/,
    ],
    [['explain', 'h2o', '--target', 'cpu,cuda'], /explain shows one target/],
    [['test', 'h2o', '--runs', 'many'], /--runs many: a whole number from 1/],
    [['trace', 'h2o'], /--prompt-file FILE or as --tokens FILE/],
    [['trace', 'h2o', '--tokens', 'none.json', '--model', 'none.gguf'], /none/],
    [['serve', '--port', '99999'], /0 to 65535/],
    [['serve', '--threads', '0'], /--threads 0: a whole number from 1/],
    [['serve', '--cpu', 'a'], /--cpu a: .* such as 0,2-4/],
    [['run', '--temperature', 'hot', 'Hello'], /--temperature hot: a number from 0/],
    [['serve', '--sparse-kv-cache-type', 'bad.ts'], /unsupported-syntax/],
    [['eval', 'bleu', '--text', 'x'], /unknown command 'bleu'/],
    [['eval', 'keys', '--text', 'x', '--trials', 'some'], /--trials some: a whole number from 1/],
    [['pull', 'hf:nonsense'], /hf:owner\/repo/],
    [['pull', './none.gguf'], /no such file/],
    [['nonsense'], /unknown command/],
    [['explain'], /missing required argument/],
  ];
  const results = await Promise.all(wrong.map(([args]) => skv(...args)));
  results.forEach(({ code, err }, i) => {
    assert.is(code, 1, `${wrong[i][0].join(' ')}: ${err}`);
    assert.match(err, wrong[i][1], wrong[i][0].join(' '));
    assert.not.match(err, /\n\s+at /, 'no stack trace');
  });
});

test('explain says what a policy reads and costs', async () => {
  const { code, out } = await skv('explain', 'h2o', '--json');
  assert.is(code, 0);
  const { plan, costs, size } = JSON.parse(out);
  assert.equal(plan.lanes, ['pos', 'mass']);
  assert.equal(
    costs.map((cost: { name: string }) => cost.name),
    ['append', 'attend', 'accumulate', 'observe', 'select', 'compact'],
  );
  assert.is(size.steady, 512);
  assert.is(size.peak, 513);
  const ratio = JSON.parse((await skv('explain', 'h2o', '--json', '--ratio', '0.25')).out);
  assert.is(ratio.size.steady, 1024, 'a quarter of 4096');
  assert.match((await skv('explain', 'keydiff', '--ir')).out, /score \(neg \(div \(dot slot.key across.anchor\)/);
  assert.match((await skv('explain', 'tova', '--source')).out, /struct Policy/);
});

test('explain says what a policy does to a model, whose windows are its own', async () => {
  const model = (config: object) => {
    const folder = mkdtempSync(join(elsewhere, 'model-'));
    for (const [name, bytes] of Object.entries(storedFiles())) writeFileSync(join(folder, name), bytes);
    const stated = JSON.parse(storedFiles()['config.json'] as string);
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...stated, ...config }));
    return folder;
  };
  const half = model({ model_type: 'smollm3', use_sliding_window: true, sliding_window: 32, max_window_layers: 1 });
  const said = (await skv('explain', 'h2o', '--model', half)).out;
  assert.match(said, /after a prompt of 256 tokens .* over the layer without a window/);
  assert.match(
    said,
    /1 of 2 layers see the last 32 positions, .* whatever the policy\n {2}policy {4}thins the other layer$/m,
  );
  const { size } = JSON.parse((await skv('explain', 'h2o', '--model', half, '--json')).out);
  assert.is(size.windows[0].bytes, 2 * 16 * 2 * 32 * 2 + 2 * 16 * 2 * 4, 'keys, values and two lanes of two pages');
  const every = (await skv('explain', 'h2o', '--model', model({ model_type: 'mistral', sliding_window: 16 }))).out;
  assert.match(every, /2 of 2 layers see the last 16 positions, .*\n {2}policy {4}has no layer to thin/);
  assert.match((await skv('explain', 'h2o', '--model', model({}))).out, /over all layers and heads/);
  assert.match((await skv('explain', 'h2o', '--plan', '--model', half)).err, /cannot be used with/);
});

test('doctor finds what is here', async () => {
  const { code, out } = await skv('doctor', '--json');
  assert.is(code, 0);
  const found = JSON.parse(out);
  assert.ok(found['C++ compiler'].found);
  assert.match(found['native addon'].found, /generic/);
});

test('serve refuses a limit that is none, before it opens the model', async () => {
  for (const [flag, value] of [
    ['--request-timeout', 'soon'],
    ['--shutdown-timeout', '-1'],
    ['--max-queue', '0'],
    ['--max-body', 'large'],
    ['--port', '70000'],
  ]) {
    const { code, err } = await skv('serve', flag, value, '--model', 'nowhere.gguf');
    assert.is(code, 1, flag);
    assert.match(err, new RegExp(`^skv: ${flag} ${value}: .*(needed|a size)`), flag);
  }
});

test('what the system refuses is told in a sentence, with 1', async () => {
  const said = (error: object) => {
    const text = `import { main } from ${JSON.stringify(new URL('../../cli/output.ts', import.meta.url).href)};
      await main(async () => { throw Object.assign(new Error('raw'), ${JSON.stringify(error)}); });`;
    const { status, stderr } = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', text], {
      encoding: 'utf8',
    });
    return `${status} ${stderr.trim().split('\n')[0]}`;
  };
  assert.is(said({ code: 'ENOENT', path: '/nope' }), '1 skv: /nope: there is no such file.');
  assert.match(said({ code: 'EADDRINUSE', address: '127.0.0.1', port: 80 }), /^1 skv: Port 80 .* is taken: .*--port/);
  assert.match(said({ code: 'EADDRNOTAVAIL', address: '203.0.113.7' }), /^1 skv: .* no address 203.0.113.7: .*--host/);
  assert.match(said({ code: 'EACCES', syscall: 'listen', port: 80 }), /^1 skv: Port 80 .* above 1023/);
  assert.match(said({}), /^2 skv: internal error: Error: raw/);
});

test.run();
