/**
 * Sliding-window layers, layers with a RoPE of their own or none, another attention scale and a soft cap: likelihoods against
 * plain loops however the prompt is cut, and pages that a window leaves come back whatever the policy.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Rule, run } from '../oracle/forward.ts';
import { build, shipped } from '../../codegen/build.ts';
import { checkRequest } from '../../runtime/engine/admission.ts';
import { BlockPool } from '../../runtime/engine/blocks.ts';
import { PrefixCache } from '../../runtime/engine/prefix.ts';
import * as rules from '../oracle/rules/index.ts';
import { tinyModel } from '../oracle/tiny.ts';
import { outcome, policyNames, randomTokens, smallBudgets, smallEngine } from './small.ts';

const windows = [24, 0, 17, 0];
const windowed = tinyModel(21, {
  layers: 4,
  windows,
  ropeBases: [100, 10000, 0, 0],
  attentionScale: 0.2,
  attentionCap: 3,
});
/** Heads that are rotated in part, whose keys are rotated again by policies that count positions as the cache has them. */
const parts = [true, false].map((ropeInterleaved) => tinyModel(23, { ropeInterleaved, ropeDims: 24 }));
process.on('exit', () => [windowed, ...parts].map((each) => each.remove()));
const { kvHeads, vocab } = windowed.shape;
const TOKENS = randomTokens(5, 140, vocab);
const PROMPT = 100;

/** ln softmax(logits)[token] */
function logprob(logits: Float64Array, token: number): number {
  const top = Math.max(...logits);
  return logits[token] - top - Math.log(logits.reduce((sum, x) => sum + Math.exp(x - top), 0));
}

const cases: { policy: string; params: Record<string, number>; rule: Rule }[] = [
  { policy: 'none', params: {}, rule: rules.none() },
  { policy: 'streaming', params: { budget: 24 }, rule: rules.streaming({ budget: 24, sinks: 4 }) },
  { policy: 'h2o', params: { budget: 20, recent: 8 }, rule: rules.h2o({ budget: 20, recent: 8 }) },
];

for (const [model, kind] of [
  [windowed, 'windows'],
  [parts[0], 'interleaved RoPE on parts of heads'],
  [parts[1], 'RoPE on parts of heads'],
] as const)
  for (const { policy, params, rule } of cases)
    test(`${kind}: likelihoods of ${policy} against plain loops, in chunks of any size`, async () => {
      const { logits } = run(model, rule, TOKENS, PROMPT);
      const expected = [...TOKENS.subarray(PROMPT)].map((token, i) => logprob(logits[PROMPT + i - 1], token));
      for (const maxBatchedTokens of [512, 1, 7, 33]) {
        const engine = await smallEngine(model, { kvType: 'f32', maxBatchedTokens, prefixCache: false });
        const generation = engine.submit({
          prompt: TOKENS.subarray(0, PROMPT),
          forced: TOKENS.subarray(PROMPT),
          maxTokens: 1,
          policy,
          params,
        });
        const found: number[] = [];
        for await (const { logprob } of generation) found.push(logprob!);
        found.forEach((each, i) =>
          assert.ok(
            Math.abs(each - expected[i]) < 2e-3,
            `chunks of ${maxBatchedTokens}, token ${i}: ${each}, ${expected[i]}`,
          ),
        );
        await engine.close();
      }
    });

/** Pages of all layers when `own` slots are in layers without a window and so many in those with one. */
const pagesOf = (own: number, inWindow: (window: number) => number) =>
  kvHeads * windows.reduce((sum, window) => sum + Math.ceil((window ? inWindow(window) : own) / 16), 0);

test('pages that a window leaves are freed with every policy', async () => {
  for (const policy of policyNames) {
    const engine = await smallEngine(windowed, { maxBatchedTokens: 32, prefixCache: false });
    const { pageBytes } = engine.stats();
    const { finished } = await outcome(engine, {
      prompt: TOKENS.subarray(0, PROMPT),
      maxTokens: 60,
      policy,
      params: smallBudgets[policy],
    });
    const pages = finished.cacheBytes / pageBytes;
    // a window and what is left of its first page, and the next token's page
    const most = pagesOf(policy === 'none' ? 160 : 100 + 60, (window) => window + 15);
    assert.ok(pages <= most, `${policy}: ${pages} pages at the end, at most ${most}`);
    if (policy === 'none') {
      const peak = pagesOf(160, (window) => window + 14 + 32);
      assert.ok(
        finished.peakCacheBytes / pageBytes <= peak,
        `${finished.peakCacheBytes / pageBytes} pages, at most ${peak}`,
      );
      assert.ok(pages > pagesOf(160, () => 0), 'layers without a window keep everything');
    }
    assert.is(engine.stats().pagesUsed, 0);
    await engine.close();
  }
});

