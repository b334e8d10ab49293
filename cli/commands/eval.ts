/** skv eval: policies on a text, next to the full cache; a model's rounding, next to none. */
import type { BuiltPolicy } from '../../codegen/plan/types.ts';
import { keyPrompts, keys } from '../../eval/keys.ts';
import { type Reader, divergence, skvReader } from '../../eval/kl.ts';
import { llamaReader } from '../../eval/llama.ts';
import { nll } from '../../eval/nll.ts';
import { mobyDick } from '../../eval/text.ts';
import type { GenerateRequest } from '../../runtime/engine/types.ts';
import type { LoadedModel } from '../../runtime/model/types.ts';
import { UserError } from '../../toolchain/errors.ts';
import { whole } from '../flags.ts';
import { longText, openModel } from '../model.ts';
import { bytes, json, note, progressLine, say } from '../output.ts';
import { askedOf, buildPolicy } from '../policies.ts';

interface EvalFlags {
  model: string;
  text: string;
  prefix: string;
  policy: string[];
  param: string[];
  ratio?: string;
  json?: boolean;
}

/** A measured policy, and what was asked of it. */
type Subject = BuiltPolicy & Pick<GenerateRequest, 'params' | 'ratio'>;

/** The full cache and every policy, checked against --param and --ratio, which must concern one at least. */
async function subjectsOf(flags: EvalFlags): Promise<Subject[]> {
  const names = flags.policy.filter((name) => name !== 'none' && name !== 'auto');
  if (names.length === 0 && (flags.param.length > 0 || flags.ratio !== undefined))
    throw new UserError('--param and --ratio are for a policy: name one with --policy.');
  const policies: Subject[] = [await buildPolicy('none')];
  for (const name of names) {
    const policy = await buildPolicy(name);
    policies.push({ ...policy, ...askedOf(policy, flags) });
  }
  return policies;
}

const how = ({ params, ratio }: Subject) => ({ params, ratio, note: (line: string) => note(`skv: ${line}`) });

/** Measures one subject after the other. */
async function each<T>(subjects: readonly Subject[], run: (subject: Subject) => Promise<T>) {
  const results: (T & { policy: string })[] = [];
  for (const subject of subjects) results.push({ policy: subject.plan.name, ...(await run(subject)) });
  return results;
}

/** Teacher-forced mean negative log-likelihood, natural log. */
export async function evaluateNll(flags: EvalFlags & { continue: string }): Promise<void> {
  const [prefix, count] = [whole('prefix', flags.prefix), whole('continue', flags.continue)];
  const subjects = await subjectsOf(flags);
  const model = await openModel(flags.model);
  const tokens = longText(model, flags.text, prefix + count, true);
  const results = await each(subjects, (subject) => nll(model, subject, { tokens, prefix, count, ...how(subject) }));
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
export async function evaluateKeys(
  flags: EvalFlags & { trials: string; seed: string; blind?: boolean },
): Promise<void> {
  const { blind = false } = flags;
  const [length, trials] = [whole('prefix', flags.prefix), whole('trials', flags.trials)];
  const seed = whole('seed', flags.seed, 0);
  const subjects = await subjectsOf(flags);
  const model = await openModel(flags.model);
  const tokens = longText(model, flags.text, length * trials, false);
  const prompts = keyPrompts(model, { text: tokens, length, trials, seed });
  const results = await each(subjects, (subject) => keys(model, subject, prompts, { ...how(subject), blind }));
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

interface KlFlags {
  model: string;
  text?: string;
  tokens: string;
  beside?: string;
  threads?: string;
  json?: boolean;
}

/** Divergence of what is served, and of llama.cpp on request, from the same weights with activations in f32. */
export async function evaluateKl(flags: KlFlags): Promise<void> {
  const count = whole('tokens', flags.tokens, 2);
  const threads = flags.threads === undefined ? undefined : whole('threads', flags.threads);
  if (flags.beside !== undefined && flags.beside !== 'llama.cpp')
    throw new UserError(`--beside ${flags.beside}: llama.cpp is possible.`);
  const model = await openModel(flags.model);
  const [file] = model.spec.files;
  if (flags.beside && !file.endsWith('.gguf'))
    throw new UserError(`--beside ${flags.beside}: ${file} is no GGUF file, which llama.cpp reads alone.`);
  const tokens = (flags.text ? longText(model, flags.text, count, true) : bookTokens(model, count)).subarray(0, count);
  const none = await buildPolicy('none');
  const skv = (name: string, options: Parameters<typeof skvReader>[4]) =>
    skvReader(name, model, none, tokens, { threads, ...options });
  const open: Reader[] = [];
  try {
    open.push(await skv('truth', { kvType: 'f32', activations: 'f32' }));
    open.push(await skv('skv, activations as served', { kvType: 'f32' }));
    open.push(await skv('skv, cache in bf16 too', { kvType: 'bf16' }));
    if (flags.beside) open.push(await llamaReader(file, model.spec.vocab, tokens, threads ?? 2));
    const line = progressLine('tokens');
    const [truth, ...readers] = open;
    const results = await divergence(truth, readers, tokens, (done) => line.at(done, count - 1));
    line.end();
    if (flags.json) return json({ model: file, tokens: count, results });
    say(`${count} tokens; truth: the same weights, activations and cache in f32`);
    say(`${''.padEnd(24)} top agrees   mean |Δ|     95 %    worst       KL`);
    for (const { name, topAgrees, mean, percentile95, worst, kl } of results)
      say(
        `${name.padEnd(24)} ${`${(100 * topAgrees).toFixed(1)} %`.padStart(10)} ${mean.toFixed(4).padStart(10)} ${percentile95.toFixed(3).padStart(8)} ${worst.toFixed(3).padStart(8)} ${kl.toFixed(5).padStart(8)}`,
      );
  } finally {
    for (const reader of open) await reader.close();
  }
}

/** The beginning of the book. */
function bookTokens(model: LoadedModel, count: number): Int32Array {
  const tokens = model.tokenizer.encode(mobyDick().slice(0, count * 8), { addBos: true });
  if (tokens.length < count) throw new UserError(`--tokens ${count}: the book has fewer; name a longer --text.`);
  return tokens;
}
