/** Selection and compaction in CUDA's text, run by the emulation with its threads in two orders. */
import { test } from 'uvu';
import { compactCases } from './compact.ts';
import { emulated } from './runners.ts';

const options = { headDims: [64, 80], kvTypes: ['bf16', 'f32'] } as const;
for (const order of ['forward', '7']) compactCases(emulated(order, options));
test.run();
