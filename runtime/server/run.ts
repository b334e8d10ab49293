/** Serves until a signal: the first drains and ends with 0, a second one stops at once. */
import type { AddressInfo } from 'node:net';
import type { EngineApi } from '../engine/types.ts';
import { type ServerOptions, createServer } from './server.ts';

export interface RunOptions extends ServerOptions {
  host: string;
  port: number;
  /** seconds that running requests get to finish */
  shutdownTimeout?: number;
  onReady?: (url: string) => void;
}

export async function runServer(engine: EngineApi, options: RunOptions): Promise<void> {
  const server = await createServer(engine, options);
  await server.app.listen({ host: options.host, port: options.port });
  const { address, port, family } = server.app.server.address() as AddressInfo;
  options.onReady?.(`http://${family === 'IPv6' ? `[${address}]` : address}:${port}`);
  await new Promise<void>((resolve) => {
    let stopping = false;
    const stop = async (signal: NodeJS.Signals) => {
      if (stopping) process.exit(signal === 'SIGINT' ? 130 : 143);
      stopping = true;
      process.stderr.write(`skv: ${signal}: finishing ${server.active()} requests; once more stops at once\n`);
      server.drain();
      const deadline = Date.now() + (options.shutdownTimeout ?? 30) * 1000;
      while (server.active() > 0 && Date.now() < deadline) await new Promise((done) => setTimeout(done, 20));
      await engine.close(); // what is still running ends here, as aborted
      await new Promise((done) => setTimeout(done, 20)); // and its answer leaves
      await server.close();
      resolve();
    };
    process.on('SIGTERM', stop);
    process.on('SIGINT', stop);
  });
}
