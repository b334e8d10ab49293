/**
 * The families that can be run, one record each.
 *
 * Another one is a record like llama.ts in this list: its tensors by role, with names and whether a file may leave
 * them out; a role's shape is one of runtime/contract/roles.ts. Readers, errors and ModelSpec follow. Where its forward
 * pass differs, the difference is a field of Family first, obeyed where the spec is assembled and in the backend, and
 * refused by a backend that does not have it. A tensor that the forward pass does not know yet is a
 * role of runtime/contract/records.ts and roles.ts. A family is done when a tiny random model of it, in both formats, has the logits of
 * plain loops (test/oracle) and what a file says that is not obeyed is refused.
 */
import { ModelError } from '../types.ts';
import type { Family, Format } from './family.ts';
import { gemma2, gemma3 } from './gemma.ts';
import { granite } from './granite.ts';
import { llama } from './llama.ts';
import { mistral } from './mistral.ts';
import { opt } from './opt.ts';
import { phi3 } from './phi3.ts';
import { qwen2 } from './qwen2.ts';
import { qwen3 } from './qwen3.ts';
import { smollm3 } from './smollm3.ts';

export const families: readonly Family[] = [llama, mistral, qwen2, qwen3, gemma2, gemma3, phi3, opt, smollm3, granite];

/** The family that a file says it is of. Throws a ModelError that names those that can be run. */
export function familyOf(format: Format, architecture: unknown, where: string): Family {
  const found = families.find(({ architectures }) => architectures[format].includes(architecture as string));
  if (found) return found;
  const known = families
    .flatMap(({ architectures, textOf }) => [
      ...architectures[format],
      ...(format === 'stored' ? [textOf?.modelType ?? []].flat() : []),
    ])
    .join(', ');
  throw new ModelError(`${where}: the architecture ${String(architecture)} is not supported; supported: ${known}.`);
}
