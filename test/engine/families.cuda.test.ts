/** A tiny model of every family on the emulated device: the CPU's tokens and log-probabilities, in chunks and side by side. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import type { EngineOptions, TokenEvent } from '../../runtime/engine/types.ts';
import { loadModel } from '../../runtime/model/load.ts';
import { emulatedDevice } from '../emulation/backend.ts';
import {
  familyModel,
  sizes,
  tinyFamilies,
  wideFamilies,
  widened,
  writeFamilyFolder,
  writeFamilyGguf,
} from '../oracle/families.ts';
import { randomTokens, smallBudgets, smallEngine } from './small.ts';

const folder = mkdtempSync(join(tmpdir(), 'skv-device-families-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

/** f32 on both sides, sums in another order. */
const TOLERANCE = 1e-3;
/** The CPU rounds products of two scales to f16 as it packs weights of K types; the device has them as the file does. */
const K_TOLERANCE = 0.03;
const names = ['none', 'h2o'];
const onCpu = { policies: await Promise.all(names.map((name) => build(shipped(name)!))) };
const onDevice = await emulatedDevice(names, 'f32');

/** What the weights of the engine that was last opened take. */
let weightBytes = 0;

async function answers(
  loaded: Awaited<ReturnType<typeof loadModel>>,
  options: Pick<EngineOptions, 'policies' | 'backend'>,
) {
  const engine = await smallEngine(
    { loaded },
    {
      ...options,
      kvType: 'f32',
      activations: 'f32',
      maxBatchedTokens: 24,
      maxModelLen: sizes.positions,
      maxSeqs: 3,
      kvCacheBytes: 8 << 20,
      threads: 1,
    },
  );
  weightBytes = engine['nativeEngine'].describe().weightBytes;
  const prompt = randomTokens(1, 45, sizes.vocab);
  const forced = randomTokens(2, 6, sizes.vocab);
  const generations = [
    ...names.map((policy) => engine.submit({ prompt, maxTokens: 10, policy, params: smallBudgets[policy] })),
    engine.submit({ prompt, maxTokens: 10, forced, policy: 'none' }),
  ];
  const events = await Promise.all(
    generations.map(async (generation) => {
      const found: TokenEvent[] = [];
      for await (const event of generation) found.push(event);
      const { error } = await generation.finished;
      if (error) throw error;
      return found;
    }),
  );
  await engine.close();
  return events;
}

/** The same tokens, and log-probabilities that are f32's. */
async function agree(source: string, tolerance = TOLERANCE): Promise<void> {
  const loaded = await loadModel(source);
  assert.is(loaded.spec.headDim, 64);
  const [wanted, got] = [await answers(loaded, onCpu), await answers(loaded, onDevice)];
  wanted.forEach((events, r) => {
    const tokensOf = (of: typeof events) => of.map(({ token }) => token);
    assert.equal(tokensOf(got[r]), tokensOf(events));
    events.forEach(({ logprob }, i) => {
      const other = got[r][i].logprob;
      if (logprob !== undefined) assert.ok(Math.abs(logprob - other!) < tolerance, `${logprob}, ${other}`);
    });
  });
}

for (const [seed, tiny] of tinyFamilies.entries())
  test(tiny.name, () => {
    const at = join(folder, String(seed));
    writeFamilyFolder(familyModel(widened(tiny), 400 + seed), at);
    return agree(at);
  });

/** Bytes of weights of the model below, by type: on the device quantised ones are as many as in the file. */
const bytesOf: Partial<Record<string, number>> = {};

for (const type of ['F16', 'Q8_0', 'Q4_K'] as const)
  test(`weights in ${type} mean what they do on the CPU`, async () => {
    const at = join(folder, `${type}.gguf`);
    writeFamilyGguf(familyModel(wideFamilies[0], 500), at, type);
    await agree(at, type === 'Q4_K' ? K_TOLERANCE : TOLERANCE);
    bytesOf[type] = weightBytes;
  });

test('quantised weights take their own size', () => {
  const { F16, Q8_0, Q4_K } = bytesOf; // the first in f32 here
  assert.ok(F16! / Q8_0! > 3.6 && F16! / Q4_K! > 6.5, JSON.stringify(bytesOf));
});

test.run();
