/** What cannot be opened is refused in words, before anything runs. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import { KvType } from '../../runtime/contract/records.ts';
import { type EngineConfig, cpuBackend, native } from '../../runtime/native/index.ts';
import { tinyModel } from '../oracle/tiny.ts';

const { spec } = tinyModel(1).loaded;
const { library } = await build(shipped('none')!);
const config: EngineConfig = {
  backend: cpuBackend(),
  model: spec,
  kvType: KvType.bf16,
  pages: 8,
  poolFraction: 0,
  tableStride: 4,
  maxSeqs: 1,
  maxRows: 1,
  maxTokens: 16,
  maxCopies: 0,
  policies: [library],
  threads: 1,
  exactActivations: false,
  hostPages: false,
  cpus: [],
};

/** What an engine with these numbers says: nothing if it opens. */
const said = async (change: object): Promise<string> => {
  try {
    (await native().open({ ...config, ...change })).close();
    return '';
  } catch (error) {
    return (error as Error).message;
  }
};

test('what fits is opened', async () => assert.is(await said({}), ''));

test('a type of pages that the policy has no kernel for, in its own words', async () =>
  assert.match(await said({ kvType: KvType.f16 }), /^none: no kernel for this head size, group or KV type/));

test('a number that is missing, a role that nobody knows', async () => {
  assert.is(await said({ pages: undefined }), 'pages must be a number');
  const tensors = spec.tensors.map((tensor, i) => (i === 0 ? { ...tensor, role: 'nose' } : tensor));
  assert.is(await said({ model: { ...spec, tensors } }), 'there is no role nose of tensors');
});

test('a closed engine’s arrays have no length', async () => {
  const engine = await native().open(config);
  const { row } = engine.buffers;
  assert.ok(row.length > 0);
  engine.close();
  assert.is(row.length, 0);
});

test.run();
