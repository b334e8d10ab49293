/** Selection and compaction on the CPU. */
import { test } from 'uvu';
import { compactCases } from './compact/cases.ts';
import { cpu } from './runners.ts';

compactCases(cpu);
test.run();
