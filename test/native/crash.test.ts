/** A crash in native code: a clear last line, the end by its signal, broken connections; never a hang. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../../toolchain/root.ts';

const folder = mkdtempSync(join(tmpdir(), 'skv-crash-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const LINE = /skv: native code crashed \(SIGSEGV\)\. This is a bug in skv or in a compiled policy; .*\n$/;

test('a compiled policy that reads through null', () => {
  const [source, library] = [join(folder, 'policy.cpp'), join(folder, 'policy.so')];
  writeFileSync(
    source,
    `#include "abi.h"
static int32_t fault(const skv_probe*) { volatile int32_t* nowhere = nullptr; return *nowhere; }
static const skv_policy kPolicy = {SKV_ABI_VERSION, sizeof(skv_policy), "broken", "0", "cpu", 1, 0, 3,
                                   nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, fault, fault};
extern "C" __attribute__((visibility("default"))) const skv_policy* skv_policy_entry(void) { return &kPolicy; }
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
    queryPos: 0, params: new Float32Array(16), scores: new Float32Array(1) });
});`;
  const { signal, stderr } = spawnSync(process.execPath, ['--import', 'tsx', '--eval', program], {
    cwd: root,
    encoding: 'utf8',
    timeout: 60_000,
  });
  assert.is(signal, 'SIGSEGV', stderr);
  assert.match(stderr, LINE);
});

test.run();
