/** How commands speak: results on stdout, progress and mistakes on stderr, exit codes 0, 1 (the user's), 2 (ours). */
import { PolicyErrors } from '../codegen/diagnostics.ts';
import { CompileError } from '../codegen/process.ts';
import { RequestError } from '../runtime/engine/types.ts';
import { ModelError } from '../runtime/model/types.ts';

/** A mistake of the user's: told in one paragraph, exit code 1. */
export class UserError extends Error {
  override name = 'UserError';
}

const isUsers = (error: unknown): error is Error =>
  error instanceof UserError ||
  error instanceof PolicyErrors ||
  error instanceof RequestError ||
  error instanceof ModelError ||
  (error instanceof CompileError && !/internal:/.test(error.message)) ||
  ['ENOENT', 'EACCES', 'EADDRINUSE', 'EISDIR'].includes((error as NodeJS.ErrnoException)?.code ?? '');

/** Runs a command and turns what it throws into a message and an exit code. */
export async function main(command: () => Promise<unknown>): Promise<void> {
  try {
    await command();
  } catch (error) {
    if (isUsers(error)) {
      process.stderr.write(`${error instanceof PolicyErrors ? '' : 'skv: '}${error.message}\n`);
      process.exitCode = 1;
    } else {
      process.stderr.write(
        `skv: internal error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\nThis is a bug in skv; please report it with the lines above.\n`,
      );
      process.exitCode = 2;
    }
  }
}

export const json = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);
export const say = (text: string): void => void process.stdout.write(`${text}\n`);
export const note = (text: string): void => void process.stderr.write(`${text}\n`);

export function bytes(n: number): string {
  if (n < 1 << 20) return `${(n / 1024).toFixed(1)} KiB`;
  return n < 1 << 30 ? `${(n / (1 << 20)).toFixed(1)} MiB` : `${(n / (1 << 30)).toFixed(2)} GiB`;
}

/** A progress line that redraws itself on a terminal and stays silent elsewhere. */
export function progressLine(label: string): { at(done: number, total?: number): void; end(): void } {
  const show = process.stderr.isTTY;
  let drawn = false;
  return {
    at(done, total) {
      if (!show) return;
      drawn = true;
      const part = total
        ? ` ${'█'.repeat(Math.round((20 * done) / total)).padEnd(20, '░')} ${Math.round((100 * done) / total)} %`
        : '';
      process.stderr.write(`\r\x1b[2K${label}${part} ${bytes(done)}`);
    },
    end() {
      if (drawn) process.stderr.write('\r\x1b[2K');
    },
  };
}

/** name=value pairs as numbers. */
export function parseParams(pairs: readonly string[]): Record<string, number> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const [, name, text] = pair.match(/^([A-Za-z][A-Za-z0-9_]*)=(.+)$/) ?? [];
      if (!name || Number.isNaN(Number(text)))
        throw new UserError(`--param ${pair}: write name=number, for example --param budget=512.`);
      return [name, Number(text)];
    }),
  );
}
