/**
 * The CUDA backend under the real engine, emulated: the tokens of the CPU's, for every shipped policy, whatever the
 * engine does with their pages meanwhile. Races, indices outside arrays and reads of what nobody wrote end a step.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import { WeightType } from '../../runtime/contract/records.ts';
import type { Engine } from '../../runtime/engine/engine.ts';
import type { EngineOptions } from '../../runtime/engine/types.ts';
import { emulatedDevice } from '../emulation/backend.ts';
import { tinyModel } from '../oracle/tiny.ts';
import { outcome, policyNames, randomTokens, smallBudgets, smallEngine } from './small.ts';

const names = policyNames;

const model = tinyModel(7, { layers: 3, kvHeads: 2, group: 3, windows: [0, 24, 0] });
process.on('exit', () => model.remove());
const { vocab, layers, kvHeads } = model.shape;
const PROMPT = randomTokens(1, 76, vocab);
/** Greedy: the seed is the policies' that read slot.random. */
const requestFor = (policy: string) => ({
  prompt: PROMPT,
  maxTokens: 24,
  policy,
  params: smallBudgets[policy],
  sampling: { seed: 5 },
});

const onCpu = { policies: await Promise.all(names.map((name) => build(shipped(name)!))) };
const onDevice = await emulatedDevice(names, 'f32');
const engineOf = (options: Partial<EngineOptions>) =>
  smallEngine(model, {
    maxModelLen: 256,
    maxSeqs: 6,
    kvCacheBytes: 8 << 20,
    kvType: 'f32',
    activations: 'f32',
    threads: 1,
    ...options,
  });

/** What the device's backend says of itself. */
const described = (engine: Engine) => {
  const { graphSteps = 0, sentBytes = 0 } = engine['nativeEngine'].describe();
  return { graphSteps, sentBytes };
};

/** Mean distance of log-probabilities in bf16, of a model whose logits spread as widely as this one's. */
const MOST_APART = 0.1;

const cpu = await engineOf({ ...onCpu, prefixCache: false });
const expected = new Map<string, number[]>();
const compactions = new Map<string, number>();
for (const policy of names) {
  const { tokens, finished } = await outcome(cpu, requestFor(policy));
  expected.set(policy, tokens);
  compactions.set(policy, finished.compactions);
}

test('the policies do generate different tokens', () =>
  assert.ok(new Set([...expected.values()].map(String)).size > 2));

for (const chunk of [7, 512])
  test(`prompts in chunks of ${chunk}`, async () => {
    const engine = await engineOf({ ...onDevice, maxBatchedTokens: chunk, prefixCache: false });
    for (const policy of names) {
      const { tokens, finished } = await outcome(engine, requestFor(policy));
      assert.is(finished.error, undefined, finished.error?.message);
      assert.equal(tokens, expected.get(policy), policy);
      assert.is(finished.compactions, compactions.get(policy), policy);
    }
    const { graphSteps } = described(engine); // a request has 23 steps of generated tokens, of four classes at most
    assert.ok(graphSteps > 12 * names.length, `${graphSteps} steps as graphs`);
    await engine.close();
  });

test('a step sends what is new; graphs end where a policy comes later', async () => {
  const [first, later] = ['none', 'h2o'].map((name) => onDevice.policies[names.indexOf(name)]);
  const engine = await engineOf({ ...onDevice, policies: [first], maxModelLen: 1024, prefixCache: false });
  const generate = async (policy: string) => {
    const before = described(engine).sentBytes;
    const { tokens } = await outcome(engine, requestFor(policy));
    assert.equal(tokens, expected.get(policy));
    return (described(engine).sentBytes - before) / 24;
  };
  // rows, lengths, budgets, parameters and, every 16 steps, a page a head; tables of a sequence are 1,536 bytes
  const bytes = await generate('none');
  assert.ok(bytes < 1500, `${bytes} bytes a step`);
  engine.addPolicy(later);
  await generate('h2o');
  await generate('none');
  await engine.close();
});

test('among strangers of every policy, some of which abort', async () => {
  const engine = await engineOf({ ...onDevice, maxBatchedTokens: 40, prefixCache: false });
  const strangers = names.map((policy, i) =>
    engine.submit({
      prompt: randomTokens(50 + i, 20 + 11 * i, vocab),
      maxTokens: 12 + i,
      policy,
      params: smallBudgets[policy],
    }),
  );
  const watched = names.map((policy) => outcome(engine, requestFor(policy)));
  setTimeout(() => strangers.forEach((stranger, i) => i % 2 === 0 && stranger.abort()), 30);
  for (const [i, policy] of names.entries()) assert.equal((await watched[i]).tokens, expected.get(policy), policy);
  await Promise.all(strangers.map((stranger) => stranger.finished));
  await engine.close();
});

