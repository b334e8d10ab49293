import { setFlagsFromString } from 'node:v8';
import { samplingText } from '../../runtime/model/generation.ts';
import type { LoadedModel } from '../../runtime/model/types.ts';
import { parseBytes, whole } from '../flags.ts';
import { type EngineFlags, openEngine, openModel } from '../model.ts';
import { bytes, note } from '../output.ts';
import { UserError } from '../../toolchain/errors.ts';
import { buildPolicy } from '../policies.ts';

interface ServeFlags extends EngineFlags {
  model: string;
  host: string;
  port: string;
  sparseKvCacheType: string[];
  apiKey?: string;
  servedModelName?: string;
  maxQueue: string;
  maxBody: string;
  shutdownTimeout: string;
  requestTimeout: string;
  logLevel?: string;
  generationConfig: string;
}

function seconds(flag: string, text: string): number {
  const value = Number(text);
  if (!(text.trim() && value >= 0 && value <= 2_000_000))
    throw new UserError(`--${flag} ${text}: seconds are needed, from 0 to 2000000.`);
  return value;
}

/** The model with its own defaults of sampling, which a line tells, or without. */
function sampledAs(use: string, model: LoadedModel): LoadedModel {
  if (use === 'none') return { ...model, sampling: {} };
  if (use !== 'auto') throw new UserError(`--generation-config ${use}: auto and none are possible.`);
  const defaults = samplingText(model.sampling);
  if (defaults)
    note(`skv: requests that say nothing are sampled as the model wants: ${defaults} (--generation-config none: not)`);
  return model;
}

export async function serve(flags: ServeFlags): Promise<void> {
  const port = Number(flags.port);
  if (!Number.isInteger(port) || port < 0 || port > 65535)
    throw new UserError(`--port ${flags.port}: a number from 0 to 65535 is needed.`);
  const limits = {
    maxQueue: whole('max-queue', flags.maxQueue),
    bodyLimit: parseBytes('max-body', flags.maxBody),
    timeLimit: seconds('request-timeout', flags.requestTimeout),
    shutdownTimeout: seconds('shutdown-timeout', flags.shutdownTimeout),
  };
  const types = flags.sparseKvCacheType.length ? flags.sparseKvCacheType : ['auto'];
  const policies = [];
  for (const type of types) policies.push(await buildPolicy(type));
  const names = policies.map(({ plan }) => plan.name);
  if (new Set(names).size !== names.length)
    throw new UserError(`Two of the policies have the same name: ${names.join(', ')}.`);
  if (!names.includes('none')) policies.push(await buildPolicy('none')); // a request may always ask for the full cache
  // Loading fills V8's nursery once and would leave it at 32 MiB; a server's own garbage is small.
  setFlagsFromString('--semi-space-growth-factor=1');
  const model = sampledAs(
    flags.generationConfig,
    await openModel(flags.model, whole('max-model-len', flags.maxModelLen)),
  );
  const opening = openEngine(model, policies, flags);
  opening.catch(() => {}); // reported below
  // while the engine's threads pack the weights: the server's code and the tokenizer of chats
  const { runServer } = await import('../../runtime/server/serve.ts');
  model.tokenizer.encode('ready', { special: model.hasChatTemplate });
  const engine = await opening;
  const { pagesTotal, pageBytes } = engine.stats();
  await runServer(engine, {
    host: flags.host,
    port,
    apiKey: flags.apiKey ?? process.env.SKV_API_KEY,
    modelName: flags.servedModelName,
    ...limits,
    logLevel: flags.logLevel,
    onReady: (url) =>
      note(
        `skv: ${engine.model.name} on ${url} with ${names[0]}${names.length > 1 ? ` (and ${names.slice(1).join(', ')})` : ''}, KV cache ${bytes(pagesTotal * pageBytes)}`,
      ),
  });
}