test('a model of windows alone needs a window of pages, and no more is asked for', async () => {
  const small = tinyModel(22, { layers: 2, windows: [32, 32] });
  const probe = await smallEngine(small);
  const { pageBytes } = probe.stats();
  await probe.close();
  // room for a window, its first page's rest and a chunk: 400 tokens run in it
  const kvCacheBytes = 2 * small.shape.kvHeads * Math.ceil((32 + 14 + 16) / 16) * pageBytes;
  const engine = await smallEngine(small, { kvCacheBytes, maxBatchedTokens: 16, prefixCache: false });
  for (const policy of ['none', 'h2o', 'streaming']) {
    const { finished } = await outcome(engine, {
      prompt: randomTokens(3, 300, vocab),
      maxTokens: 100,
      policy,
      params: smallBudgets[policy],
    });
    assert.is(finished.reason, 'length');
    assert.is(finished.preemptions, 0);
    assert.is(finished.compactions, 0, 'no layer is left to thin');
  }
  await engine.close();
  small.remove();
});

test('a prefix in use gives its window pages when memory is short, and is taken as far as it can be gone on from', () => {
  // heads: one without a window, one of 32 positions; a prompt of six pages whose sequence still runs
  const pool = new BlockPool(40);
  const prefix = new PrefixCache(pool, 16, [0, 32]);
  const tokens = Int32Array.from({ length: 96 }, (_, i) => i);
  const hashes = prefix.hashes('salt', tokens, 0, '', 6);
  const register = () =>
    hashes.map((hash, i) => {
      const pages = [pool.allocate(), pool.allocate()];
      prefix.register(hash, hashes[i - 1] ?? 'salt', Int32Array.from(pages));
      return pages;
    });
  const first = register();
  const taken = () => prefix.lookUp(hashes).length;
  assert.is(taken(), 6);
  // the sequence has left the window: it sees the last two pages, and holds all of the other head
  first.forEach(([, page], i) => i < 4 && pool.release(page));
  const gives = [0, 1, 2, 3].map(() => [prefix.evict(), pool.free]);
  assert.equal(
    gives,
    [1, 2, 3, 4].map((n) => [true, 27 + n]),
  );
  assert.not(prefix.evict(), 'the rest is in use');
  assert.is(taken(), 6, 'the next token sees positions from 65 on, which are there');
  assert.is(prefix.lookUp(hashes.slice(0, 5)).length, 0, 'after five pages it would see positions from 49 on');
  // whoever computes the pages again brings back what was given away
  first.flat().forEach((page, i) => (i % 2 === 0 || i > 8) && pool.release(page));
  const again = register();
  again.flat().forEach((page) => pool.release(page));
  assert.is(prefix.lookUp(hashes.slice(0, 5)).length, 5);
  pool.check(prefix.held());
  prefix.clear();
  assert.is(pool.used, 0);
});

test('after a prefix hit: the tokens of a sequence that read its prompt, at every length', async () => {
  const engine = await smallEngine(windowed, { maxBatchedTokens: 64 });
  const plain = await smallEngine(windowed, { maxBatchedTokens: 512, prefixCache: false });
  for (const policy of ['none', 'snapkv', 'tova'])
    for (const length of [100, 48, 140, 33]) {
      const request = { prompt: TOKENS.subarray(0, length), maxTokens: 12, policy, params: smallBudgets[policy] };
      const [hit, read] = [await outcome(engine, request), await outcome(plain, request)];
      assert.equal(hit.tokens, read.tokens, `${policy}, ${length} tokens`);
      if (policy === 'none' && length === 48) assert.is(hit.finished.cachedTokens, 32);
      if (policy === 'none' && length === 140) assert.is(hit.finished.cachedTokens, 96);
    }
  await engine.close();
  await plain.close();
});

test('positions as the cache counts them need keys that can be rotated', async () => {
  const policies = [await build(shipped('streaming')!), await build(shipped('none')!)];
  const { spec } = windowed.loaded;
  const ask = (policy: string, positions: number) =>
    checkRequest(
      { prompt: TOKENS, maxTokens: 5, policy },
      { spec: { ...spec, positions }, windows, policies, maxModelLen: 512 },
    );
  assert.throws(() => ask('streaming', 512), /this model has learned positions instead of RoPE/);
  ask('none', 512);
  ask('streaming', 0);
});

test.run();
