/**
 * Sliding-window layers, layers with a RoPE of their own or none, another attention scale and a soft cap: likelihoods against
 * plain loops however the prompt is cut, and pages that a window leaves come back whatever the policy.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Rule, run } from '../oracle/forward.ts';
import * as rules from '../oracle/rules.ts';
import { tinyModel } from '../oracle/tiny.ts';
import { outcome, policyNames, randomTokens, smallBudgets, smallEngine } from './small.ts';

const windows = [24, 0, 17, 0];
const model = tinyModel(21, {
  layers: 4,
  windows,
  ropeBases: [10000, 10000, 10000, 10000],
  attentionScale: 0.2,
  attentionCap: 3,
});
process.on('exit', () => model.remove());
const { kvHeads, vocab } = model.shape;
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

for (const { policy, params, rule } of cases)
  test(`likelihoods of ${policy} against plain loops, in chunks of any size`, async () => {
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
    const engine = await smallEngine(model, { maxBatchedTokens: 32, prefixCache: false });
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

test.run();
