/** What an author sees of the commands: JavaScript, TypeScript's own check, NaN, and what explain and test say of a policy. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../../toolchain/folders.mjs';
import { elsewhere, skv } from './skv.ts';

/** A policy file of these fields. */
function policy(name: string, fields: string): string {
  const file = `${name}.ts`;
  const imports = 'above, chunks, definePolicy, every, floor, fraction, over, promptEnd, tokens, topK';
  const text = `import { ${imports} } from 'skv';\nexport default definePolicy({ name: '${name}', ${fields} });\n`;
  writeFileSync(join(elsewhere, file), text);
  return file;
}

test('a NaN score is reported with its seed', async () => {
  writeFileSync(
    join(elsewhere, 'nan.ts'),
    "import { definePolicy, log, over, tokens, topK } from 'skv';\nexport default definePolicy({ name: 'nan', params: { budget: tokens(64) }, score: (slot) => log(0 - slot.pos), keep: topK('budget'), when: over(0) });\n",
  );
  const { code, err } = await skv('test', 'nan.ts', '--runs', '5');
  assert.is(code, 1);
  assert.match(err, /NaN on finite input \(seed 1\): slot \d+ of \d+, where slot\.pos = \d+\. NaN counts/);
});

test('a policy in JavaScript is checked, built and tested; CommonJS is told what to do', async () => {
  assert.is((await skv('init', 'plain.js')).code, 0);
  writeFileSync(join(elsewhere, 'decay.js'), 'export const decay = (x, by) => x * by;\n');
  const text = readFileSync(join(elsewhere, 'plain.js'), 'utf8').replace('mass * 0.99', 'decay(mass, 0.99)');
  writeFileSync(join(elsewhere, 'plain.mjs'), `import { decay } from './decay.js';\n${text}`);
  const built = await skv('build', 'plain.mjs', '--json');
  assert.is(JSON.parse(built.out).name, 'plain', built.err);
  const tested = await skv('test', 'plain.mjs', '--runs', '20');
  assert.match(tested.out, /bit for bit, on 20 random cases/, tested.err);
  writeFileSync(join(elsewhere, 'wrong.js'), text.replace('slot.mass,', 'slot.mas,'));
  const wrong = await skv('build', 'wrong.js');
  assert.match(wrong.err, /✘ wrong\.js:\d+:\d+ {2}type-error\n {2}TS2551: slot has no mas\./);
  assert.match(wrong.err, /more: skv errors type-error/);
  writeFileSync(join(elsewhere, 'old.cjs'), "module.exports = require('skv').definePolicy({ name: 'old' });\n");
  const old = await skv('build', 'old.cjs');
  assert.is(old.code, 1);
  assert.match(
    old.err,
    /no-policy\n {2}A policy is a module of TypeScript or JavaScript.*\n(.*\n)*? *hint: save it as \.ts or \.js/,
  );
});

test('errors prints what docs/errors.md has, and lists every mistake', async () => {
  const [all, one, none] = await Promise.all([skv('errors'), skv('errors', 'pool-even'), skv('errors', 'pool-evn')]);
  assert.match(all.out, /^window-exceeds-budget {2,}\S/m);
  assert.match(one.out, /^pool-even\nPooling looks at as many/);
  assert.is(none.code, 1);
  assert.match(none.err, /Did you mean pool-even\?/);
});

test('with the tsconfig that init writes, TypeScript accepts the policies of the folder', async () => {
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const folder = mkdtempSync(join(elsewhere, 'a folder '));
  assert.is((await skv('init', join(folder, 'mine.ts'))).code, 0);
  const options = { cwd: folder, encoding: 'utf8' as const };
  const { status, stdout } = spawnSync(process.execPath, [tsc, '--noEmit'], options);
  assert.is(status, 0, stdout);
  const before = readFileSync(join(folder, 'tsconfig.json'), 'utf8');
  assert.is((await skv('init', join(folder, 'other.ts'))).code, 0);
  assert.is(readFileSync(join(folder, 'tsconfig.json'), 'utf8'), before, 'one that is there stays');
  const text = readFileSync(join(folder, 'mine.ts'), 'utf8').replace('slot.mass,', 'slot.mas,');
  writeFileSync(join(folder, 'mine.ts'), text);
  assert.is(spawnSync(process.execPath, [tsc, '--noEmit'], options).status, 2, 'and it does check');
});

