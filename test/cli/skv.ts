/** Runs the real command as a user would: as a process, from any folder. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../../toolchain/folders.mjs';

export const bin = join(root, 'cli', 'skv.mjs');
/** A folder outside the repository. */
export const elsewhere = mkdtempSync(join(tmpdir(), 'skv-cli-'));
process.on('exit', () => rmSync(elsewhere, { recursive: true, force: true }));

export interface Ran {
  code: number | null;
  out: string;
  err: string;
}

export function start(args: string[]): ChildProcess {
  return spawn(process.execPath, [bin, ...args], { cwd: elsewhere, env: { ...process.env, NO_COLOR: '1' } });
}

export function skv(...args: string[]): Promise<Ran> {
  return new Promise((resolve) => {
    const child = start(args);
    let [out, err] = ['', ''];
    child.stdout!.on('data', (chunk) => (out += chunk));
    child.stderr!.on('data', (chunk) => (err += chunk));
    child.on('close', (code) => resolve({ code, out, err }));
  });
}
