import { readFileSync } from 'node:fs';
import { openModel } from '../model.ts';
import { nll } from '../nll.ts';
import { UserError, json, parseParams, say } from '../output.ts';
import { buildPolicy } from '../policies.ts';

interface EvalFlags {
  model: string;
  text: string;
  prefix: string;
  continue: string;
  policy: string[];
  param: string[];
  ratio?: string;
  json?: boolean;
}

/** skv eval nll: teacher-forced mean negative log-likelihood, natural log, next to the full cache. */
export async function evaluate(measure: string, flags: EvalFlags): Promise<void> {
  if (measure !== 'nll') throw new UserError(`skv eval ${measure}: the measure nll is possible.`);
  const [prefix, count] = [Number(flags.prefix), Number(flags.continue)];
  if (!(Number.isInteger(prefix) && prefix > 0 && Number.isInteger(count) && count > 0))
    throw new UserError('--prefix and --continue are whole numbers of tokens.');
  const names = ['none', ...flags.policy.filter((name) => name !== 'none' && name !== 'auto')];
  const policies = [];
  for (const name of names) policies.push(await buildPolicy(name));
  const model = await openModel(flags.model);
  const tokens = model.tokenizer.encode(readFileSync(flags.text, 'utf8'), { addBos: true });
  if (tokens.length < prefix + count)
    throw new UserError(`${flags.text} has ${tokens.length} tokens; ${prefix + count} are needed.`);
  const results = [];
  for (const policy of policies) {
    const full = policy.plan.name === 'none';
    const params = full ? {} : parseParams(flags.param);
    const ratio = full ? undefined : flags.ratio;
    results.push({ policy: policy.plan.name, ...(await nll(model, policy, { tokens, prefix, count, ratio, params })) });
  }
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
