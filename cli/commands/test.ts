import { build, compileSource } from '../../codegen/build.ts';
import { host } from '../../codegen/oracle/host.ts';
import { type Rung, difference, interpreted, onHostPolicy, reached, situation } from '../../codegen/oracle/ladder.ts';
import { native } from '../../runtime/native/index.ts';
import { json, say } from '../output.ts';
import { UserError } from '../../toolchain/errors.ts';
import { policyFile } from '../policies.ts';

/** skv test: the ladder for a user's own policy. A rung that differs is a bug of skv; a NaN is the policy's. */
export async function testPolicy(name: string, flags: { runs: string; seed: string; json?: boolean }): Promise<void> {
  const [runs, first] = [Number(flags.runs), Number(flags.seed)];
  if (!Number.isInteger(runs) || runs < 1 || !Number.isInteger(first))
    throw new UserError(`--runs ${flags.runs} --seed ${flags.seed}: whole numbers are needed, --runs from 1.`);
  const file = policyFile(name);
  const { library } = await build(file);
  const { policy } = await compileSource(file);
  const runnable = host(file);
  let nan: number | undefined;
  for (let seed = first; seed < first + runs; seed++) {
    const at = situation(policy, seed);
    const compiled: Rung = { states: at.states.slice(), scores: new Float32Array(at.slots) };
    const probe = { ...at, headDim: at.dim };
    native().probeNext(library, { ...probe, ...compiled });
    native().probeScore(library, { ...probe, scores: compiled.scores });
    const rungs = {
      JavaScript: onHostPolicy(policy, runnable, at),
      interpreter: interpreted(policy, at),
      'compiled code': compiled,
    };
    for (const [upper, lower] of [
      ['JavaScript', 'interpreter'],
      ['interpreter', 'compiled code'],
    ] as const)
      for (const what of ['states', 'scores'] as const) {
        const i = difference(rungs[upper][what], rungs[lower][what]);
        if (i !== undefined)
          throw new Error(
            `${policy.name}, seed ${seed}: ${what} ${i} is ${rungs[upper][what][i]} in ${upper} and ${rungs[lower][what][i]} in ${lower}`,
          );
      }
    if (interpreted(policy, reached(policy, at, seed)).scores.some(Number.isNaN)) nan ??= seed;
  }
  if (flags.json) json({ policy: policy.name, runs, seed: first, nanSeed: nan ?? null });
  else
    say(
      `${policy.name}: JavaScript = interpreter = compiled code, bit for bit, on ${runs} random cases (seeds ${first} … ${first + runs - 1})`,
    );
  if (nan !== undefined)
    throw new UserError(
      `${policy.name}: the score is NaN on finite input (seed ${nan}). NaN counts as the lowest score; guard the division, logarithm or root it comes from.`,
    );
}
