/** @mlc-ai/web-xgrammar, as an instance of its own each time: a grammar that it cannot read aborts the instance it is given to. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type * as XGrammar from '@mlc-ai/web-xgrammar';

export type Library = typeof XGrammar;

const require = createRequire(import.meta.url);
let source: string | undefined;

/** Its file is a UMD bundle in a package of type module, which Node reads in neither way. `said`: what it prints. */
export function instance(said: (line: string) => void): Library {
  const path = require.resolve('@mlc-ai/web-xgrammar');
  source ??= readFileSync(path, 'utf8');
  const module = { exports: {} as Library };
  const quiet = { ...console, error: said, warn: said, log: () => {} };
  new Function('exports', 'module', 'require', '__filename', '__dirname', 'console', source)(
    module.exports,
    module,
    require,
    path,
    '',
    quiet,
  );
  return module.exports;
}
