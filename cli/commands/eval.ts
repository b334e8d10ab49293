import type { BuiltPolicy } from '../../codegen/plan/types.ts';
import type { LoadedModel } from '../../runtime/model/types.ts';
import { keyPrompts, keys } from '../../eval/keys.ts';
import { longText, openModel, parseRatio } from '../model.ts';
import { nll } from '../../eval/nll.ts';
import { bytes, json, parseParams, say } from '../output.ts';
import { UserError } from '../../toolchain/errors.ts';
import { buildPolicy } from '../policies.ts';

interface EvalFlags {
  model: string;
  text: string;
  prefix: string;
  continue: string;
  trials: string;
  seed: string;
  blind?: boolean;
  policy: string[];
  param: string[];
  ratio?: string;
  json?: boolean;
}

const measures = { nll: evaluateNll, keys: evaluateKeys };

/** skv eval MEASURE: policies on a text, next to the full cache. */
export async function evaluate(measure: string, flags: EvalFlags): Promise<void> {
  if (!Object.hasOwn(measures, measure))
    throw new UserError(`skv eval ${measure}: the measures ${Object.keys(measures).join(', ')} are possible.`);
  await measures[measure as keyof typeof measures](flags);
}

interface Opened {
  model: LoadedModel;
  tokens: Int32Array;
  /** runs the measure with the full cache, then with every policy */
  each<T>(run: (policy: BuiltPolicy, how: How) => Promise<T>): Promise<(T & { policy: string })[]>;
}

interface How {
  ratio?: number;
  params: Record<string, number>;
}

/** What every measure needs: compiled policies, the model, and as many tokens of text or more. */
async function open(flags: EvalFlags, needed: number, addBos: boolean): Promise<Opened> {
  const policies: BuiltPolicy[] = [];
  for (const name of ['none', ...flags.policy.filter((name) => name !== 'none' && name !== 'auto')])
    policies.push(await buildPolicy(name));
  const model = await openModel(flags.model);
  const tokens = longText(model, flags.text, needed, addBos);
  const how: How = { params: parseParams(flags.param), ratio: parseRatio('ratio', flags.ratio) };
  return {
    model,
    tokens,
    each: async (run) => {
      const results = [];
      for (const policy of policies) {
        const { name } = policy.plan;
        results.push({ policy: name, ...(await run(policy, name === 'none' ? { params: {} } : how)) });
      }
      return results;
    },
  };
}

/** Teacher-forced mean negative log-likelihood, natural log. */
async function evaluateNll(flags: EvalFlags): Promise<void> {
  const [prefix, count] = [Number(flags.prefix), Number(flags.continue)];
  if (!(Number.isInteger(prefix) && prefix > 0 && Number.isInteger(count) && count > 0))
    throw new UserError('--prefix and --continue are whole numbers of tokens.');
  const { model, tokens, each } = await open(flags, prefix + count, true);
  const results = await each((policy, how) => nll(model, policy, { tokens, prefix, count, ...how }));
  const [full, ...rest] = results;
  if (flags.json)
    return json({
      prefix,
      tokens: count,
      full: full.nll,
      policies: rest.map((each) => ({ ...each, difference: each.nll - full.nll })),
    });
  say(`${prefix} tokens of prefix, ${count} judged; nats per token`);
  for (const each of results)
    say(
      `${each.policy.padEnd(12)} ${each.nll.toFixed(4)}  ${each === full ? '' : `${each.nll >= full.nll ? '+' : ''}${(each.nll - full.nll).toFixed(4)}`}  cache ${(each.cacheBytes / 1048576).toFixed(1)} MiB`,
    );
}

/** Keys hidden in long prompts, found or not. */
async function evaluateKeys(flags: EvalFlags): Promise<void> {
  const { blind = false } = flags;
  const [length, trials, seed] = [Number(flags.prefix), Number(flags.trials), Number(flags.seed)];
  if (!(Number.isInteger(length) && length > 0 && Number.isInteger(trials) && trials > 0 && Number.isInteger(seed)))
    throw new UserError('--prefix, --trials and --seed are whole numbers.');
  const { model, tokens, each } = await open(flags, length * trials, false);
  const prompts = keyPrompts(model, { text: tokens, length, trials, seed });
  const results = await each((policy, how) => keys(model, policy, prompts, { ...how, blind }));
  const [full, ...policies] = results;
  if (flags.json) return json({ prefix: length, blind, seed, full, policies });
  say(`${trials} keys in ${length} tokens each${blind ? ', asked for after the text was compressed' : ''}`);
  for (const { policy, found, cacheBytes, trials } of results) {
    const missed = trials.filter(({ found }) => !found).map(({ depth }) => `${Math.round(100 * depth)} %`);
    say(
      `${policy.padEnd(12)} ${String(found).padStart(3)} found  cache ${bytes(cacheBytes).padStart(9)}  ${missed.length ? `missed at ${missed.join(', ')}` : ''}`.trimEnd(),
    );
  }
}
