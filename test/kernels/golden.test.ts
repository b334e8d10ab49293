/**
 * Every shipped policy's IR, plan and generated source, word for word. UPDATE=1 rewrites them; a file nobody expects fails.
 * The hash is left out: it names the compiler's own text too, and every change of it would touch every golden.
 */
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { compileSource, shippedNames } from '../../codegen/build.ts';
import { irText } from '../../codegen/ir/text.ts';
import { root } from '../../toolchain/folders.mjs';

const folder = join(root, 'test', 'kernels', 'golden');
const names = shippedNames();
const update = process.env.UPDATE === '1';

/** One of each kind of attention: that nobody observes, that decode observes, of keys that are rotated as they are read. */
const ATTENTION = ['none', 'h2o', 'streaming'];

async function goldens(name: string): Promise<Record<string, string>> {
  const file = join(root, 'policies', `${name}.ts`);
  const [cpu, cuda] = [await compileSource(file), await compileSource(file, { target: 'cuda' })];
  const hashes = [cpu.plan.hash, cuda.plan.hash];
  const plain = (text: string) => hashes.reduce((rest, hash) => rest.replaceAll(hash, '0123456789abcdef'), text);
  return {
    [`${name}.ir.txt`]: irText(cpu.policy),
    [`${name}.plan.json`]: plain(`${JSON.stringify(cpu.plan, null, 2)}\n`),
    [`${name}.cpp`]: plain(cpu.sources['policy.cpp']),
    // what the CUDA plan adds; the rest is the CPU's
    [`${name}.cuda.json`]: `${JSON.stringify(cuda.plan.cuda, null, 2)}\n`,
    [`${name}.cu`]: plain(cuda.sources['policy.cu']),
    ...(ATTENTION.includes(name) ? { [`${name}.attention.cu`]: cuda.sources['attention.cu'] } : {}),
  };
}

mkdirSync(folder, { recursive: true });

for (const name of names)
  test(`${name}: the same IR, plan and source`, async () => {
    for (const [file, text] of Object.entries(await goldens(name))) {
      if (update) writeFileSync(join(folder, file), text);
      assert.fixture(text, readFileSync(join(folder, file), 'utf8'), `${file} (UPDATE=1 accepts the change)`);
    }
  });

test('the same bytes every time', async () => {
  assert.equal(await goldens('keydiff'), await goldens('keydiff'));
});

test('policies share their attention: it is compiled once for each kind', async () => {
  const of = async (name: string) =>
    (await compileSource(join(root, 'policies', `${name}.ts`), { target: 'cuda' })).sources['attention.cu'];
  const kinds = await Promise.all(ATTENTION.map(of));
  assert.is(new Set(kinds).size, kinds.length);
  for (const name of names) assert.ok(kinds.includes(await of(name)), name);
});

test('no golden without a policy', () => {
  const expected = names.flatMap((name) =>
    ['ir.txt', 'plan.json', 'cpp', 'cuda.json', 'cu', ...(ATTENTION.includes(name) ? ['attention.cu'] : [])].map(
      (end) => `${name}.${end}`,
    ),
  );
  assert.equal(
    readdirSync(folder).filter((file) => !expected.includes(file)),
    [],
  );
});

test.run();
