/** The front end in one call: a file's policy, or all of its mistakes together. */
import { Collector } from '../ir/diagnostics.ts';
import type { Policy } from '../ir/nodes.ts';
import { lower } from './lower.ts';
import { read, type Syntax } from './read.ts';
import { verify } from '../ir/verify.ts';

/** read → lower → verify. Throws PolicyErrors with what every stage found. */
export function check(path: string): { readonly syntax: Syntax; readonly policy: Policy } {
  const errors = new Collector();
  const syntax = read(path, errors);
  try {
    const policy = verify(lower(syntax, errors), errors);
    errors.done();
    return { syntax, policy };
  } catch (error) {
    errors.done(); // text that TypeScript refuses may have any form: its own complaints say enough
    throw error;
  }
}
