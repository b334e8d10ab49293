/**
 * The real model beside llama.cpp, which answers greedily; both then say how likely each token of its answers was.
 *
 * With F16 weights both are exact but for one rounding: llama.cpp takes activations to f16, skv is told to keep them in f32
 * (where there is AMX it would round prompts), and neither depends on the processor. Measured over 327 tokens:
 * log-probabilities differ by 0.0013 on average and 0.0071 at most, and every top token is the same. With quantised weights each rounds activations to int8 in its own way, llama.cpp
 * in another on every processor, so there skv is judged by its own exact answer: the distance is the same on every path
 * and stays what its precision promises (0.048 at Q4_1, 0.060 at Q8_0).
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { requantise } from '../../bench/requantise.ts';
import { build, shipped } from '../../codegen/build.ts';
import { Engine } from '../../runtime/engine/engine.ts';
import { loadModel } from '../../runtime/model/load.ts';
import { type Judged, distances, greedyAnswers, judge, mean } from '../oracle/llama.ts';

/** Tokens of an answer: the plain path has no vector instructions, and takes a second for each. */
const LENGTH = 40;
/** About three times what was measured: another order of sums moves single tokens, a wrong formula all of them. */
const EXACT = { mean: 0.004, worst: 0.025 };
/** About twice what was measured: a coarser rounding than int8 by blocks of 64 is far beyond. */
const QUANTISED = 0.12;

const prompts = [
  'Write a short story about a lighthouse keeper.',
  'List five uses for a brick.',
  'Translate "good morning" into Spanish and explain when it is used.',
];

const [shippedFile] = (await loadModel('smollm2-135m')).spec.files;
const none = await build(shipped('none')!);

const model = await loadModel(requantise(shippedFile, 'F16'));
const questions = prompts.map((text) =>
  model.tokenizer.encode(model.chat([{ role: 'user', content: text }]), { special: true }),
);

/** What skv thinks of given answers, with weights of a file. */
async function judgeAll(
  file: string,
  answers: readonly { token: number }[][],
  activations: 'f32' | 'int8',
): Promise<Judged[][]> {
  const engine = await Engine.create({
    model: await loadModel(file),
    policies: [none],
    kvType: 'f32',
    activations,
    maxSeqs: 2,
  });
  const judged: Judged[][] = [];
  for (const [i, question] of questions.entries()) {
    const forced = answers[i].map(({ token }) => token);
    judged.push(await judge(engine, question, forced));
  }
  await engine.close();
  return judged;
}

const theirs = await greedyAnswers(model.spec.files[0], questions, { length: LENGTH, pastEnd: false });
const exact = await judgeAll(model.spec.files[0], theirs, 'f32');

prompts.forEach((text, i) =>
  test(`F16 weights, ${text}`, () => {
    assert.ok(theirs[i].length > LENGTH / 2, 'an answer');
    const far = distances(exact[i], theirs[i]);
    assert.ok(mean(far) < EXACT.mean, `log-probabilities differ by ${mean(far)} on average`);
    assert.ok(Math.max(...far) < EXACT.worst, `log-probabilities differ by up to ${Math.max(...far)}`);
    // their most likely token may be our second where two are as likely
    const behind = Math.max(...exact[i].map((each) => each.behind));
    assert.ok(behind < 2 * EXACT.worst, `a token of theirs is ${behind} less likely than ours`);
  }),
);

for (const [name, file] of [
  ['Q4_1, as it is shipped', shippedFile],
  ['Q8_0', requantise(shippedFile, 'Q8_0')],
])
  test(`${name}: int8 activations stay close to the exact answer`, async () => {
    const far = distances((await judgeAll(file, theirs, 'int8')).flat(), exact.flat());
    console.log(`${name}: log-probabilities differ by ${mean(far).toFixed(4)} on average (n=${far.length})`);
    assert.ok(mean(far) < QUANTISED, `log-probabilities differ by ${mean(far)} on average`);
  });

test.run();
