/**
 * `skv bench peers`: the same work on skv, llama.cpp and OpenVINO GenAI, on the same model, machine and run, taking turns.
 * Ratios of medians are what counts; absolute numbers move with the machine.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LoadedModel } from '../runtime/model/types.ts';
import type { Child } from './child.ts';
import { machine } from './machine.ts';
import { type Spread, interleave, spread } from './measure.ts';
import { type KeyRow, keySet, runKeys } from './peers/keys.ts';
import { PEER_PARTS, type PeerPart } from './peers/parts.ts';
import type { Work, Worked } from './peers/protocol.ts';
import { type PeerRow, ratios, reportOf } from './peers/report.ts';
import { type Common, type Subject, subjects } from './peers/subjects.ts';
import type { Report } from './report.ts';
import { mobyDick } from '../eval/text.ts';

export interface PeerOptions {
  model: LoadedModel;
  runs: number;
  /** decode at 128, 1,024, 4,096 and prefill of 512 and 2,048 alone, three systems */
  short?: boolean;
  /** parts of the names of the systems wanted; default all */
  only?: string[];
  /** parts of the measurement wanted, see `PEER_PARTS`; default all */
  parts?: readonly PeerPart[];
}

/** Sizes of one phase: systems start with room for it, run everything in turns, and end. */
interface Phase {
  part: PeerPart;
  sequences: number;
  context: number;
  pool?: number;
  wants(subject: Subject): boolean;
  /** prompts, tokens to generate, and the rows that come out */
  works: { prompts: [number, number][]; count: number; rows: { what: string; of(worked: Worked): number }[] }[];
  /** row of the peak of resident memory at the phase's end */
  memory?: string;
}

const single = (length: number, rows: ('prefill' | 'decode')[]): Phase['works'][number] => ({
  prompts: [[0, length]],
  count: rows.includes('decode') ? 32 : 1,
  rows: rows.map((kind) =>
    kind === 'prefill'
      ? { what: `prefill ${length.toLocaleString('en-US')}`, of: ({ first }) => length / first[0] }
      : { what: `decode at ${length.toLocaleString('en-US')}`, of: ({ steady }) => steady.tokens / steady.seconds },
  ),
});

/** Different texts, so that no prompt is another's prefix. */
const eight = (length: number): [number, number][] => Array.from({ length: 8 }, (_, i) => [1 + i * 700, length]);

const shortPhase: Phase = {
  part: 'one',
  sequences: 1,
  context: 4096 + 64,
  wants: ({ name, maker }) => maker === 'llama.cpp' || name === 'skv' || name === 'skv, h2o 20 %',
  works: [
    single(128, ['decode']),
    single(512, ['prefill']),
    single(1024, ['decode']),
    single(2048, ['prefill']),
    single(4096, ['decode']),
  ],
};

const fullPhases: Phase[] = [
  {
    ...shortPhase,
    wants: ({ aside }) => !aside,
  },
  {
    part: 'long',
    sequences: 1,
    context: 8000 + 64,
    wants: ({ aside }) => !aside,
    works: [single(7000, ['prefill']), single(8000, ['decode'])],
    memory: 'peak RSS at 8,000 tokens',
  },
  {
    part: 'batch',
    sequences: 8,
    context: 4000 + 128,
    wants: ({ name, matched, maker }) =>
      matched === true || maker === 'OpenVINO' || name === 'skv' || name === 'skv, h2o 672',
    works: [
      {
        prompts: eight(4000),
        count: 127, // more than the steps that read the prompts, so that all eight run together for a while
        rows: [{ what: '8 × 4,000, decode', of: ({ steady }) => steady.tokens / steady.seconds }],
      },
    ],
  },
  {
    part: 'pool',
    sequences: 8,
    context: 4000 + 128,
    pool: 221e6,
    wants: ({ pools, name, matched, evicts, aside, thins }) =>
      pools === true && (matched || evicts || name === 'skv') && (thins || !aside),
    works: [
      {
        prompts: eight(4000),
        count: 127,
        rows: [{ what: '8 × (4,000 + 128) in 221 MB, whole', of: ({ seconds }) => (8 * 128) / seconds }],
      },
    ],
  },
  {
    part: 'keys',
    sequences: 1,
    context: 4096 + 64,
    wants: ({ name, matched, maker }) => matched === true || (maker === 'skv' && name !== 'skv, h2o 20 %'),
    works: [], // `runKeys` asks
  },
];

