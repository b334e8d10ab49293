/** Files that were built with another contract are refused by name. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import { type EngineConfig, type Native, current, native } from '../../runtime/native/index.ts';
import { root } from '../../toolchain/folders.mjs';
import { smallEngine } from '../engine/small.ts';
import { tinyModel } from '../oracle/tiny.ts';

const folder = mkdtempSync(join(tmpdir(), 'skv-stale-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

/** A library of this text, which has the contract's headers. */
function library(name: string, text: string): string {
  const [source, out] = [join(folder, `${name}.cpp`), join(folder, `${name}.so`)];
  writeFileSync(
    source,
    `#include "backend.h"\n#define EXPORT extern "C" __attribute__((visibility("default")))\n${text}`,
  );
  const args = ['-shared', '-fPIC', '-I', join(root, 'runtime/contract'), '-o', out, source];
  const { status, stderr } = spawnSync(process.env.CXX ?? 'c++', args, { encoding: 'utf8' });
  assert.is(status, 0, stderr);
  return out;
}

const policy = (name: string, more: string): string =>
  library(
    name,
    `static const char* words(int32_t) { return "words"; }
static skv_policy policy;
EXPORT const skv_policy* skv_policy_entry(void) {
  policy.abi_version = SKV_ABI_VERSION;
  policy.size = sizeof policy;
  policy.name = "${name}";
  policy.hash = "0";
  policy.target = "cpu";
  policy.lanes = 1;
  policy.error = words;
  ${more}
  return &policy;
}`,
  );

const config = (backend: string): EngineConfig => ({
  backend,
  model: tinyModel(1).loaded.spec,
  kvType: 0,
  pages: 8,
  poolFraction: 0,
  tableStride: 4,
  maxSeqs: 1,
  maxRows: 1,
  maxTokens: 16,
  maxCopies: 0,
  policies: [],
  threads: 1,
  exactActivations: false,
  hostPages: false,
  cpus: [],
});

const messageOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    return (error as Error).message;
  }
  return 'none';
};

test('a policy library', () => {
  assert.is(native().policyInfo(policy('fresh', '')).name, 'fresh');
  for (const [name, change] of [
    ['old', 'policy.abi_version = 5;'],
    ['short', 'policy.size -= 8;'],
  ]) {
    const path = policy(name, change);
    assert.is(
      messageOf(() => native().policyInfo(path)),
      `${path} was built with another version of skv: build the policy again`,
    );
  }
});

test('a policy library without words for its errors', () => {
  const path = policy('mute', 'policy.error = nullptr;');
  assert.is(
    messageOf(() => native().policyInfo(path)),
    `${path} is no policy library: it has no words for its errors`,
  );
});

test('a backend', async () => {
  const path = library(
    'backend',
    `static const skv_backend kBackend = {SKV_BACKEND_VERSION + 1, sizeof(skv_backend), "old"};
EXPORT const skv_backend* skv_backend_entry(void) { return &kBackend; }`,
  );
  const error = await native()
    .open(config(path))
    .then(
      () => undefined,
      (failed: Error) => failed.message,
    );
  assert.is(error, `${path} was built with another version of skv: delete it, and it is built again`);
});

test('a library beside the plan of another build', async () => {
  const model = tinyModel(1);
  const built = await build(shipped('none')!);
  const stale = { ...built, plan: { ...built.plan, hash: '0123456789abcdef' } };
  const message = `${built.library} and the plan of none are of two builds: build the policy again.`;
  const refused = (work: Promise<unknown>) =>
    work.then(
      () => 'none',
      (error: Error) => error.message,
    );
  assert.is(await refused(smallEngine(model, { policies: [stale] })), message);
  const engine = await smallEngine(model, { policies: [await build(shipped('h2o')!)] });
  assert.is(
    messageOf(() => engine.addPolicy(stale)),
    message,
  );
  engine.addPolicy(built);
  await engine.close();
});

test('the addon', () => {
  const addon = native();
  assert.is(current(addon, '/skv.node'), addon);
  const stale = { ...addon, version: addon.version ^ 1 } as Native;
  assert.is(
    messageOf(() => current(stale, '/old/skv.node')),
    '/old/skv.node was built with another version of skv: delete it, and it is built again.',
  );
});

test.run();
