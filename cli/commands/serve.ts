import { existsSync, readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import type { BuildOptions } from '../../codegen/build.ts';
import type { BuiltPolicy } from '../../codegen/plan/types.ts';
import { samplingText } from '../../runtime/model/generation.ts';
import { compileTemplate } from '../../runtime/model/template.ts';
import type { LoadedModel } from '../../runtime/model/types.ts';
import { instructionSet } from '../../runtime/native/index.ts';
import { reasoningFormats, toolFormats } from '../../runtime/server/tool-formats.ts';
import { parseBytes, whole } from '../flags.ts';
import { type DeviceFlags, choosePlace, openOn } from '../device.ts';
import { type EngineFlags, type LoadFlags, openDummy, openModel } from '../model.ts';
import { bytes, note } from '../output.ts';
import { UserError } from '../../toolchain/errors.ts';
import { buildPolicy, policyFile } from '../policies.ts';

interface ServeFlags extends EngineFlags, DeviceFlags, LoadFlags {
  kvCacheMemory?: string;
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
  allowedOrigins?: string;
  streamStallTimeout: string;
  defaultMaxTokens?: string;
  chatTemplate?: string;
  toolCallParser: string;
  reasoningParser: string;
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

/** http://localhost:5173,https://chat.example, or JSON's list of them, as vLLM has it. */
function originsOf(text: string | undefined): string[] {
  const origins = (text ?? '').replace(/^\[(.*)\]$/, '$1').split(',');
  const names = origins.map((each) => each.trim().replace(/^(["'])(.*)\1$/, '$2')).filter(Boolean);
  for (const name of names)
    if (name !== '*' && !(URL.canParse(name) && new URL(name).origin === name))
      throw new UserError(`--allowed-origins ${name}: write origins such as http://localhost:5173, or *.`);
  return names;
}

/** A file with a chat template, or the template itself. */
function templateOf(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  if (!existsSync(text) && !/\{[{%]/.test(text))
    throw new UserError(`--chat-template ${text}: there is no such file, and it is no template.`);
  const template = existsSync(text) ? readFileSync(text, 'utf8') : text;
  try {
    compileTemplate(template);
  } catch (error) {
    throw new UserError(`--chat-template: it cannot be read: ${(error as Error).message}`);
  }
  return template;
}

/** A format's name, auto or none. */
function formatNamed(flag: string, name: string, formats: readonly { name: string }[]): string {
  const possible = ['auto', 'none', ...formats.map((format) => format.name)];
  if (!possible.includes(name)) throw new UserError(`--${flag} ${name}: possible are ${possible.join(', ')}.`);
  return name;
}

/** The policies that are served, the first by default; a request may always ask for the full cache. */
async function compileAll(types: readonly string[], options: BuildOptions): Promise<BuiltPolicy[]> {
  const policies: BuiltPolicy[] = [];
  for (const type of types) policies.push(await buildPolicy(type, { ...options, apart: true }));
  const names = policies.map(({ plan }) => plan.name);
  if (new Set(names).size !== names.length)
    throw new UserError(`Two of the policies have the same name: ${names.join(', ')}.`);
  if (!names.includes('none')) policies.push(await buildPolicy('none', { ...options, apart: true }));
  return policies;
}

export async function serve(flags: ServeFlags): Promise<void> {
  const port = Number(flags.port);
  if (!Number.isInteger(port) || port < 0 || port > 65535)
    throw new UserError(`--port ${flags.port}: a number from 0 to 65535 is needed.`);
  const limits = {
    toolFormat: formatNamed('tool-call-parser', flags.toolCallParser, toolFormats),
    reasoningFormat: formatNamed('reasoning-parser', flags.reasoningParser, reasoningFormats),
    maxQueue: whole('max-queue', flags.maxQueue),
    bodyLimit: parseBytes('max-body', flags.maxBody),
    timeLimit: seconds('request-timeout', flags.requestTimeout),
    shutdownTimeout: seconds('shutdown-timeout', flags.shutdownTimeout),
    streamStallTimeout: seconds('stream-stall-timeout', flags.streamStallTimeout),
    defaultMaxTokens: whole('default-max-tokens', flags.defaultMaxTokens),
    allowedOrigins: originsOf(flags.allowedOrigins),
  };
  const types = flags.sparseKvCacheType.length ? flags.sparseKvCacheType : ['auto'];
  const place = choosePlace(flags);
  const here = place.target === 'cpu' ? await compileAll(types, {}) : undefined; // mistakes are told before a model is opened
  const files = types.map(policyFile);
  const compile = async (options: BuildOptions) => here ?? compileAll(types, options);
  // Loading fills V8's nursery once and would leave it at 32 MiB; a server's own garbage is small.
  setFlagsFromString('--semi-space-growth-factor=1');
  const model = sampledAs(
    flags.generationConfig,
    openDummy(flags) ??
      (await openModel(flags.model, whole('max-model-len', flags.maxModelLen), templateOf(flags.chatTemplate))),
  );
  const opening = openOn(place, model, { files, compile }, flags);
  opening.catch(() => {}); // reported below
  // while the engine's threads pack the weights: the server's code and the tokenizer of chats
  const { runServer } = await import('../../runtime/server/serve.ts');
  model.tokenizer.encode('ready', { special: model.hasChatTemplate });
  const engine = await opening;
  const { pagesTotal, pageBytes } = engine.stats();
  const names = engine.policies.map(({ plan }) => plan.name);
  await runServer(engine, {
    host: flags.host,
    port,
    apiKey: flags.apiKey ?? process.env.SKV_API_KEY,
    modelName: flags.servedModelName,
    ...limits,
    logLevel: flags.logLevel,
    onReady: (url) =>
      note(
        `skv: ${engine.model.name} on ${url} with ${names[0]}${names.length > 1 ? ` (and ${names.slice(1).join(', ')})` : ''}, KV cache ${bytes(pagesTotal * pageBytes)}${place.target === 'cpu' ? `, ${instructionSet()}` : ''}`,
      ),
  });
}
