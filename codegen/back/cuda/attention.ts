/** attention.cu, which no expression of a policy enters: compiled once for all policies with the same text of it. */
import { createHash } from 'node:crypto';
import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { policyFolder } from '../../../toolchain/folders.mjs';
import { filledOnce } from '../../../toolchain/locks.ts';
import type { CudaToolchain } from '../../../toolchain/cuda.ts';
import { textsOf } from '../shared/includes.ts';
import { objectOf } from './object.ts';
import { type KernelUsage, usageOf, writeUsage } from './usage.ts';

const source = 'attention.cu';

/** The object of the text in `from`, made if it is not there, and what its kernels need. */
export async function attentionFor(
  toolchain: CudaToolchain,
  code: readonly string[],
  from: string,
  fingerprint: string,
): Promise<{ object: string; usage: KernelUsage[] }> {
  const hash = createHash('sha256').update(fingerprint);
  for (const file of textsOf([join(from, source)])) hash.update(readFileSync(file));
  const folder = join(policyFolder(), `attention-${hash.digest('hex').slice(0, 16)}`);
  const object = await filledOnce(folder, 'attention.o', async (draft) => {
    copyFileSync(join(from, source), join(draft, source));
    const attention = {
      source,
      what: 'the text of attention',
      short: 'attention',
      advice: 'A smaller --head-dim needs fewer registers.',
    };
    writeUsage(draft, await objectOf(toolchain, code, draft, attention));
  });
  return { object, usage: usageOf(folder)! };
}
