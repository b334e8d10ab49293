/**
 * On quantised weights, which a processor may multiply in another way where a token is a prompt's (AMX's bf16): the bits of
 * a request's numbers still depend on its own tokens alone. What a draw came to is compared with its log-probabilities.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Engine } from '../../runtime/engine/engine.ts';
import type { EngineOptions } from '../../runtime/engine/types.ts';
import { retyped } from '../native/retyped.ts';
import { tinyModel } from '../oracle/tiny.ts';
import { randomTokens, smallBudgets, smallEngine } from './small.ts';

// two and a half blocks of spans in the last product, and types of every packed format
const model = retyped(tinyModel(7, { layers: 3, width: 256, ffn: 1280, kvHeads: 2, group: 2 }), [
  ...(['Q4_1', 'Q8_0', 'Q6_K', 'Q5_0', 'BF16', 'Q2_K', 'Q4_K', 'F16'] as const),
]);
process.on('exit', () => model.remove());
const { vocab } = model.shape;
const PROMPT = randomTokens(1, 150, vocab);
const POLICIES = ['none', 'h2o', 'snapkv', 'keydiff'];
const GENERATED = 60;

const opened: Engine[] = [];
async function open(options: Partial<EngineOptions> = {}): Promise<Engine> {
  opened.push(await smallEngine(model, { prefixCache: false, ...options }));
  return opened.at(-1)!;
}
test.after(async () => {
  for (const engine of opened) await engine.close();
});

interface Drawn {
  tokens: number[];
  logprobs: number[];
}

/** What a prompt goes on with, greedily. */
async function drawn(engine: Engine, policy: string, prompt = PROMPT): Promise<Drawn> {
  const generation = engine.submit({
    prompt,
    maxTokens: GENERATED,
    policy,
    params: smallBudgets[policy],
    sampling: { seed: 5, logprobs: 2 },
  });
  const out: Drawn = { tokens: [], logprobs: [] };
  for await (const { token, logprob, alternatives = [] } of generation) {
    out.tokens.push(token);
    out.logprobs.push(logprob!, ...alternatives.map((each) => each.logprob));
  }
  return out;
}

const whole = await open({ maxBatchedTokens: 512 });
const expected = new Map<string, Drawn>();
for (const policy of POLICIES) expected.set(policy, await drawn(whole, policy));

/** All policies at once come to what each came to alone. */
async function together(options: Partial<EngineOptions>, policies = POLICIES): Promise<Engine> {
  const engine = await open(options);
  const all = await Promise.all(policies.map((policy) => drawn(engine, policy)));
  assert.equal(
    all,
    policies.map((policy) => expected.get(policy)),
  );
  return engine;
}

for (const chunk of [1, 7, 16, 33, 64])
  test(`prompts in chunks of ${chunk}`, async () => {
    const engine = await open({ maxBatchedTokens: chunk });
    for (const policy of POLICIES) assert.equal(await drawn(engine, policy), expected.get(policy), policy);
  });

test('twelve threads, more than a product has pieces, among each other', async () => {
  await together({ threads: 12, pin: false, maxBatchedTokens: 70 });
});

// rooms of tiles, which hold 16 tokens, beside rooms of tokens: the page behind each may not be touched
for (const tokens of [33, 70, 129, 250])
  test(`steps of at most ${tokens} tokens, among each other`, async () => {
    await together({ maxBatchedTokens: tokens });
  });

test('through preemption, where what was drawn is read again', async () => {
  const heads = model.shape.layers * model.shape.kvHeads;
  const kvCacheBytes = whole.stats().pageBytes * heads * 26;
  const engine = await together({ maxBatchedTokens: 64, kvCacheBytes }, ['none', ...POLICIES]);
  assert.ok(engine.stats().preemptions > 0, 'somebody was preempted');
});

test('a prompt that holds what was drawn has its bits with and without the prefix cache', async () => {
  const engine = await open({ prefixCache: true, maxBatchedTokens: 64 });
  const first = await drawn(engine, 'none');
  assert.equal(first, expected.get('none'));
  const longer = Int32Array.from([...PROMPT, ...first.tokens, ...randomTokens(9, 40, vocab)]);
  const hit = await drawn(engine, 'none', longer);
  assert.ok(engine.stats().prefixHits > 0, 'the prompt’s pages were found');
  assert.equal(hit, await drawn(whole, 'none', longer));
});

test.run();
