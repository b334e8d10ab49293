/** From the options of `skv bench` to a measurement and its report. */
import { type Lengths, parseLengths } from '../../bench/load.ts';
import type { PeerPart } from '../../bench/peers/parts.ts';
import type { BuiltPolicy } from '../../codegen/plan/types.ts';
import { type Report, type ReportFlags, deliver } from '../../bench/report.ts';
import type { LoadedModel } from '../../runtime/model/types.ts';
import { parseBytes, positive, whole } from '../flags.ts';
import { longText, openModel } from '../model.ts';
import { note } from '../output.ts';
import { UserError } from '../../toolchain/errors.ts';
import { buildPolicy } from '../policies.ts';

interface Common extends ReportFlags {
  model: string;
  quick?: boolean;
}

interface Repeated extends Common {
  runs: string;
}

function lengths(flag: string, text: string): Lengths {
  try {
    return parseLengths(flag, text);
  } catch (error) {
    throw new UserError((error as Error).message);
  }
}

/** Progress goes to the standard error, the report to the standard output. */
async function measure(flags: Common, run: (progress: (line: string) => void) => Promise<Report>): Promise<void> {
  await deliver(await run((line) => note(`skv: ${line}`)), flags);
}

export async function bounds(flags: Repeated & { only: string[] }): Promise<void> {
  const runs = whole('runs', flags.runs);
  const { bounds: run } = await import('../../bench/bounds.ts');
  const [none, h2o] = [await buildPolicy('none'), await buildPolicy('h2o')];
  const model = await openModel(flags.model);
  await measure(flags, (progress) => run({ model, none, h2o, runs, quick: flags.quick, only: flags.only }, progress));
}

export async function kernels(flags: Repeated & { policy: string[] }): Promise<void> {
  const runs = whole('runs', flags.runs);
  const { kernels: run } = await import('../../bench/kernels.ts');
  const { ownCases, passCases } = await import('../../bench/passes.ts');
  const { quick = false } = flags;
  const none = await buildPolicy('none');
  const own: BuiltPolicy[] = [];
  for (const type of flags.policy) own.push(await buildPolicy(type));
  const { spec } = await openModel(flags.model);
  const { layers, kvHeads, heads, headDim, width, ffn } = spec;
  const shape = { layers, kvHeads, group: heads / kvHeads, headDim, width, ffn };
  const passes = own.length
    ? ownCases(shape, none, own, quick)
    : passCases(shape, { none, h2o: await buildPolicy('h2o'), snapkv: await buildPolicy('snapkv') }, quick);
  const names = own.map(({ plan }) => plan.name);
  await measure(flags, (progress) => run({ shape, passes, own: names, runs, quick }, progress));
}

export async function engine(flags: Repeated & { policy: string[]; context?: string }): Promise<void> {
  const { quick, policy: policies } = flags;
  const runs = whole('runs', flags.runs);
  const { LONGEST, engineBench } = await import('../../bench/engine.ts');
  const { KEPT, costedNames } = await import('../../bench/costed.ts');
  const context = whole('context', flags.context, KEPT);
  if (context !== undefined && context > LONGEST)
    throw new UserError(`--context ${context}: at most ${LONGEST} tokens are compared.`);
  const unknown = policies.find((name) => !costedNames.includes(name));
  if (unknown !== undefined)
    throw new UserError(`--policy ${unknown}: what these cost is measured: ${costedNames.join(', ')}.`);
  const model = await openModel(flags.model);
  await measure(flags, (progress) => engineBench({ model, runs, quick, policies, context }, progress));
}

export async function start(flags: Common & { runs?: string; kvCacheMemory: string }): Promise<void> {
  const runs = whole('runs', flags.runs ?? (flags.quick ? '1' : '3'));
  const pool = parseBytes('kv-cache-memory', flags.kvCacheMemory);
  const { start: run } = await import('../../bench/start.ts');
  const model = await openModel(flags.model);
  await measure(flags, (progress) => run({ model, runs, pool }, progress));
}

export async function peers(flags: Repeated & { short?: boolean; only: string[]; part: PeerPart[] }): Promise<void> {
  const runs = whole('runs', flags.runs);
  const { peers: run } = await import('../../bench/peers.ts');
  const model = await openModel(flags.model);
  await measure(flags, (progress) =>
    run(
      {
        model,
        runs,
        short: flags.short ?? flags.quick,
        only: flags.only,
        ...(flags.part.length ? { parts: flags.part } : {}),
      },
      progress,
    ),
  );
}

