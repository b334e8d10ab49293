/** `skv table` as a user types it: a table for a model and how it was made, a policy that reads it, and refusals. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { version } from '../../toolchain/folders.mjs';
import { ggufParts, writeGguf } from '../model/write.ts';
import { skv } from './skv.ts';

const folder = mkdtempSync(join(tmpdir(), 'skv-table-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const model = join(folder, 'tiny.gguf');
const parts = ggufParts();
parts.metadata['llama.context_length'] = 1024;
writeFileSync(model, writeGguf(parts));
const text = join(folder, 'text.txt');
writeFileSync(text, 'The hen, the fox; and then the ten hens! '.repeat(40));
const tokens = join(folder, 'tokens.json');
writeFileSync(tokens, JSON.stringify(Array.from({ length: 90 }, (_, i) => i % 7)));

const table = (...more: string[]) => skv('table', 'duo', '--model', model, '--text', text, '--out', folder, ...more);

test('duo: gates of each layer and KV head, how they were made, and a policy that this model takes', async () => {
  const { code, err, out } = await table('--tokens', '120', '--sinks', '4', '--recent', '16');
  assert.is(code, 0, err);
  assert.match(out, /wrote .*duo\.json and .*duo\.ts/);
  const { made, gates } = JSON.parse(readFileSync(join(folder, 'duo.json'), 'utf8'));
  const layers = Number(parts.metadata['llama.block_count']);
  const heads = Number(parts.metadata['llama.attention.head_count_kv']);
  assert.equal([gates.length, ...gates.map((row: number[]) => row.length)], [layers, ...Array(layers).fill(heads)]);
  assert.ok(gates.flat().every((gate: number) => gate >= 0 && gate <= 1));
  assert.match(made.by, new RegExp(`^skv ${version} table duo$`));
  assert.equal([made.text, made.tokens, made.sinks, made.recent], ['text.txt', 120, 4, 16]);
  const traced = await skv(
    'trace',
    join(folder, 'duo.ts'),
    '--model',
    model,
    '--tokens',
    tokens,
    '--param',
    'recent=16',
  );
  assert.is(traced.code, 0, traced.err);
  assert.match(traced.out, /with full 0\.5, sinks 128, recent 16/);
});

test('the shipped table is refused by a model of another shape, with what to do', async () => {
  const { code, err } = await skv('trace', 'duo', '--model', model, '--tokens', tokens);
  assert.is(code, 1);
  assert.match(err, /table\.gates is for 30 layers of 3 KV heads, the model has .*skv table duo/);
});

test('what cannot be measured', async () => {
  for (const [words, says] of [
    [['--tokens', '20', '--sinks', '8', '--recent', '32'], /--tokens 20: a window of 40 slots sees them all/],
    [['--tokens', '100000'], /text\.txt has \d+ tokens; 100000 are needed/],
    [['--tokens', 'many'], /--tokens many: a whole number/],
  ] as const) {
    const { code, err } = await table(...words);
    assert.is(code, 1);
    assert.match(err, says);
  }
  assert.match((await skv('table', 'h2o')).err, /h2o has no table that can be measured; duo has/);
});

test.run();
