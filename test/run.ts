/**
 * The test command: runs every `*.test.ts` below test/ in its own process and ends with `N passed, N failed` alone.
 *
 *   npm test                      everything
 *   npm run test:quick            without the parts that need the real model (`*.model.test.ts`)
 *   npm run test:model            those alone
 *   node --import tsx test/run.ts engine kernels/ladder     files whose path contains one of the words
 *
 * uvu's own runner lets three mistakes pass: a file that forgets `.run()` counts nothing, a promise that never settles
 * ends the process early with code 0, and one crash ends all files. Here each file is a process with a time limit, and a
 * file that reports no total, or a total of 0, has failed.
 */
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** Seconds one file may take: ten times what the slowest needs on a slow machine. It ends what would never end. */
const LIMIT = 1800;
/** Files that run side by side: most of their time is one compiler's. Their verdicts must not depend on each other's load. */
const AT_ONCE = Math.min(4, availableParallelism());

export interface FileResult {
  file: string;
  passed: number;
  failed: number;
  skipped: number;
  seconds: number;
  /** why the file counts as failed although no test said so */
  problem?: string;
  output: string;
}

/** What uvu printed at its end, or undefined when it never came that far. */
export function totals(output: string): { total: number; passed: number; skipped: number } | undefined {
  const number = (label: string) => {
    const found = output.match(new RegExp(`^\\s*${label}:\\s+(\\d+)\\s*$`, 'm'));
    return found ? Number(found[1]) : undefined;
  };
  const total = number('Total');
  const passed = number('Passed');
  if (total === undefined || passed === undefined) return undefined;
  return { total, passed, skipped: number('Skipped') ?? 0 };
}

/** The verdict on one file from its output and exit code; a silent or empty file is a failure. */
export function judge(file: string, output: string, code: number | null, seconds: number): FileResult {
  const seen = totals(output.replace(/\x1b\[[0-9;]*m/g, ''));
  const passed = seen?.passed ?? 0;
  // uvu's total leaves skipped tests out.
  const failed = seen ? seen.total - seen.passed : 0;
  const result = { file, passed, failed, skipped: seen?.skipped ?? 0, seconds, output };
  const fail = (problem: string) => ({ ...result, failed: Math.max(1, failed), problem });
  if (code === null) return fail(`killed, or over its limit of ${LIMIT} s`);
  if (!seen) return fail(`ended with code ${code} before its tests did`);
  if (seen.total === 0 && seen.skipped === 0) return fail('ran no test: is .run() missing?');
  if (code !== 0 && failed === 0) return fail(`all tests passed, yet it exited with ${code}`);
  return result;
}

function run(file: string): Promise<FileResult> {
  return new Promise((resolve) => {
    const start = Date.now();
    const child = spawn(process.execPath, ['--import', 'tsx', file], {
      cwd: root,
      env: { ...process.env, FORCE_COLOR: '0' },
    });
    let output = '';
    const collect = (chunk: Buffer) => {
      output += chunk.toString();
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT * 1000);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve(judge(relative(root, file), output, code, (Date.now() - start) / 1000));
    });
  });
}

/** Starts each job when fewer than `atOnce` run, in order. */
export function inTurn<T>(jobs: readonly (() => Promise<T>)[], atOnce: number): Promise<T>[] {
  const waiting: (() => void)[] = [];
  let running = 0;
  return jobs.map(async (job) => {
    if (running >= atOnce) await new Promise<void>((start) => waiting.push(start));
    else running++;
    try {
      return await job();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else running--;
    }
  });
}

/** Test files in a fixed order, the quick ones first. */
function select(words: string[]): string[] {
  const [flags, names] = [words.filter((w) => w.startsWith('--')), words.filter((w) => !w.startsWith('--'))];
  const files = (readdirSync(join(root, 'test'), { recursive: true }) as string[])
    .filter((name) => name.endsWith('.test.ts'))
    .filter((name) => !flags.includes('--quick') || !name.includes('.model.'))
    .filter((name) => !flags.includes('--model') || name.includes('.model.'))
    .filter((name) => names.length === 0 || names.some((word) => name.includes(word)))
    .sort((a, b) => Number(a.includes('.model.')) - Number(b.includes('.model.')) || (a < b ? -1 : 1));
  return files.map((name) => join(root, 'test', name));
}

async function main(): Promise<void> {
  const files = select(process.argv.slice(2));
  let passed = 0;
  let failed = 0;
  let skipped = 0;
  // told in the order of their names, however they end
  for (const pending of inTurn(
    files.map((file) => () => run(file)),
    AT_ONCE,
  )) {
    const result = await pending;
    passed += result.passed;
    failed += result.failed;
    skipped += result.skipped;
    const mark = result.failed ? '✘' : '✔';
    console.log(
      `${mark} ${result.file}  ${result.passed} passed${result.failed ? `, ${result.failed} failed` : ''}  ${result.seconds.toFixed(1)} s`,
    );
    if (result.failed) console.log(`${result.output}\n${result.problem ? `${result.file}: ${result.problem}\n` : ''}`);
  }
  if (files.length === 0) failed = 1;
  if (skipped) console.log(`${skipped} skipped`);
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed ? 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
