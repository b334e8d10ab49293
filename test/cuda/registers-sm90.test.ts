/** What the kernels of every shipped policy need of an H100's multiprocessor; and what the CPU engine says of such a library. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { native } from '../../runtime/native/index.ts';
import { testRegisters } from './registers.ts';

const library = await testRegisters(90);

test('a CUDA library is opened here, and refused by the CPU engine in words', async () => {
  const path = await library();
  const probe = { slots: 1, headDim: 64, layer: 0, layers: 1, head: 0, heads: 1, length: 1, queryPos: 1 };
  const [states, scores] = [new Float32Array(1), new Float32Array(1)];
  assert.throws(
    () => native().probeScore(path, { ...probe, params: new Float32Array(16), states, scores } as never),
    /was built for the target cuda; this engine runs cpu: build the policy with --target cpu/,
  );
});

test.run();
