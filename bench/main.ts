/** `skv bench WHAT`: measurements, as text or as JSON. */
import { RequestError } from '../runtime/engine/types.ts';
import { peers } from './peers.ts';

export async function bench(
  what: string,
  flags: { runs: string; model: string; json?: boolean; quick?: boolean },
): Promise<void> {
  const runs = Number(flags.runs);
  if (what !== 'peers') throw new RequestError(`skv bench ${what}: peers is possible.`);
  if (!Number.isInteger(runs) || runs < 1)
    throw new RequestError(`--runs ${flags.runs}: a whole number from 1 is needed.`);
  const result = await peers(
    { model: flags.model, runs, quick: flags.quick },
    (line) => flags.json || process.stdout.write(`${line}\n`),
  );
  if (flags.json) process.stdout.write(`${JSON.stringify(result)}\n`);
  else process.stdout.write(`${result.machine}\n${result.missing ? `${result.missing}\n` : ''}`);
}
