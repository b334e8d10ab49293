/** Serves until a signal: the first drains and ends with 0, a second one stops at once. */
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

/** Resolves at the first SIGTERM or SIGINT; another one ends the process. */
function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let stopping = false;
    const stop = (signal: NodeJS.Signals) => {
      if (stopping) process.exit(signal === 'SIGINT' ? 130 : 143);
      stopping = true;
      resolve(signal);
    };
    process.on('SIGTERM', stop).on('SIGINT', stop);
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

export async function runServer(engine: EngineApi, options: RunOptions): Promise<void> {
  const server = await createServer(engine, options);
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
