/** Serves until a signal: the first drains and ends with 0, a second one stops at once. */
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EngineApi } from '../engine/types.ts';
import { type Server, type ServerOptions, createServer } from './server.ts';

export interface RunOptions extends ServerOptions {
  host: string;
  port: number;
  /** seconds that running requests get to finish */
  shutdownTimeout?: number;
  onReady?: (url: string) => void;
}

/** Milliseconds between looks at whether npm is still there. */
const LOOK = 500;

/** The parent and its parent: the shell that npm and npx run commands in, and npm itself where the system tells. */
function ancestors(): string {
  const parent = process.ppid;
  try {
    return `${parent} ${readFileSync(`/proc/${parent}/stat`, 'latin1').split(') ')[1].split(' ')[1]}`;
  } catch {
    return String(parent);
  }
}

/** npm passes signals to its shell alone, and SIGKILL to nobody: once one of them is gone, the server has been told to stop. */
function whenOrphaned(stop: () => void): void {
  if (process.env.npm_command === undefined) return;
  const first = ancestors();
  const look = setInterval(() => {
    if (ancestors() === first) return;
    clearInterval(look);
    stop();
  }, LOOK).unref();
}

/** Resolves at the first SIGTERM or SIGINT, or when npm is gone that started it; another signal ends the process. */
function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    let stopping = false;
    const stop = (signal: NodeJS.Signals) => {
      if (stopping) process.exit(signal === 'SIGINT' ? 130 : 143);
      stopping = true;
      resolve(signal);
    };
    process.on('SIGTERM', stop).on('SIGINT', stop);
    whenOrphaned(() => {
      stopping = true;
      resolve('npm has ended');
    });
  });
}

/** Running requests finish, or are cut off when the time is over; then the server and the engine close. */
async function drain(server: Server, engine: EngineApi, seconds: number): Promise<void> {
  server.drain();
  const deadline = Date.now() + seconds * 1000;
  while (server.active() > 0 && Date.now() < deadline) await sleep(20);
  await engine.close(); // what is still running ends here, as aborted
  await sleep(20); // and its answer leaves
  await server.close();
}

/** The device answers nothing any more: answers end with the error, then so does the process, and a supervisor starts another. */
async function endLost(server: Server, { message }: Error): Promise<never> {
  process.stderr.write(
    `skv: ${message}\nskv: the device is lost to this process, which ends; it can be started again\n`,
  );
  const deadline = Date.now() + 1000;
  while (server.active() > 0 && Date.now() < deadline) await sleep(20);
  await sleep(20); // the last answer leaves
  process.exit(1); // nothing is freed on a device that answers nothing
}

export async function runServer(engine: EngineApi, options: RunOptions): Promise<void> {
  const server = await createServer(engine, options);
  engine.onBroken = (error) => error.lost && void endLost(server, error);
  await server.app.listen({ host: options.host, port: options.port });
  const { address, port, family } = server.app.server.address() as AddressInfo;
  const stopped = stopSignal(); // before anybody is told that the server is there
  options.onReady?.(`http://${family === 'IPv6' ? `[${address}]` : address}:${port}`);
  const signal = await stopped;
  const active = server.active();
  process.stderr.write(
    `skv: ${signal}: finishing ${active} request${active === 1 ? '' : 's'}; once more stops at once\n`,
  );
  await drain(server, engine, options.shutdownTimeout ?? 30);
}