test('after a prefix hit, and two requests that share a prefix at once', async () => {
  const engine = await engineOf({ ...onDevice, maxBatchedTokens: 64 });
  let hits = 0;
  for (const policy of names) {
    await outcome(engine, { ...requestFor(policy), maxTokens: 1 });
    const pair = [outcome(engine, requestFor(policy)), outcome(engine, requestFor(policy))];
    for (const each of pair) {
      const { tokens, finished } = await each;
      assert.equal(tokens, expected.get(policy), policy);
      if (finished.cachedTokens > 0) hits++;
    }
  }
  assert.ok(hits >= 4, `${hits} hits`);
  await engine.close();
});

test('through preemption: a small pool gives the tokens of a large one', async () => {
  const { pageBytes } = cpu.stats();
  const kvCacheBytes = pageBytes * layers * kvHeads * 10;
  const engine = await engineOf({ ...onDevice, maxBatchedTokens: 64, kvCacheBytes, prefixCache: false });
  const watched = names.flatMap((policy) => [outcome(engine, requestFor(policy)), outcome(engine, requestFor(policy))]);
  for (const [i, each] of watched.entries())
    assert.equal((await each).tokens, expected.get(names[i >> 1]), names[i >> 1]);
  assert.ok(engine.stats().preemptions > 0, 'somebody was preempted');
  await engine.close();
});

test('draws, penalties, biases, log-probabilities and forced tokens are the CPU’s', async () => {
  const engine = await engineOf({ ...onDevice });
  const requests = [
    { ...requestFor('h2o'), sampling: { temperature: 1, seed: 42, topP: 0.9 } },
    { ...requestFor('none'), sampling: { repetitionPenalty: 1.3, logitBias: new Map([[7, 2]]) } },
    { ...requestFor('snapkv'), sampling: { logprobs: 3 } },
    { ...requestFor('none'), forced: randomTokens(3, 10, vocab) },
  ];
  for (const request of requests) {
    const [wanted, got] = [cpu, engine].map((each) => each.submit(request));
    const events = [];
    for await (const event of got) events.push(event);
    let i = 0;
    for await (const { token, logprob, alternatives } of wanted) {
      assert.is(events[i].token, token);
      if (logprob !== undefined)
        assert.ok(Math.abs(events[i].logprob! - logprob) < 1e-4, `${events[i].logprob}, ${logprob}`);
      assert.equal(
        events[i].alternatives?.map((each) => each.token),
        alternatives?.map((each) => each.token),
      );
      i++;
    }
    assert.is(events.length, i);
  }
  await engine.close();
});

test('in bf16: near the CPU’s numbers, and the same tokens whatever the chunks', async () => {
  const forced = randomTokens(3, 16, vocab);
  const logprobs = async (options: Partial<EngineOptions>) => {
    const engine = await engineOf(options);
    const values: number[] = [];
    for await (const { logprob } of engine.submit({ ...requestFor('none'), forced })) values.push(logprob!);
    await engine.close();
    return values;
  };
  const bf16 = { kvType: 'bf16', activations: 'int8' } as const; // int8 is the CPU's alone; its model here is F32
  const wanted = await logprobs({ ...onCpu, ...bf16 });
  const inBf16 = { ...(await emulatedDevice(['none', 'h2o'], 'bf16')), ...bf16 };
  const got = await logprobs(inBf16);
  const apart = wanted.reduce((sum, each, i) => sum + Math.abs(each - got[i]), 0) / wanted.length;
  assert.ok(apart > 0 && apart < MOST_APART, `${apart} apart on average`);

  const tokens: number[][] = [];
  for (const maxBatchedTokens of [20, 512]) {
    const engine = await engineOf({ ...inBf16, maxBatchedTokens, prefixCache: false });
    tokens.push((await outcome(engine, requestFor('h2o'))).tokens);
    await engine.close();
  }
  assert.equal(tokens[0], tokens[1]);
});

test('random weights are the CPU’s, in bf16 and in f32', async () => {
  const { spec } = model.loaded;
  const tensors = spec.tensors.map((tensor) => ({
    ...tensor,
    type: WeightType.BF16,
    file: -1,
    bytes: tensor.bytes / 2,
  }));
  const random = { ...model, loaded: { ...model.loaded, spec: { ...spec, files: [], tensors } } };
  for (const kvType of ['f32', 'bf16'] as const) {
    const activations = kvType === 'f32' ? 'f32' : 'int8';
    const common = { kvType, activations, maxModelLen: 256, maxSeqs: 2, threads: 1, kvCacheBytes: 8 << 20 } as const;
    const answers = [];
    for (const options of [onCpu, kvType === 'f32' ? onDevice : await emulatedDevice(['none', 'h2o'], 'bf16')]) {
      const engine = await smallEngine(random, { ...common, ...options });
      const logprobs: number[] = [];
      const forced = randomTokens(3, 16, vocab);
      for await (const { logprob } of engine.submit({ ...requestFor('none'), forced })) logprobs.push(logprob!);
      answers.push(logprobs);
      await engine.close();
    }
    const [wanted, got] = answers;
    assert.ok(new Set(wanted).size > 8, 'they are random');
    for (const [i, each] of wanted.entries())
      assert.ok(Math.abs(got[i] - each) < (kvType === 'f32' ? 1e-4 : MOST_APART), `${got[i]}, ${each}`);
  }
});

test('close', () => cpu.close());

test.run();
