/** Memory is the limit: a pool for a tenth of what the requests' tokens would need. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import { MAX_BIASES } from '../../runtime/contract/records.ts';
import { RequestError } from '../../runtime/engine/types.ts';
import { tinyModel } from '../oracle/tiny.ts';
import { outcome, randomTokens, smallEngine } from './small.ts';

const model = tinyModel(3, { layers: 2, kvHeads: 1, group: 2 });
process.on('exit', () => model.remove());
const { layers, kvHeads, vocab } = model.shape;

const probe = await smallEngine(model);
const { pageBytes } = probe.stats();
await probe.close();

/** An engine whose pool holds so many pages of every head. */
const withPages = (pages: number, options: Parameters<typeof smallEngine>[1]) =>
  smallEngine(model, { kvCacheBytes: pages * layers * kvHeads * pageBytes, prefixCache: false, ...options });

const REQUESTS = 100;
const PROMPT = 96;
const GENERATE = 40;
/** Pages for a tenth of all requests' logical tokens. */
const PAGES = Math.ceil(((PROMPT + GENERATE) * REQUESTS) / 16 / 10) * layers * kvHeads;
const requests = (policy: string, params = {}) =>
  Array.from({ length: REQUESTS }, (_, i) => ({
    prompt: randomTokens(1000 + i, PROMPT - (i % 40), vocab),
    maxTokens: GENERATE,
    policy,
    params,
  }));

test('100 requests with an eviction policy need no preemption', async () => {
  const engine = await smallEngine(model, { kvCacheBytes: PAGES * pageBytes, maxSeqs: 16, prefixCache: false });
  const all = await Promise.all(requests('h2o', { budget: 24, recent: 8 }).map((request) => outcome(engine, request)));
  assert.ok(all.every(({ finished, tokens }) => finished.reason === 'length' && tokens.length === GENERATE));
  const stats = engine.stats();
  assert.is(stats.preemptions, 0);
  assert.is(stats.pagesUsed, 0, 'the pool ends as it began');
  assert.ok(
    stats.policies.find(({ name }) => name === 'h2o')!.slotsEvicted > REQUESTS * 50,
    'slots were really evicted',
  );
  await engine.close();
});

test('100 requests with the full cache finish by preemption, with the tokens of a large pool', async () => {
  const large = await smallEngine(model, { maxSeqs: 16, prefixCache: false });
  const expected = await Promise.all(requests('none').map((request) => outcome(large, request)));
  assert.is(large.stats().preemptions, 0);
  await large.close();
  const small = await smallEngine(model, { kvCacheBytes: PAGES * pageBytes, maxSeqs: 16, prefixCache: false });
  const all = await Promise.all(requests('none').map((request) => outcome(small, request)));
  assert.ok(small.stats().preemptions > 0, 'the pool was too small for all');
  all.forEach(({ tokens }, i) => assert.equal(tokens, expected[i].tokens, `request ${i}`));
  assert.is(small.stats().pagesUsed, 0);
  await small.close();
});

test('what was preempted waits until its tokens fit: it is not computed again and again', async () => {
  // two that fit together for a while: the second one is put off once, and comes back when the first has ended
  const engine = await withPages(30, { maxSeqs: 2, maxModelLen: 512 });
  const all = await Promise.all(
    [1, 2].map((seed) => outcome(engine, { prompt: randomTokens(seed, 16, vocab), maxTokens: 400, policy: 'none' })),
  );
  assert.ok(all.every(({ tokens }) => tokens.length === 400));
  assert.is(engine.stats().preemptions, 1);
  await engine.close();
});

test('a policy with a bound keeps its pages when a full cache grows beside it', async () => {
  const engine = await withPages(34, { maxSeqs: 4, maxModelLen: 512 });
  const full = outcome(engine, { prompt: randomTokens(1, 100, vocab), maxTokens: 400, policy: 'none' });
  const evicting = [2, 3, 4].map((seed) =>
    outcome(engine, {
      prompt: randomTokens(seed, 60, vocab),
      maxTokens: 400,
      policy: 'h2o',
      params: { budget: 24, recent: 8 },
    }),
  );
  for (const { finished } of await Promise.all(evicting)) assert.is(finished.preemptions, 0);
  assert.is((await full).finished.reason, 'length');
  await engine.close();
});

test('pages have the type that a policy stores, and policies that disagree are refused', async () => {
  const [{ library, directory, plan }] = [await build(shipped('knorm')!)];
  const stored = { library, directory, plan: { ...plan, store: 'f32' as const } };
  const engine = await smallEngine(model, { policies: [stored] });
  assert.ok(engine.stats().pageBytes > pageBytes, 'f32 pages are larger');
  await engine.close();
  await smallEngine(model, { policies: [stored], kvType: 'bf16' }).then(
    () => assert.unreachable('it was accepted'),
    (error: Error) => assert.match(error.message, /knorm stores keys and values as f32, the server as bf16/),
  );
  const running = await smallEngine(model, { policies: [await build(shipped('none')!)] });
  assert.throws(() => running.addPolicy(stored), /knorm stores keys and values as f32, the server as bf16/);
  await running.close();
});

