/** Selection and compaction in CUDA's text, run by the emulation with its threads in two orders. */
import { test } from 'uvu';
import { compactCases } from './compact/cases.ts';
import { emulated } from './runners.ts';

for (const order of ['forward', '7']) compactCases(emulated(order));
test.run();
