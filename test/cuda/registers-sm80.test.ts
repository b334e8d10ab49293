/** What the kernels of every shipped policy need of an A100's multiprocessor. */
import { test } from 'uvu';
import { testRegisters } from './registers.ts';

await testRegisters(80);
test.run();
