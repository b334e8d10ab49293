/** skv errors: the entries of docs/errors.md. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { catalogue } from '../../codegen/ir/diagnostics.ts';
import { UserError } from '../../toolchain/errors.ts';
import { root } from '../../toolchain/folders.mjs';
import { nearest } from '../../toolchain/words.ts';
import { say } from '../output.ts';

/** The entry of one mistake, or every mistake in a line. */
export function errors(name: string | undefined): void {
  const slugs = Object.keys(catalogue);
  if (name === undefined) {
    const width = Math.max(...slugs.map((slug) => slug.length));
    for (const [slug, gist] of Object.entries(catalogue)) say(`${slug.padEnd(width)}  ${gist}`);
    return;
  }
  if (!slugs.includes(name)) {
    const near = nearest(name, slugs);
    throw new UserError(`There is no mistake ${name}; skv errors lists them.${near ? ` Did you mean ${near}?` : ''}`);
  }
  const [, ...sections] = readFileSync(join(root, 'docs', 'errors.md'), 'utf8').split(/^## /m);
  say(sections.find((section) => section.startsWith(`${name}\n`))!.trim());
}
