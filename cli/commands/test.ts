/** skv test: the ladder for a user's own policy. A rung that differs is a bug of skv; a NaN is the policy's. */
import { build, compileSource } from '../../codegen/build.ts';
import type { Value } from '../../codegen/ir/interpret.ts';
import type { Policy } from '../../codegen/ir/nodes.ts';
import { type HostPolicy, host } from '../../codegen/oracle/host.ts';
import {
  type Rung,
  type Situation,
  difference,
  inputsOf,
  interpreted,
  onHostPolicy,
  reached,
  situation,
} from '../../codegen/oracle/ladder.ts';
import { advice } from '../../codegen/plan/advice.ts';
import { native } from '../../runtime/native/index.ts';
import { UserError } from '../../toolchain/errors.ts';
import { whole } from '../flags.ts';
import { json, note, say } from '../output.ts';
import { policyFile } from '../policies.ts';

export async function testPolicy(name: string, flags: { runs: string; seed: string; json?: boolean }): Promise<void> {
  const [runs, seed] = [whole('runs', flags.runs), whole('seed', flags.seed, 0)];
  const file = policyFile(name);
  const { library } = await build(file);
  const { policy, plan } = await compileSource(file);
  const runnable = host(file);
  let nan: Nan | undefined;
  for (let i = seed; i < seed + runs; i++) {
    const at = situation(policy, i);
    climb(policy, runnable, library, at, i);
    nan ??= nanIn(policy, reached(policy, at, i), i);
  }
  const advised = advice(plan);
  if (flags.json) json({ policy: policy.name, runs, seed, nanSeed: nan?.seed ?? null, advice: advised });
  else
    say(
      `${policy.name}: JavaScript = interpreter = compiled code, bit for bit, on ${runs} random cases (seeds ${seed} … ${seed + runs - 1})`,
    );
  for (const line of advised) note(`skv: ${policy.name}: ${line}`);
  if (nan) throw new UserError(told(policy, nan));
}

/** Every rung on one situation. Throws where two differ. */
function climb(policy: Policy, runnable: HostPolicy, library: string, at: Situation, seed: number): void {
  const compiled: Rung = { states: at.states.slice(), scores: new Float32Array(at.slots) };
  const probe = { ...at, headDim: at.dim };
  native().probeNext(library, { ...probe, ...compiled });
  native().probeScore(library, { ...probe, scores: compiled.scores });
  const rungs: [string, Rung][] = [
    ['JavaScript', onHostPolicy(policy, runnable, at)],
    ['the interpreter', interpreted(policy, at)],
    ['compiled code', compiled],
  ];
  rungs.slice(1).forEach(([lower, below], i) => {
    const [upper, above] = rungs[i];
    for (const what of ['states', 'scores'] as const) {
      const at = difference(above[what], below[what]);
      if (at !== undefined)
        throw new Error(
          `${policy.name}, seed ${seed}: ${what} ${at} is ${above[what][at]} in ${upper} and ${below[what][at]} in ${lower}`,
        );
    }
  });
}

/** A score that is NaN on input that a sequence can have. */
interface Nan {
  readonly seed: number;
  readonly slot: number;
  readonly slots: number;
  readonly inputs: Record<string, Value>;
}

function nanIn(policy: Policy, at: Situation, seed: number): Nan | undefined {
  const slot = interpreted(policy, at).scores.findIndex(Number.isNaN);
  return slot < 0 ? undefined : { seed, slot, slots: at.slots, inputs: inputsOf(policy, at, slot) };
}

/** A number as it is; of a vector its beginning. */
function shown(value: Value): string {
  if (typeof value !== 'object')
    return typeof value === 'number' ? String(Number(value.toPrecision(7))) : String(value);
  return `[${Array.from(value.subarray(0, 3), (x) => Number(x.toPrecision(3))).join(', ')} … ${value.length} numbers]`;
}

function told({ name }: Policy, { seed, slot, slots, inputs }: Nan): string {
  const read = Object.entries(inputs).map(([input, value]) => `${input} = ${shown(value)}`);
  return `${name}: the score is NaN on finite input (seed ${seed}): slot ${slot} of ${slots}, where ${read.join(', ') || 'nothing is read'}. NaN counts as the lowest score; guard the division, logarithm or root it comes from.`;
}
