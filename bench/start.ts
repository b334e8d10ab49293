/** `skv bench start`: what `skv serve` takes until it answers: seconds and memory, beside reading the model's files. */
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import type { LoadedModel } from '../runtime/model/types.ts';
import { machine, peakRss } from './machine.ts';
import { interleave, spread } from './measure.ts';
import { type Report, figure, ranged } from './report.ts';
import { startServer } from './server.ts';

export interface StartOptions {
  model: LoadedModel;
  runs: number;
  /** bytes */
  pool: number;
}

/** Seconds of reading files from end to end, from the system's cache where they are in it. */
function readSeconds(files: readonly string[]): number {
  const buffer = Buffer.alloc(4 << 20);
  const start = performance.now();
  for (const file of files) {
    const from = openSync(file, 'r');
    while (readSync(from, buffer) > 0);
    closeSync(from);
  }
  return (performance.now() - start) / 1000;
}

export async function start({ model, runs, pool }: StartOptions, progress: (line: string) => void): Promise<Report> {
  const about = machine();
  const { files } = model.spec;
  const bytes = files.reduce((sum, file) => sum + statSync(file).size, 0);
  const memory: number[] = [];
  const serve = async () => {
    const server = await startServer(['--model', model.source, '--kv-cache-memory', String(pool)]);
    memory.push(peakRss(server.pid));
    await server.stop();
    progress(`ready after ${figure(server.readySeconds!)} s`);
    return server.readySeconds!;
  };
  const taken = await interleave([() => readSeconds(files), serve], runs, (what) => what());
  const [read, ready] = [...taken.values()].map(spread);
  const peak = spread(memory);
  const mebi = (value: number) => value / 2 ** 20;
  return {
    name: 'start',
    command: `skv bench start --model ${model.source} --runs ${runs}`,
    machine: about,
    tables: [
      {
        title: 'From the start of skv serve until it answers',
        head: ['model', 'files, MiB', 'read, s', 'ready, s', 'peak RSS, MiB', '1.3 × (files + pool)', 'n'],
        rows: [
          [
            model.name,
            mebi(bytes),
            ranged(read),
            ranged(ready),
            ranged({ ...peak, median: mebi(peak.median), min: mebi(peak.min), max: mebi(peak.max) }),
            mebi(1.3 * (bytes + pool)),
            runs,
          ],
        ],
      },
    ],
    plots: [],
    notes: [`A pool of ${figure(mebi(pool))} MiB, reserved and not yet touched; memory is Node's as well.`],
    data: { bytes, pool, read, ready, peak },
  };
}
