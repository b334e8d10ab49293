import { existsSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { say } from '../output.ts';
import { UserError } from '../../toolchain/errors.ts';

const template = (name: string) => `import { definePolicy, every, tokens, topK } from 'skv';

/** Keeps the tokens that attention has looked at most, and the most recent ones. */
export default definePolicy({
  name: '${name}',
  params: { budget: tokens(512), recent: tokens(128) },      // a request may set them
  observe: 'every',                                          // whose attention is seen
  accumulate: { mass: { init: 0, next: (mass, slot) => mass * 0.99 + slot.attn } },
  score: (slot) => slot.mass,                                // the lowest leaves first
  window: { first: 4, last: 'recent' },                      // never evicted
  keep: topK('budget'),
  when: every(1),
});
`;

export function init(file: string, options: { force?: boolean }): void {
  const path = file.endsWith('.ts') ? file : `${file}.ts`;
  if (existsSync(path) && !options.force)
    throw new UserError(`${path} exists already; give another name, or --force to overwrite it.`);
  const name =
    basename(path, '.ts')
      .toLowerCase()
      .replace(/[^a-z0-9-]+/g, '-')
      .replace(/^[^a-z]+/, '') || 'mine';
  writeFileSync(path, template(name));
  say(`wrote ${path}\nnext: skv test ${path}, then skv serve --sparse-kv-cache-type ${path}`);
}
