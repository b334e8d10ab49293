/** How commands speak: results on stdout, progress and mistakes on stderr, exit codes 0, 1 (the user's), 2 (ours). */
import { UserError } from '../toolchain/errors.ts';

/** What the system refuses, in a sentence that says what to do; undefined when it is none of the user's doing. */
function refusal(error: NodeJS.ErrnoException & { address?: string; port?: number; hostname?: string }) {
  const { code, path, address, port, hostname, syscall } = error;
  const listening = syscall === 'listen';
  switch (code) {
    case 'ENOENT':
      return `${path}: there is no such file.`;
    case 'EISDIR':
      return `${path ?? 'A path'}: is a folder; a file is needed.`;
    case 'EADDRINUSE':
      return `Port ${port} of ${address} is taken: stop what listens there, or choose another with --port (0 picks one).`;
    case 'EADDRNOTAVAIL':
      return `This machine has no address ${address}: choose another with --host (127.0.0.1, or 0.0.0.0 for all).`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `The host ${hostname} is not known: check its name, and the network.`;
    case 'EACCES':
      return listening
        ? `Port ${port} needs rights that this process does not have: choose one above 1023 with --port.`
        : `${path ?? 'A file'}: permission denied.`;
    case 'EROFS':
      return `${path ?? 'A file'}: its disk is read-only.`;
    case 'ENOSPC':
    case 'EDQUOT':
      return `The disk${path ? ` of ${path}` : ''} is full. Free some space, then run the command again.`;
    default:
      return undefined;
  }
}

/** A user's mistake in its words; undefined for a bug. */
function mistake(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if (error instanceof UserError) return error.told;
  const text = refusal(error);
  return text && `skv: ${text}`;
}

/** A reader that has seen enough, such as `head`, ends the command: it is no failure of it. */
function stopWhenUnread(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(0);
  });
}

/** Runs a command and turns what it throws into a message and an exit code. */
export async function main(command: () => Promise<unknown>): Promise<void> {
  stopWhenUnread();
  try {
    await command();
  } catch (error) {
    const told = mistake(error);
    if (told !== undefined) {
      process.stderr.write(`${told}\n`);
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