/** Starts what can start; what cannot is named with its reason. */
async function startAll(
  wanted: readonly Subject[],
  common: Common,
  progress: (line: string) => void,
  missing: Map<string, string>,
) {
  const running = new Map<Subject, Child>();
  for (const subject of wanted) {
    if (missing.has(subject.name)) continue;
    progress(`starting ${subject.name}`);
    try {
      const child = await subject.start(common, progress);
      child.rest();
      running.set(subject, child);
    } catch (error) {
      missing.set(subject.name, (error as Error).message);
      progress(`${subject.name} was not measured: ${(error as Error).message}`);
    }
  }
  return running;
}

type Ask = (subject: Subject, work: Work) => Promise<Worked | undefined>;

/** Wakes a system for one piece of work; one that fails is named with its reason, and is asked no more. */
function asking(running: Map<Subject, Child>, missing: Map<string, string>, progress: (line: string) => void): Ask {
  return async (subject, work) => {
    if (missing.has(subject.name)) return undefined;
    const child = running.get(subject)!;
    try {
      return await child.until(child.ask<Worked>(work));
    } catch (error) {
      missing.set(subject.name, (error as Error).message);
      progress(`${subject.name} failed: ${(error as Error).message}`);
      return undefined;
    }
  };
}

async function runPhase(
  phase: Phase,
  running: Map<Subject, Child>,
  ask: Ask,
  runs: number,
  rows: PeerRow[],
  progress: (line: string) => void,
) {
  for (const subject of running.keys()) await ask(subject, { prompts: [[0, 64]], count: 8 });
  const peaks = new Map<string, number>();
  for (const { prompts, count, rows: wanted } of phase.works) {
    const seen = await interleave([...running.keys()], runs, (subject) => ask(subject, { prompts, count }));
    for (const { what, of } of wanted) {
      const results = new Map<string, Spread>();
      for (const [{ name }, worked] of seen) {
        const values = worked.filter((each) => each !== undefined);
        if (values.length === 0) continue;
        results.set(name, spread(values.map(of)));
        peaks.set(name, Math.max(...values.map(({ peakRss }) => peakRss)));
      }
      const row: PeerRow = { what, unit: 'tok/s', results };
      rows.push(row);
      progress(
        `${what}: ${[...results].map(([name, { median }]) => `${name} ${median.toFixed(0)}`).join(', ')} tok/s; ${ratios(row)}`,
      );
    }
  }
  if (phase.memory)
    rows.push({
      what: phase.memory,
      unit: 'MiB',
      results: new Map([...peaks].map(([name, bytes]) => [name, spread([bytes / 2 ** 20])])),
    });
}

export async function peers(options: PeerOptions, progress: (line: string) => void): Promise<Report> {
  const { model, runs, short = false, only = [], parts = PEER_PARTS } = options;
  const { layers, kvHeads, headDim, files } = model.spec;
  const folder = mkdtempSync(join(tmpdir(), 'skv-peers-'));
  const about = machine();
  const rows: PeerRow[] = [];
  const keys: KeyRow[] = [];
  const missing = new Map<string, string>();
  try {
    const tokens = join(folder, 'tokens.json');
    const text = [...model.tokenizer.encode(mobyDick().slice(0, 80_000))].slice(0, 16_000);
    const own = files[0].match(/\.([A-Z0-9_]+)\.gguf$/)?.[1] ?? 'as it is';
    const all = subjects(own).filter(({ name }) => only.length === 0 || only.some((part) => name.includes(part)));
    for (const phase of short ? [shortPhase] : fullPhases.filter(({ part }) => parts.includes(part))) {
      const keyed = phase.part === 'keys' ? keySet(model) : undefined;
      writeFileSync(tokens, JSON.stringify(keyed?.tokens ?? text));
      const common: Common = {
        model: files[0],
        tokens,
        cores: about.cores,
        sequences: phase.sequences,
        context: phase.context,
        pool: phase.pool,
        bytesPerToken: layers * kvHeads * headDim * 4,
      };
      const running = await startAll(
        all.filter((subject) => (short && only.length > 0) || phase.wants(subject)),
        common,
        progress,
        missing,
      );
      try {
        const ask = asking(running, missing, progress);
        if (keyed) keys.push(...(await runKeys(model, keyed, [...running.keys()], ask, progress)));
        else await runPhase(phase, running, ask, runs, rows, progress);
      } finally {
        for (const child of running.values()) await child.close();
      }
    }
    const command = `skv bench peers --runs ${runs}${short ? ' --short' : ''}${only.map((part) => ` --only '${part}'`).join('')}${parts === PEER_PARTS ? '' : parts.map((part) => ` --part ${part}`).join('')}`;
    return reportOf({ command, about, all, rows, keys, missing });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
