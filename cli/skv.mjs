#!/usr/bin/env node
/** The `skv` command: checks Node and starts cli/main.ts, bundled (cli/bundle.mjs) or, where that fails, from source. */
import { bundled } from './bundle.mjs';

if (Number(process.versions.node.split('.')[0]) < 20) {
  process.stderr.write(`skv needs Node 20 or newer; this is ${process.version}.\n`);
  process.exit(1);
}
const main = await bundled();
if (main) await import(main);
else {
  const { register } = await import('tsx/esm/api');
  register();
  await import(new URL('./main.ts', import.meta.url).href);
}
