/**
 * place: 'host' with the dense model on an emulated device and the CPU's kernels beside it: the tokens of the CPU, under
 * batching, chunked prompts, shared prefixes, compaction, preemption and aborts.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { EngineOptions } from '../../runtime/engine/types.ts';
import { emulateBackend } from '../emulation/backend.ts';
import { tinyModel } from '../oracle/tiny.ts';
import { outcome, randomTokens, smallBudgets, smallEngine } from './small.ts';

const model = tinyModel(7, { layers: 3, kvHeads: 2, group: 3, windows: [0, 24, 0] });
process.on('exit', () => model.remove());
const { vocab, layers, kvHeads } = model.shape;
/** Attention is the CPU’s own, tested with every policy in host.test.ts. */
const names = ['none', 'streaming', 'h2o', 'snapkv', 'fastgen'];
const onDevice = { backend: await emulateBackend(), place: 'host' } as const;
const requestFor = (policy: string) => ({
  prompt: randomTokens(1, 76, vocab),
  maxTokens: 24,
  policy,
  params: smallBudgets[policy],
  sampling: { seed: 5 },
});
const engineOf = (options: Partial<EngineOptions>) =>
  smallEngine(model, {
    maxModelLen: 256,
    maxSeqs: 6,
    kvCacheBytes: 8 << 20,
    kvType: 'f32',
    activations: 'f32',
    threads: 1,
    pin: false,
    ...options,
  });

const cpu = await engineOf({});
const expected = new Map<string, number[]>();
for (const policy of names) expected.set(policy, (await outcome(cpu, requestFor(policy))).tokens);
const { pageBytes } = cpu.stats();
await cpu.close();

test('the policies do generate different tokens', () =>
  assert.ok(new Set([...expected.values()].map(String)).size > 2));

test('all policies at once, in chunks, among requests that abort', async () => {
  const engine = await engineOf({ ...onDevice, maxBatchedTokens: 33 });
  const strangers = names.map((policy, i) =>
    engine.submit({ prompt: randomTokens(50 + i, 20 + 11 * i, vocab), maxTokens: 12, policy }),
  );
  const watched = names.map((policy) => outcome(engine, requestFor(policy)));
  setTimeout(() => strangers.forEach((stranger, i) => i % 2 === 0 && stranger.abort()), 30);
  for (const [i, policy] of names.entries()) {
    const { tokens, finished } = await watched[i];
    assert.is(finished.error, undefined, finished.error?.message);
    assert.equal(tokens, expected.get(policy), policy);
  }
  await Promise.all(strangers.map((stranger) => stranger.finished));
  await engine.close();
});

test('through preemption: a small pool gives the tokens of a large one', async () => {
  const engine = await engineOf({
    ...onDevice,
    maxBatchedTokens: 64,
    kvCacheBytes: pageBytes * layers * kvHeads * 10,
    prefixCache: false,
  });
  const watched = names.map((policy) => [outcome(engine, requestFor(policy)), outcome(engine, requestFor(policy))]);
  for (const [i, each] of watched.flat().entries())
    assert.equal((await each).tokens, expected.get(names[i >> 1]), names[i >> 1]);
  assert.ok(engine.stats().preemptions > 0, 'somebody was preempted');
  await engine.close();
});

test('in bf16: near the CPU’s numbers', async () => {
  const forced = randomTokens(3, 16, vocab);
  const logprobs = async (options: Partial<EngineOptions>) => {
    const engine = await engineOf({ kvType: 'bf16', activations: 'int8', ...options }); // int8 is the CPU's alone
    const values: number[] = [];
    for await (const { logprob } of engine.submit({ ...requestFor('none'), forced })) values.push(logprob!);
    await engine.close();
    return values;
  };
  const wanted = await logprobs({});
  const got = await logprobs(onDevice);
  const apart = wanted.reduce((sum, each, i) => sum + Math.abs(each - got[i]), 0) / wanted.length;
  assert.ok(apart > 0 && apart < 0.15, `${apart} apart on average`);
});

test.run();
