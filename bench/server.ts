/** A real server to load: started as a child, or one that runs already. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { endWithUs } from './child.ts';
import { root } from '../toolchain/folders.mjs';

const skv = join(root, 'cli', 'skv.mjs');

export interface Target {
  url: string;
  /** seconds from the start of its process until it answered; undefined when it ran already */
  readySeconds?: number;
  pid?: number;
  stop(): Promise<void>;
}

export const running = (url: string): Target => ({ url, stop: async () => {} });

/**
 * `skv serve --port 0 ARGS`, by default on the CPU, which is what reports describe. Rejects with what it said when it does not
 * come up, in `limit` seconds where they are given.
 */
export function startServer(args: readonly string[], device = 'cpu', limit?: number): Promise<Target> {
  const start = performance.now();
  const child = endWithUs(
    spawn(process.execPath, [skv, 'serve', '--port', '0', '--device', device, ...args], {
      stdio: ['ignore', 'ignore', 'pipe'],
    }),
  );
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()));
  return new Promise((resolve, reject) => {
    let said = '';
    const late = limit && setTimeout(() => child.kill('SIGKILL'), limit * 1000);
    createInterface({ input: child.stderr }).on('line', (line) => {
      said = `${said}${line}\n`.slice(-4000);
      const [url] = line.match(/http:\/\/\S+/) ?? [];
      if (!url) return;
      clearTimeout(late);
      const stop = async () => {
        child.kill('SIGTERM');
        const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
        await ended;
        clearTimeout(timer);
      };
      resolve({ url, readySeconds: (performance.now() - start) / 1000, pid: child.pid, stop });
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(late);
      reject(new Error(`skv serve ended with ${code ?? signal}: ${said.trim()}`));
    });
  });
}
