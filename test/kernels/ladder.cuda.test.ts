/** The ladder's rung of CUDA: interpreter = CUDA's text, emulated, for a quarter of the random policies. */
import { test } from 'uvu';
import { emulateSource } from '../emulation/emulate.ts';
import { plan } from '../../codegen/plan/plan.ts';
import { render } from '../../codegen/back/render.ts';
import { quickCompiler } from './quick.ts';
import { climb, COUNT, cut, folder, randomPolicies, type Rung } from './ladder.ts';

// Expressions alone: other tests have the kernels optimised. Without any optimiser the emulation's threads, not the compiler,
// take the time: ten times as long.
process.env.CXX = quickCompiler('-O1');
const policies = randomPolicies(Math.ceil(COUNT / 4));

/** The text with `count` places replaced: a template that has changed must not compile everything again unnoticed. */
function without(text: string, pattern: RegExp, replacement: string, count: number): string {
  const found = text.match(pattern)?.length ?? 0;
  if (found !== count) throw new Error(`${pattern} matches ${found} times, not ${count}: has policy.cu.hbs changed?`);
  return text.replace(pattern, replacement);
}

/** CUDA's text of many policies for the emulation: their expressions and probes only. */
function emulated(batch: readonly Rung[]): Promise<string> {
  let head = '';
  const parts = batch.map(({ seed, simple }) => {
    const text = render(simple, plan(simple, 'cuda', String(seed)))['policy.cu'];
    const start = text.indexOf('namespace {');
    head ||= text.slice(0, start);
    const body = without(text.slice(start), /return run\(step, .*;$/gm, 'return step == nullptr; // no kernel', 4)
      .replaceAll('skv_policy_entry', `skv_policy_entry_${seed}`)
      .replace('"cuda"', '"cpu"'); // emulated, it takes the addon's arrays, as no library for a GPU could
    return `namespace seed_${seed} {\n${body}}\n`;
  });
  return emulateSource(`${head}${parts.join('\n')}`, folder);
}

climb('CUDA', cut(policies, Math.ceil(policies.length / 2)), emulated);

test.run();