test('compaction works when no page is free', async () => {
  // exactly the pages of one prompt and the next token's: at its end everything is in use
  const engine = await withPages(7, { maxSeqs: 1 });
  const { finished } = await outcome(engine, {
    prompt: randomTokens(5, 112, vocab),
    maxTokens: 30,
    policy: 'h2o',
    params: { budget: 32, recent: 8 },
  });
  assert.is(finished.reason, 'length');
  assert.is(finished.peakCacheBytes, 7 * layers * kvHeads * pageBytes);
  assert.ok(finished.cacheBytes <= 3 * layers * kvHeads * pageBytes, 'pages were freed');
  await engine.close();
});

test('what can never run is refused at submission', async () => {
  const engine = await smallEngine(model, { kvCacheBytes: 8 * layers * kvHeads * pageBytes, maxModelLen: 512 });
  const refused = (request: Partial<Parameters<typeof engine.submit>[0]>, reason: RegExp) => {
    try {
      engine.submit({ prompt: randomTokens(1, 20, vocab), maxTokens: 5, ...request });
    } catch (error) {
      assert.instance(error, RequestError);
      return assert.match((error as Error).message, reason);
    }
    assert.unreachable(String(reason));
  };
  refused({ prompt: [] }, /empty/);
  refused({ prompt: [vocab] }, /not in the vocabulary/);
  refused({ prompt: [1], forced: [2, vocab] }, /not in the vocabulary/);
  refused({ maxTokens: 0 }, /at least 1/);
  const logitBias = new Map(Array.from({ length: MAX_BIASES }, (_, token) => [token, 1]));
  refused(
    { sampling: { logitBias }, minTokens: 2, stopTokens: [3, 3] },
    /logit_bias moves 1025 tokens, the 1 that end the text among them; at most 1024/,
  );
  refused({ sampling: { logitBias: new Map([...logitBias, [-1, 1]]) } }, /logit_bias moves 1025 tokens; at most/);
  refused({ policy: 'nope' }, /no policy nope; loaded are none/);
  refused({ policy: 'h2o', params: { size: 1 } }, /no parameter size; it has budget, recent/);
  refused({ policy: 'h2o', params: { budget: -4 } }, /from 0 to/);
  refused({ policy: 'h2o', params: { budget: 4.5 } }, /whole number/);
  refused(
    { policy: 'h2o', params: { budget: 16, recent: 32 } },
    /exceeds the budget of 16\. Ask for a budget of at least \d+, or for a window of at most 16/,
  );
  refused({ prompt: randomTokens(1, 600, vocab) }, /context is 512/);
  refused({ maxTokens: 500 }, /exceed the context of 512/);
  refused({ prompt: randomTokens(1, 200, vocab), maxTokens: 10, policy: 'none' }, /pages of KV cache/);
  await engine.close();
});

test('cache-relative positions have no limit of length', async () => {
  const engine = await smallEngine(model, { maxModelLen: 64, prefixCache: false });
  const { finished, tokens } = await outcome(engine, {
    prompt: randomTokens(2, 40, vocab),
    maxTokens: 400,
    policy: 'streaming',
    params: { budget: 32 },
  });
  assert.is(finished.reason, 'length');
  assert.is(tokens.length, 400);
  await engine.close();
});

test('cached pages are those that no request holds', async () => {
  const engine = await smallEngine(model);
  const heads = layers * kvHeads;
  const during = async () => {
    const generation = engine.submit({ prompt: randomTokens(7, 160, vocab), maxTokens: 4, policy: 'none' });
    for await (const _ of generation) {
      const { pagesUsed, pagesCached } = engine.stats();
      await generation.finished;
      return { held: pagesUsed - pagesCached, cached: pagesCached };
    }
  };
  assert.equal(await during(), { held: 11 * heads, cached: 0 }, 'ten pages of the prompt, one of the first token');
  const { pagesUsed, pagesCached } = engine.stats();
  assert.equal([pagesUsed, pagesCached], [10 * heads, 10 * heads]);
  assert.equal(await during(), { held: 11 * heads, cached: heads }, 'the tenth page was computed again');
  await engine.close();
});

test('an aborted request frees its pages in the next step', async () => {
  const engine = await smallEngine(model, { prefixCache: false });
  const generation = engine.submit({ prompt: randomTokens(1, 50, vocab), maxTokens: 900 });
  for await (const _ of generation) break;
  generation.abort();
  generation.abort();
  assert.is((await generation.finished).reason, 'abort');
  assert.is(engine.stats().pagesUsed, 0);
  await engine.close();
});

test.run();
