/** A crash in native code: a clear last line, the end by its signal, broken connections; never a hang. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../../toolchain/folders.mjs';

const folder = mkdtempSync(join(tmpdir(), 'skv-crash-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const LINE = /skv: native code crashed \(SIGSEGV\)\. This is a bug in skv or in a compiled policy; .*\n$/;

test('a compiled policy that reads through null', () => {
  const [source, library] = [join(folder, 'policy.cpp'), join(folder, 'policy.so')];
  writeFileSync(
    source,
    `#include "abi.h"
static int32_t fault(const skv_probe*) { volatile int32_t* nowhere = nullptr; return *nowhere; }
static const char* words(int32_t) { return "words"; }
static skv_policy policy;
extern "C" __attribute__((visibility("default"))) const skv_policy* skv_policy_entry(void) {
  policy.abi_version = SKV_ABI_VERSION;
  policy.size = sizeof policy;
  policy.name = "broken";
  policy.hash = "0";
  policy.target = "cpu";
  policy.lanes = 1;
  policy.error = words;
  policy.probe_next = policy.probe_score = fault;
  return &policy;
}
`,
  );
  const compiled = spawnSync(process.env.CXX ?? 'c++', [
    '-shared',
    '-fPIC',
    '-I',
    join(root, 'runtime/contract'),
    '-o',
    library,
    source,
  ]);
  assert.is(compiled.status, 0, String(compiled.stderr));
  const program = `import(${JSON.stringify(join(root, 'runtime/native/index.ts'))}).then(({ native }) => {
  native().probeScore(${JSON.stringify(library)}, { slots: 1, headDim: 16, layer: 0, layers: 1, head: 0, heads: 1, length: 1,
    queryPos: 0, seedLo: 0, seedHi: 0, params: new Float32Array(16), scores: new Float32Array(1) });
});`;
  const { signal, stderr } = spawnSync(process.execPath, ['--import', 'tsx', '--eval', program], {
    cwd: root,
    encoding: 'utf8',
  });
  assert.is(signal, 'SIGSEGV', stderr);
  assert.match(stderr, LINE);
});

test.run();
