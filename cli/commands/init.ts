/** skv init: a first policy that compiles, and what an editor needs to check it. */
import { existsSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { UserError } from '../../toolchain/errors.ts';
import { root } from '../../toolchain/folders.mjs';
import { say } from '../output.ts';

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

/** Whether `import … from 'skv'` finds an installed package from a folder. */
function installed(folder: string): boolean {
  if (existsSync(join(folder, 'node_modules', 'skv', 'package.json'))) return true;
  const parent = dirname(folder);
  return parent !== folder && installed(parent);
}

/** TypeScript as a policy wants it: no browser, no Node, and skv's types where no package has them. */
function tsconfig(folder: string): string {
  const compilerOptions = {
    target: 'ES2023',
    lib: ['ES2023'],
    types: [],
    module: 'ESNext',
    moduleResolution: 'Bundler',
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    allowJs: true,
    resolveJsonModule: true,
    ...(installed(folder) ? {} : { allowImportingTsExtensions: true, paths: { skv: [join(root, 'dsl', 'index.ts')] } }),
  };
  return `${JSON.stringify({ compilerOptions, include: ['*.ts', '*.js'] }, null, 2)}\n`;
}

export function init(file: string, options: { force?: boolean }): void {
  const path = /\.m?[jt]s$/.test(file) ? file : `${file}.ts`;
  if (existsSync(path) && !options.force)
    throw new UserError(`${path} exists already; give another name, or --force to overwrite it.`);
  const name =
    basename(path)
      .replace(/\.\w+$/, '')
      .toLowerCase()
      .replace(/[^a-z0-9-]+/g, '-')
      .replace(/^[^a-z]+/, '') || 'mine';
  writeFileSync(path, template(name));
  const written = [path];
  const folder = resolve(dirname(path));
  const config = join(folder, 'tsconfig.json');
  if (!existsSync(config)) {
    writeFileSync(config, tsconfig(folder));
    written.push(relative(process.cwd(), config));
  }
  say(`wrote ${written.join(' and ')}\nnext: skv test ${path}, then skv serve --sparse-kv-cache-type ${path}`);
}
