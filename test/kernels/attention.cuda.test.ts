/**
 * Attention and observers in CUDA's text, run by the emulation, every head size and type.
 */
import { test } from 'uvu';
import { attentionCases } from './attention.ts';
import { emulated } from './runners.ts';

for (const [i, headDim] of [64, 80, 96, 128, 256].entries())
  attentionCases(emulated(['forward', 'reverse', '7'][i % 3]), {
    headDims: [headDim],
    tolerance: { f32: 1e-5, bf16: 1e-5, f16: 1e-5 },
    lengths: headDim === 64 ? [1, 15, 17, 64, 65, 257] : [17, 130],
    cut: headDim < 128 ? [[headDim, 1 + i, (['bf16', 'f32', 'f16'] as const)[i]]] : [],
    cutLength: 90,
    cuts: [[1], [7], [16], [63, 1, 26]],
    observed: headDim < 128 ? [[headDim, 3 - i, (['bf16', 'f32', 'f16'] as const)[i]]] : [],
    observedLength: 140,
    observedCuts: [[600], [1, 3, 60], [13], [100, 27]],
    observedTolerance: { f32: 2e-5, bf16: 2e-5, f16: 2e-5 },
    observes: 'probabilities',
    windows:
      headDim === 128
        ? []
        : [[headDim, 1 + i, (['bf16', 'f32', 'f16'] as const)[i % 3], [40, 17, 64, 0, 33][i], i % 2 ? 3 : 0]],
    windowLength: 150,
    windowCuts: [[1], [7], [16], [63, 1, 26], [150]],
  });

test.run();
