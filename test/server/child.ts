/** A server in a process of its own, for tests of signals: prints its address, and takes 5 ms or more a step. */
import { runServer } from '../../runtime/server/run.ts';
import { smallTextEngine } from './textual.ts';

const engine = await smallTextEngine();
await runServer(engine, {
  host: '127.0.0.1',
  port: 0,
  shutdownTimeout: Number(process.argv[2] ?? 30),
  onReady: (url) => {
    const inner = engine.onStep;
    engine.onStep = (step) => {
      inner?.(step);
      for (const end = performance.now() + 5; performance.now() < end; );
    };
    process.stdout.write(`${url}\n`);
  },
});
