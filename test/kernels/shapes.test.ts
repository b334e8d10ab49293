/** Shapes that a library has no kernel for: `accepts` and every pass say the same code, and the code has words. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { KvType } from '../../codegen/plan/types.ts';
import { type Shape, drive } from './driver.ts';
import { type Runner, cpu, emulated } from './runners.ts';

const plain = { kvType: 'bf16' as KvType, layers: 1, kvHeads: 2, group: 3, headDim: 64, maxTokens: 1, maxSlots: 20 };
const refused = async (on: Runner, policy: string, change: Partial<Shape>): Promise<string> => {
  const { library, plan } = await on.policy(policy, plain);
  const { headDim } = { ...plain, ...change };
  const shape: Shape = { ...plain, interleaved: false, seqs: 1, invFreq: new Float32Array(headDim / 2), ...change };
  try {
    drive(library, plan.lanes.length, shape, [], { order: on.order });
  } catch (error) {
    return (error as Error).message.trim();
  }
  return 'runs';
};

const shapeless = /^driver ended with 3: code 1: no kernel for this head size, group or KV type/;
const crowded = 'driver ended with 3: code 2: more KV heads than can decide together';

function cases(on: Runner, changes: Partial<Shape>[]): void {
  test(`${on.name}: a shape with kernels runs`, async () => assert.is(await refused(on, 'none', {}), 'runs'));
  for (const change of changes)
    test(`${on.name}: no kernel for ${JSON.stringify(change)}`, async () =>
      assert.match(await refused(on, 'none', change), shapeless));
  test(`${on.name}: 65 KV heads cannot share a budget, and can have one each`, async () => {
    assert.is(await refused(on, 'adakv', { kvHeads: 65 }), crowded);
    assert.is(await refused(on, 'h2o', { kvHeads: 65 }), 'runs');
  });
}

cases(cpu, [{ kvType: 'f16' }, { ioType: 'bf16' }, { headDim: 24 }, { headDim: 272 }, { group: 49 }]);
cases(emulated('forward'), [{ kvType: 'f32' }, { headDim: 80 }, { group: 65 }]);

test.run();
