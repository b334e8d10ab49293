/** `skv bench` as a user runs it, on a tiny model: kernels, serve, help, mistakes, and a peer that is not there. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { objectsOf } from '../../bench/helper.ts';
import { missingNotes } from '../../bench/peers/report.ts';
import { openvinoPython } from '../../bench/peers/venv.ts';
import { WeightType } from '../../runtime/contract/records.ts';
import { skv } from '../cli/skv.ts';
import { ggufParts, writeGguf } from '../model/write.ts';
import { serve as startTextual } from '../server/textual.ts';

const folder = mkdtempSync(join(tmpdir(), 'skv-bench-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const model = join(folder, 'tiny.gguf');
const parts = ggufParts();
parts.metadata['llama.context_length'] = 1024;
writeFileSync(model, writeGguf(parts));

interface Table {
  head: string[];
  rows: (string | number | null)[][];
}

test('kernels: every pass and every weight format, beside limits of the same run', async () => {
  const { code, out, err } = await skv('bench', 'kernels', '--model', model, '--quick', '--runs', '1', '--json');
  assert.is(code, 0, err);
  const { data, machine } = JSON.parse(out);
  assert.ok(machine.cores.length > 0);
  for (const name of ['read', 'f32', 'section', 'wake']) assert.ok(data.limits[name][0] > 0, name);
  const kernels: string[] = data.rows.map(({ kernel }: { kernel: string }) => kernel);
  for (const name of Object.keys(WeightType)) assert.ok(kernels.includes(`dense ${name}`), name);
  for (const name of [
    'append (none)',
    'attend (none)',
    'attend and observe (h2o)',
    'attend, prefill (none)',
    'attend and observe every, prefill (h2o)',
    'attend and observe last 32, prefill (snapkv)',
    'replace one slot (h2o)',
    'select-compact (snapkv)',
  ])
    assert.ok(kernels.includes(name), name);
  for (const row of data.rows)
    assert.ok(row.seconds.median > 0 && row.bytes > 0 && Number.isFinite(row.ofBound), row.kernel);
});

test('kernels --policy: one policy’s passes beside attention without it', async () => {
  const mine = join(folder, 'mine.ts');
  writeFileSync(
    mine,
    `import { definePolicy, every, tokens, topK } from 'skv';
    export default definePolicy({
      name: 'mine',
      params: { budget: tokens(200), recent: tokens(160) },
      observe: [{ last: 24 }, 'decode'],
      accumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn } },
      score: (slot) => slot.mass,
      window: { first: 4, last: 'recent' },
      keep: topK('budget'),
      when: every(1),
    });\n`,
  );
  const asked = ['--policy', mine, '--policy', 'keydiff', '--policy', 'duo'];
  const { code, out, err } = await skv(
    'bench',
    'kernels',
    '--model',
    model,
    '--quick',
    '--runs',
    '1',
    '--json',
    ...asked.slice(0, 4),
  );
  assert.is(code, 0, err);
  const { data, command } = JSON.parse(out);
  assert.match(command, / --policy mine --policy keydiff$/);
  assert.equal(
    data.rows.map(({ kernel, size }: Record<string, string>) => `${kernel} ${size.replace(/, 2 layers$/, '')}`),
    [
      'attend (none) 128 slots',
      'attend, prefill (none) 256 slots, 128 tokens',
      'attend and observe (mine) 128 slots',
      'attend and observe last 24, prefill (mine) 256 slots, 128 tokens',
      'replace one slot (mine) 165 → 164 slots',
      'select-compact (mine) 512 → 164 slots',
      'attend (keydiff) 128 slots',
      'attend, prefill (keydiff) 256 slots, 128 tokens',
      'replace one slot (keydiff) 129 → 128 slots',
      'select-compact (keydiff) 512 → 128 slots',
    ],
  );
  for (const row of data.rows) assert.ok(row.seconds.median > 0, row.kernel);
  const refused = await skv('bench', 'kernels', '--model', model, '--quick', ...asked);
  assert.is(refused.code, 1);
  assert.match(refused.err, /duo: table\.gates is for 30 layers/);
  assert.ok(!refused.err.includes('at '), 'a sentence, no stack');
});

test('start: seconds and memory of a server until it answers', async () => {
  const { code, out, err } = await skv('bench', 'start', '--model', model, '--quick', '--json');
  assert.is(code, 0, err);
  const { data, tables } = JSON.parse(out) as { tables: Table[]; data: Record<string, { median: number; n: number }> };
  assert.ok(data.ready.median > data.read.median);
  assert.ok(data.peak.median > 20 << 20, 'Node alone has more');
  assert.equal([data.ready.n, tables[0].rows.length], [1, 1]);
});

test('objects of sources that are gone are not linked', () => {
  const objects = join(folder, 'CMakeFiles/skv_cpu.dir/runtime/native/cpu');
  mkdirSync(objects, { recursive: true });
  for (const name of ['threads.cpp.o', 'gone.cpp.o']) writeFileSync(join(objects, name), '');
  assert.equal(objectsOf(folder), [join(objects, 'threads.cpp.o')]);
});

test('serve: an open-loop load on a server of its own', async () => {
  const asked = [
    '--rate',
    '40',
    '--requests',
    '6',
    '--prompt',
    '8-16',
    '--output',
    '4',
    '--policy',
    'h2o',
    '--policy',
    'none=2',
  ];
  const { code, out, err } = await skv('bench', 'serve', '--model', model, ...asked, '--json', '--out', folder);
  assert.is(code, 0, err);
  const { data, tables } = JSON.parse(out);
  const [result] = data.results;
  assert.equal([result.requests, result.failed, result.outputTokens], [6, 0, 24]);
  assert.ok(result.throughput > 0 && result.moments.length > 0);
  assert.is((tables as Table[])[0].rows.length, 1);
});

test('serve: latencies of a server that runs already, and the search for its limit', async () => {
  const server = await startTextual({}, { maxModelLen: 512 });
  try {
    const asked = ['--url', server.url, '--rate', '20', '--requests', '5', '--prompt', '8', '--output', '6'];
    const { code, out, err } = await skv(
      'bench',
      'serve',
      '--model',
      model,
      ...asked,
      '--saturate',
      '--slo-ttft',
      '0.0001',
      '--json',
    );
    assert.is(code, 0, err);
    const { data, notes } = JSON.parse(out);
    const [{ ttft, itl, seconds, attained, goodput }] = data.results;
    assert.ok(ttft.p50 > 0 && ttft.p99 >= ttft.p50 && ttft.p99 < seconds);
    assert.ok(itl.p50 >= 0 && itl.p99 < seconds);
    assert.equal([attained, goodput], [0, 0], 'nothing is that quick');
    assert.is(data.search.runs.length, 4, 'the first rate, and three below it');
    assert.match(notes.join('\n'), 'was not met');
    const answered = await server.post('/v1/completions', { prompt: 'a', max_tokens: 1 });
    assert.is(answered.status, 200, 'and the server is still there');
  } finally {
    await server.stop();
  }
});

test('mistakes end with 1 and say what to do', async () => {
  const short = join(folder, 'short.txt');
  writeFileSync(short, 'Once upon a time.');
  const small = ['--prompt', '64', '--output', '8', '--prefix', '32', '--continue', '16'];
  const wrong: [string[], RegExp][] = [
    [['nothing'], /skv bench nothing: the measurements bounds, kernels, .*policies are possible/],
    [['--runs', '0'], /--runs 0: a whole number from 1/],
    [['peers', '--runs', '0'], /--runs 0: a whole number from 1/],
    [['serve', '--prompt', 'long'], /--prompt long: write 512/],
    [['serve', '--rate', '-1', '--model', model], /--rate -1: a number above 0/],
    [['engine', '--policy', 'nothing'], /--policy nothing: what these cost is measured: streaming, h2o/],
    [['engine', '--context', '600'], /--context 600: a whole number from 672/],
    [['engine', '--context', '9000'], /--context 9000: at most 7000 tokens/],
    [['policies', '--model', model], /more than the context of 1024/],
    [['policies', '--model', model, ...small, '--text', short], /short\.txt has \d+ tokens; 48 are needed/],
    [['policies', '--model', model, ...small, '--text', `${short}.not`], /--text .*short\.txt\.not: it cannot be read/],
  ];
  for (const [args, message] of wrong) {
    const { code, err } = await skv('bench', ...args);
    assert.is(code, 1, args.join(' '));
    assert.match(err, message);
  }
});

test('every measurement has help with an example', async () => {
  for (const name of ['bounds', 'kernels', 'engine', 'start', 'peers', 'serve', 'policies']) {
    const { code, out } = await skv('bench', name, '--help');
    assert.is(code, 0);
    assert.match(out, new RegExp(`Example:\\n {2}skv bench ${name}`));
  }
});

test('a peer that cannot be installed is named with the reason and the command', async () => {
  const { PYTHON, SKV_CACHE } = process.env;
  Object.assign(process.env, { PYTHON: join(folder, 'no-python'), SKV_CACHE: folder });
  const said: string[] = [];
  try {
    await openvinoPython((line) => said.push(line));
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, 'ENOENT');
    assert.match((error as Error).message, /by hand: .*no-python -m venv .* -m pip install 'openvino-genai==/);
  } finally {
    for (const [name, value] of Object.entries({ PYTHON, SKV_CACHE }))
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
  }
  assert.match(said.join('\n'), 'installing');
  const notes = missingNotes(
    new Map([
      ['one', 'no\n  python'],
      ['two', 'no\n  python'],
      ['three', 'other'],
    ]),
  );
  assert.equal(notes, ['Not measured: one; two. no python', 'Not measured: three. other']);
});

test.run();