test('explain says what a score really reads, and what layers keep', async () => {
  const budget = "params: { budget: tokens(64) }, keep: topK('budget')";
  const hash = policy('hash', `score: (slot) => slot.pos * 0.618 - floor(slot.pos * 0.618), ${budget}`);
  const said = (await skv('explain', hash)).out;
  assert.match(said, /select .*: the score reads pos$/m);
  assert.not.match(said, /is the position/);
  const tuned = policy('tuned', `score: (slot) => slot.age * slot.params.budget, ${budget}`);
  assert.match((await skv('explain', tuned)).out, /the score reads age, params\.budget$/m);
  const profile = (await skv('explain', 'fastgen')).out;
  assert.match(
    profile,
    /^ {2}rule 3 {4}special \+ punctuation \+ top frequent: 1229 slots beside the window's and those of/m,
  );
  assert.match(profile, /^ {2}rule 5 {4}everything: all$/m);
  assert.match(profile, /the prompt's end: the first of 5 rules that keeps enough of mass/);
  assert.match((await skv('explain', 'streaming')).out, /there is no score: the oldest leave first$/m);
  const uneven = policy('uneven', `layers: [2, 1, 1, 1], ${budget}`);
  assert.match((await skv('explain', uneven)).out, /4 factors, 1\.25 on average: a head keeps 1\.25 times what the/);
  assert.match(
    (await skv('explain', policy('even', `layers: [1.5, 0.5], ${budget}`))).out,
    /2 factors, 1 on average$/m,
  );
});

test('explain and test say that a window can swallow its budget', async () => {
  const swallows =
    /protects the whole prompt, and the budget of 64 slots counts it: after a prompt of 64 tokens or more/;
  const fields = 'params: { budget: tokens(64) }, score: (slot) => slot.age, window: { prompt: true }, when: every(1),';
  const inside = policy('inside', `${fields} keep: topK('budget')`);
  assert.match((await skv('explain', inside)).out, swallows);
  assert.match((await skv('test', inside, '--runs', '2')).err, swallows);
  const { size, advice } = JSON.parse((await skv('explain', inside, '--json')).out);
  assert.equal([size.protected, size.steady, advice.length], [4096, 4096, 1]);
  const besides = policy('besides', `${fields} keep: topK('budget', { besides: 'protected' })`);
  const apart = JSON.parse((await skv('explain', besides, '--json')).out);
  assert.equal([apart.size.steady, apart.size.peak, apart.advice], [4160, 4161, []]);
  const ends = fields.replace('every(1)', 'promptEnd');
  const never = policy('never', `${ends} keep: topK('budget', { besides: 'protected' })`);
  assert.match((await skv('explain', never)).out, /no compaction after its end: nothing is ever evicted/);
  const classes = policy('marks', "window: { classes: ['punctuation'] }, keep: topK(64)");
  assert.match((await skv('explain', classes)).out, /protects every punctuation token/);
  const part = policy('part', "params: { budget: fraction(0.25) }, window: { last: 64 }, keep: topK('budget')");
  assert.match((await skv('explain', part)).out, /more than the budget of 25 % of the sequence until 256 tokens/);
});

test('with a ratio, explain shows the parameters that expressions read', async () => {
  const { size } = JSON.parse((await skv('explain', 'h2o', '--json', '--ratio', '0.05')).out);
  assert.equal(size.params, { budget: 205, recent: 102, block: 1048576 });
  assert.match((await skv('explain', 'h2o')).out, /^ {2}params {4}budget 512, recent 256, block 1048576$/m);
});

test.run();
