/** Worker threads: from the bundle where skv runs from one, else from source through tsx. */
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker, type WorkerOptions } from 'node:worker_threads';

/** Address of the bundle this runs from (cli/bundle.mjs); not defined when it runs from source. */
declare const SKV_BUNDLE: string | undefined;

const fromSource = (source: URL) => `
  import(${JSON.stringify(import.meta.resolve('tsx/esm/api'))}).then(({ register }) => {
    register();
    return import(${JSON.stringify(source.href)});
  });`;

/** `source`: the worker's file; in a bundle it has the same name. */
export function startWorker(source: URL, options: WorkerOptions): Worker {
  const name = basename(fileURLToPath(source), '.ts');
  return typeof SKV_BUNDLE === 'undefined'
    ? new Worker(fromSource(source), { ...options, eval: true })
    : new Worker(new URL(`${SKV_BUNDLE}/${name}.js`), options);
}
