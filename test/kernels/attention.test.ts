/** Attention and observers on the CPU. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { attentionCases, inputs, shapeOf } from './attention.ts';
import { drive } from './driver.ts';
import { cpu } from './runners.ts';

attentionCases(cpu, {
  headDims: [64, 80, 96, 128],
  // f32 accumulation of a few hundred terms of size about 1
  tolerance: { f32: 1e-5, bf16: 1e-5 },
  lengths: [1, 15, 16, 17, 255, 256, 257, 600],
  cut: [
    [64, 3, 'bf16'],
    [80, 1, 'f32'],
    [96, 4, 'bf16'],
    [128, 2, 'bf16'],
    [64, 5, 'f32'],
  ],
  cutLength: 531,
  cuts: [[1], [7], [16], [250, 1, 1, 1, 1, 1, 1, 1, 64], [257], [300, 11]],
  observed: [
    [64, 3, 'bf16'],
    [80, 2, 'f32'],
  ],
  observedLength: 290,
  observedCuts: [[600], [1], [13], [256, 1, 33], [100, 90]],
  observedTolerance: { f32: 2e-5, bf16: 2e-5 },
  observes: 'weights',
  windows: [
    [64, 3, 'bf16', 1, 0],
    [64, 1, 'f32', 16, 0],
    [80, 4, 'bf16', 100, 3],
    [64, 7, 'f32', 300, 0],
    [128, 2, 'f32', 255, 5],
    [64, 2, 'bf16', 600, 2],
  ],
  windowLength: 560,
  windowCuts: [[600], [1], [7], [16], [250, 1, 1, 1, 64], [257], [300, 11]],
});

test('a group that no tile holds is refused in words', async () => {
  const shape = shapeOf(64, 49, 'f32', 1);
  const { library } = await cpu.policy('none', shape);
  const layers = [inputs(shape, 1, 1)];
  assert.throws(
    () => drive(library, 1, shape, [{ rows: [{ seq: 0, tokens: 1, pos0: 0, prompt: 1 }], layers }]),
    /no kernel for this head size, group or KV type/,
  );
});

test.run();
