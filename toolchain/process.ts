/** Running a compiler or an installer: its output in one piece, and the errors that all of them share. */
import { spawn } from 'node:child_process';
import { statfsSync } from 'node:fs';
import { UserError } from './errors.ts';

/** A compiler that failed, or is not there: what it said and what to do. */
export class CompileError extends UserError {
  override name = 'CompileError';
}

/** No room for a build's files. */
export class DiskFullError extends CompileError {
  constructor(folder: string) {
    super(`The disk of ${folder} is full. Free some space, then build again; nothing was left behind.`);
  }
}

export interface Finished {
  code: number | null;
  /** stdout and stderr as they came */
  output: string;
}

/** Runs a program to its end; one that cannot be started has code 1 and says why in its output. */
export function run(
  command: string,
  args: readonly string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<Finished> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: options.cwd, env: { ...process.env, LC_ALL: 'C', ...options.env } });
    let output = '';
    child.stdout.on('data', (chunk) => (output += chunk));
    child.stderr.on('data', (chunk) => (output += chunk));
    child.on('error', (error) => resolve({ code: 1, output: `${output}\n${error.message}` }));
    child.on('close', (code) => resolve({ code, output }));
  });
}

/** Tools on a full disk say so, or die of a file cut short; then the disk itself tells. */
export function isFull(output: string, folder: string): boolean {
  const { bavail, bsize } = statfsSync(folder);
  return /No space left on device|ENOSPC|Disk quota exceeded|EDQUOT/.test(output) || bavail * bsize < 65_536;
}