interface ServeFlags extends Common {
  url?: string;
  apiKey?: string;
  rate: string[];
  requests?: string;
  prompt: string;
  output: string;
  policy: string[];
  ratio?: string;
  kvCacheMemory?: string;
  seed: string;
  sloTtft: string;
  sloItl: string;
  saturate?: string | true;
}

/** NAME or NAME=WEIGHT. */
function weighted(text: string): { type: string; weight: number } {
  const [, type, weight] = text.match(/^(.+?)(?:=([\d.]+))?$/)!;
  return { type, weight: weight === undefined ? 1 : positive('policy', weight) };
}

export async function serve(flags: ServeFlags): Promise<void> {
  if (flags.apiKey !== undefined && flags.url === undefined)
    throw new UserError('--api-key is for the server at --url; the one that is started here needs none.');
  const { serve: run } = await import('../../bench/serve.ts');
  const wanted = (flags.policy.length ? flags.policy : ['none']).map(weighted);
  const policies = [];
  for (const { type, weight } of wanted) policies.push({ name: (await buildPolicy(type)).plan.name, weight });
  const model: LoadedModel = await openModel(flags.model);
  const serverArgs = ['--model', flags.model, ...wanted.flatMap(({ type }) => ['--sparse-kv-cache-type', type])];
  if (flags.ratio) serverArgs.push('--sparse-kv-cache-ratio', String(positive('ratio', flags.ratio, 1)));
  if (flags.kvCacheMemory)
    serverArgs.push('--kv-cache-memory', String(parseBytes('kv-cache-memory', flags.kvCacheMemory)));
  const quick = flags.quick ?? false;
  const options = {
    model,
    url: flags.url,
    apiKey: flags.apiKey ?? process.env.SKV_API_KEY,
    serverArgs,
    rates: (flags.rate.length ? flags.rate : quick ? ['4'] : ['0.5', '1', '2', '4']).map((rate) =>
      positive('rate', rate),
    ),
    requests: whole('requests', flags.requests ?? (quick ? '8' : '40')),
    prompt: lengths('prompt', flags.prompt),
    output: lengths('output', flags.output),
    policies,
    seed: whole('seed', flags.seed),
    slo: { ttft: positive('slo-ttft', flags.sloTtft), itl: positive('slo-itl', flags.sloItl) },
    saturate:
      flags.saturate === undefined
        ? undefined
        : flags.saturate === true
          ? 0.9
          : positive('saturate', flags.saturate, 1),
  };
  await measure(flags, (progress) => run(options, progress));
}

interface PolicyFlags extends Repeated {
  policy: string[];
  keep: string[];
  kvCacheMemory: string;
  requests?: string;
  prompt: string;
  output: string;
  text?: string;
  prefix: string;
  continue: string;
}

export async function policies(flags: PolicyFlags): Promise<void> {
  const { policyBench } = await import('../../bench/policies.ts');
  const quick = flags.quick ?? false;
  const chosen = flags.policy.length ? flags.policy : quick ? ['h2o'] : ['h2o', 'snapkv', 'chunkkv', 'streaming'];
  const built: { name: string; built: BuiltPolicy }[] = [];
  for (const name of ['none', ...chosen.filter((name) => name !== 'none' && name !== 'auto')])
    built.push({ name, built: await buildPolicy(name) });
  const model = await openModel(flags.model);
  const sizes = { prefix: whole('prefix', flags.prefix), count: whole('continue', flags.continue) };
  const prompt = whole('prompt', flags.prompt);
  const longest = Math.max(prompt + whole('output', flags.output), sizes.prefix + sizes.count);
  if (longest > model.maxPosition)
    throw new UserError(
      `${longest} tokens are more than the context of ${model.maxPosition}: lower --prompt, --output, --prefix or --continue.`,
    );
  const needed = sizes.prefix + sizes.count;
  const tokens = flags.text
    ? longText(model, flags.text, needed, true)
    : model.tokenizer.encode((await import('../../eval/text.ts')).mobyDick().slice(0, 400_000), { addBos: true });
  await measure(flags, (progress) =>
    policyBench(
      {
        model,
        policies: built,
        ratios: (flags.keep.length ? flags.keep : quick ? ['0.2'] : ['0.5', '0.2', '0.1']).map((keep) =>
          positive('keep', keep, 1),
        ),
        pool: parseBytes('kv-cache-memory', flags.kvCacheMemory),
        requests: whole('requests', flags.requests ?? (quick ? '6' : '16')),
        prompt,
        output: whole('output', flags.output),
        runs: whole('runs', flags.runs),
        tokens,
        ...sizes,
      },
      progress,
    ),
  );
}
