#!/usr/bin/env node
/** The `skv` command: checks Node, teaches it TypeScript, and starts cli/main.ts. */
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

if (Number(process.versions.node.split('.')[0]) < 20) {
  process.stderr.write(`skv needs Node 20 or newer; this is ${process.version}.\n`);
  process.exit(1);
}
const { register } = await import('tsx/esm/api');
register();
await import(pathToFileURL(join(dirname(fileURLToPath(import.meta.url)), 'main.ts')).href);
