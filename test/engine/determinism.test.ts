/** A request's greedy tokens do not depend on what else happens: chunks, strangers, prefix hits, aborts, preemption. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import { tinyModel } from '../oracle/tiny.ts';
import { outcome, policyNames, randomTokens, smallBudgets, smallEngine, tokensOf } from './small.ts';

const model = tinyModel(7, { layers: 3, kvHeads: 2, group: 3, windows: [0, 24, 0] });
process.on('exit', () => model.remove());
const { vocab } = model.shape;
const PROMPT = randomTokens(1, 150, vocab);
/** Greedy: the seed is the policies' that read slot.random. */
const requestFor = (policy: string) => ({
  prompt: PROMPT,
  maxTokens: 60,
  policy,
  params: smallBudgets[policy],
  sampling: { seed: 5 },
});

/** What each policy generates alone, in one chunk, in a large pool. */
async function alone(): Promise<Map<string, number[]>> {
  const engine = await smallEngine(model, { maxBatchedTokens: 512, prefixCache: false });
  const tokens = new Map<string, number[]>();
  for (const policy of policyNames) tokens.set(policy, (await outcome(engine, requestFor(policy))).tokens);
  await engine.close();
  return tokens;
}
const expected = await alone();

test('the policies do generate different tokens', () =>
  assert.ok(new Set([...expected.values()].map(String)).size > 3));

for (const chunk of [1, 7, 16, 33, 64]) {
  test(`prompts in chunks of ${chunk}`, async () => {
    const engine = await smallEngine(model, { maxBatchedTokens: chunk, prefixCache: false });
    for (const policy of policyNames)
      assert.equal((await outcome(engine, requestFor(policy))).tokens, expected.get(policy), policy);
    await engine.close();
  });
}

for (const threads of [1, 2, 3]) {
  test(`${threads} threads`, async () => {
    const engine = await smallEngine(model, { threads, pin: false });
    for (const policy of policyNames)
      assert.equal((await outcome(engine, requestFor(policy))).tokens, expected.get(policy), policy);
    await engine.close();
  });
}

test('among strangers of every policy, some of which abort', async () => {
  const engine = await smallEngine(model, { maxBatchedTokens: 50, prefixCache: false });
  const strangers = policyNames.flatMap((policy, i) =>
    [0, 1].map((k) =>
      engine.submit({
        prompt: randomTokens(50 + i * 2 + k, 20 + 31 * i + k, vocab),
        maxTokens: 30 + i,
        policy,
        params: smallBudgets[policy],
      }),
    ),
  );
  const watched = policyNames.map((policy) => outcome(engine, requestFor(policy)));
  setTimeout(() => strangers.forEach((stranger, i) => i % 3 === 0 && stranger.abort()), 30);
  for (const [i, policy] of policyNames.entries())
    assert.equal((await watched[i]).tokens, expected.get(policy), policy);
  await Promise.all(strangers.map((stranger) => stranger.finished));
  const { pagesUsed, pagesCached } = engine.stats();
  assert.is(pagesUsed, pagesCached, 'only the prefix cache holds pages at the end');
  await engine.close();
});

test('after a prefix hit', async () => {
  const engine = await smallEngine(model, { maxBatchedTokens: 32 });
  const hits: string[] = [];
  for (const policy of policyNames) {
    const first = await outcome(engine, requestFor(policy));
    const second = await outcome(engine, requestFor(policy));
    assert.equal(first.tokens, expected.get(policy), `${policy}, first`);
    assert.equal(second.tokens, expected.get(policy), `${policy}, second`);
    if (second.finished.cachedTokens > 0) hits.push(policy);
    // a longer prompt shares the beginning
    const longer = Int32Array.from([...PROMPT, ...randomTokens(9, 40, vocab)]);
    const shared = await outcome(engine, { ...requestFor(policy), prompt: longer });
    engine.clearPrefixCache();
    assert.equal(
      (await outcome(engine, { ...requestFor(policy), prompt: longer })).tokens,
      shared.tokens,
      `${policy}, longer prompt`,
    );
    engine.clearPrefixCache();
  }
  const shareable = await Promise.all(policyNames.map(async (name) => (await build(shipped(name)!)).plan.shareable));
  assert.equal(
    hits,
    policyNames.filter((_, i) => shareable[i]),
  );
  assert.ok(hits.includes('lagkv'), 'whose partitions start at the sinks of a prompt that is not read again');
  assert.is(engine.stats().pagesUsed, 0);
  await engine.close();
});

test('two requests that share a prefix and run at the same time', async () => {
  const engine = await smallEngine(model, { maxBatchedTokens: 32 });
  for (const policy of policyNames) {
    await outcome(engine, { ...requestFor(policy), maxTokens: 1 });
    const pair = [outcome(engine, requestFor(policy)), outcome(engine, requestFor(policy))];
    for (const each of pair) assert.equal((await each).tokens, expected.get(policy), policy);
  }
  await engine.close();
});

test('through preemption: a small pool gives the tokens of a large one', async () => {
  const heads = model.shape.layers * model.shape.kvHeads;
  const { pageBytes } = (await smallEngine(model)).stats();
  const engine = await smallEngine(model, {
    maxBatchedTokens: 64,
    kvCacheBytes: pageBytes * heads * 18,
    prefixCache: false,
  });
  const watched = policyNames.flatMap((policy) => [
    outcome(engine, requestFor(policy)),
    outcome(engine, { ...requestFor(policy), maxTokens: 60 }),
  ]);
  for (const [i, each] of watched.entries())
    assert.equal((await each).tokens, expected.get(policyNames[i >> 1]), policyNames[i >> 1]);
  assert.ok(engine.stats().preemptions > 0, 'somebody was preempted');
  await engine.close();
});

test('a seed gives the same draws whatever runs beside it', async () => {
  const engine = await smallEngine(model);
  const request = { ...requestFor('h2o'), sampling: { temperature: 1, seed: 42, topP: 0.9 } };
  const first = await outcome(engine, request);
  const strangers = [1, 2, 3].map((seed) =>
    tokensOf(engine.submit({ ...requestFor('none'), sampling: { temperature: 1, seed } })),
  );
  assert.equal((await outcome(engine, request)).tokens, first.tokens);
  await Promise.all(strangers);
  assert.is.not(
    String((await outcome(engine, { ...request, sampling: { temperature: 1, seed: 43 } })).tokens),
    String(first.tokens),
  );
  await engine.close();
});

test.run();
