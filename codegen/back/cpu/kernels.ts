/** The kernels, which depend on no policy: compiled once for a processor, beside the policies that are linked to them. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { compilerVersion } from '../../../toolchain/compilers.ts';
import { policyFolder } from '../../../toolchain/folders.mjs';
import { filledOnce } from '../../../toolchain/locks.ts';
import { doesNotCompile } from '../shared/failure.ts';
import { templates, textsOf } from '../shared/includes.ts';
import { made } from './make.ts';

/** Of pages of each type, each its own so that two processors share the work, and of all. */
export const sources: readonly string[] = ['kernels_bf16', 'kernels_f32', 'kernels_lanes', 'kernels'].map((name) =>
  join(templates, 'cpu', `${name}.cpp`),
);

const library = 'libkernels.a';

/** Path of the library for an architecture, whether it is there or not. */
export const kernelsAt = (fingerprint: string): string =>
  join(policyFolder(), `kernels-${hashOf(fingerprint)}`, library);

/** The same, made if it is not there. */
export const kernelsFor = (march: string, fingerprint: string): Promise<string> =>
  filledOnce(dirname(kernelsAt(fingerprint)), library, async (draft) => {
    await made(draft, library, { SKV_MARCH: march, SKV_SOURCES: sources.join(';') }, (output, why) =>
      doesNotCompile('the text of the kernels', output, why),
    );
  });

/** Of all that can change them: their text, the flags, the processor, the compiler. */
export function hashOf(fingerprint: string): string {
  const hash = createHash('sha256').update(fingerprint).update(compilerVersion());
  for (const file of [join(templates, 'cpu', 'CMakeLists.txt'), ...textsOf(sources)]) hash.update(readFileSync(file));
  return hash.digest('hex').slice(0, 16);
}
