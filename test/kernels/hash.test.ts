/** A build's name changes with its own target's text and with nothing else: in a copy of skv, one file at a time. */
import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { filesOf } from '../../codegen/hash.ts';
import { root } from '../../toolchain/folders.mjs';

const home = mkdtempSync(join(tmpdir(), 'skv-hash-'));
process.on('exit', () => rmSync(home, { recursive: true, force: true }));
const parts = ['package.json', 'codegen', 'dsl', 'templates', 'toolchain', 'runtime/contract', 'test/emulation'];
for (const part of parts) cpSync(join(root, part), join(home, part), { recursive: true });

let imports = 0;
/** The copy's hashes of a policy for each target, by a module that has read nothing yet. */
async function hashes(): Promise<{ cpu: string; cuda: string }> {
  const url = `${pathToFileURL(join(home, 'codegen', 'hash.ts'))}?${imports++}`;
  const { contentHash } = (await import(url)) as typeof import('../../codegen/hash.ts');
  return { cpu: contentHash(['policy'], 'cpu', 'a compiler'), cuda: contentHash(['policy'], 'cuda', 'a compiler') };
}

const before = await hashes();

/** Targets whose builds get another name when this file does. */
async function changedBy(path: string): Promise<string[]> {
  const text = readFileSync(join(home, path));
  appendFileSync(join(home, path), '\n');
  const after = await hashes();
  writeFileSync(join(home, path), text);
  return (['cpu', 'cuda'] as const).filter((target) => after[target] !== before[target]);
}

function first(target: 'cpu' | 'cuda', folder: string): string {
  const found = filesOf(target).find((path) => path.startsWith(folder));
  assert.ok(found, `no file of ${folder} counts`);
  return found!;
}

test('a build is named by files of its own target and shared ones, none of a test', () => {
  for (const [target, other] of [
    ['cpu', 'cuda'],
    ['cuda', 'cpu'],
  ] as const) {
    const files = filesOf(target);
    assert.ok(files.includes(join('templates', 'shared', 'scalar.hpp')));
    assert.ok(files.some((path) => path.startsWith(join('templates', target))));
    const foreign = files.filter((path) => path.split(/[/.]/).some((part) => part === other || part === 'test'));
    assert.equal(foreign, [], target);
  }
});

test('a CUDA header changes no CPU build, and a CPU template no CUDA build', async () => {
  for (const target of ['cpu', 'cuda'] as const)
    for (const folder of [`templates/${target}/`, `codegen/back/${target}/`])
      assert.equal(await changedBy(first(target, folder)), [target], folder);
  assert.equal(await changedBy('codegen/plan/cuda.ts'), ['cuda']);
});

test('the kernels have another name when what they are made of changes, and only then', async () => {
  const name = async () => {
    const url = `${pathToFileURL(join(home, 'codegen', 'back', 'cpu', 'kernels.ts'))}?${imports++}`;
    return ((await import(url)) as typeof import('../../codegen/back/cpu/kernels.ts')).hashOf('a processor');
  };
  const known = await name();
  for (const [path, changes] of [
    ['templates/cpu/tile.hpp', true],
    ['templates/cpu/kernels.hpp', true],
    ['templates/shared/select.hpp', true],
    ['runtime/contract/abi.h', true],
    ['templates/cpu/CMakeLists.txt', true],
    ['templates/cpu/score.hpp', false],
    ['templates/shared/across.hpp', false],
  ] as const) {
    const text = readFileSync(join(home, path));
    appendFileSync(join(home, path), '\n');
    assert.is((await name()) !== known, changes, path);
    writeFileSync(join(home, path), text);
  }
});

test('the emulation changes no build', async () => {
  for (const file of ['emulate.hpp', 'memory.hpp', 'emulate.ts'])
    assert.equal(await changedBy(`test/emulation/${file}`), [], file);
});

test('what both targets are made with changes both', async () => {
  for (const path of ['templates/shared/scalar.hpp', 'runtime/contract/abi.h', 'codegen/plan/plan.ts', 'dsl/index.ts'])
    assert.equal(await changedBy(path), ['cpu', 'cuda'], path);
});

test.run();
