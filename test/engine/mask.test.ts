/** What may be drawn: masks that come late, lists of tokens, bad words; in batches, with policies, through preemption. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { random } from '../../codegen/oracle/random.ts';
import { maskWords } from '../../runtime/contract/records.ts';
import { addToken, hasToken } from '../../runtime/engine/drawable.ts';
import type { GenerateRequest, LogitMask } from '../../runtime/engine/types.ts';
import { tinyModel } from '../oracle/tiny.ts';
import { outcome, policyNames, randomTokens, smallBudgets, smallEngine } from './small.ts';

const model = tinyModel(7, { layers: 2, kvHeads: 2, group: 2 });
process.on('exit', () => model.remove());
const { vocab } = model.shape;
const PROMPT = randomTokens(1, 60, vocab);

/** A rule of its own: what follows depends on every token so far, so a mask that has lost or doubled one is seen. */
const next = (state: number, token: number): number => (Math.imul(state, 31) + token + 1) >>> 0;
const allowedIn = (state: number): number[] => {
  const draw = random(state);
  return Array.from({ length: 5 }, () => Math.floor(draw() * vocab));
};

class Walk implements LogitMask {
  allowed = new Int32Array(maskWords(vocab));
  pending: Promise<void> | undefined;
  failure: Error | undefined;
  closed = 0;
  private state = 7;
  private drawn = 0;

  constructor(
    private readonly late: boolean,
    private readonly end = Number.POSITIVE_INFINITY,
    private readonly failsAt = Number.POSITIVE_INFINITY,
  ) {
    if (late) this.wait();
    else this.fill();
  }

  get complete(): boolean {
    return this.drawn >= this.end;
  }

  private fill(): void {
    this.allowed.fill(0);
    for (const token of allowedIn(this.state)) addToken(this.allowed, token);
    this.pending = undefined;
    if (this.drawn >= this.failsAt) this.failure = new Error('the mask is gone');
  }

  accept(token: number): void {
    assert.is(this.pending, undefined, 'no token comes while the mask is not known');
    assert.ok(hasToken(this.allowed, token), `${token} is allowed`);
    this.state = next(this.state, token);
    this.drawn++;
    if (!this.late) return this.fill();
    this.wait();
  }

  private wait(): void {
    this.allowed.fill(-1); // wrong until it is known
    this.pending = new Promise((resolve) =>
      setTimeout(() => {
        this.fill();
        resolve();
      }, this.drawn % 4),
    );
  }

  close(): void {
    this.closed++;
  }
}

/** Every token was allowed when it was drawn. */
function obeys(tokens: readonly number[]): void {
  let state = 7;
  for (const token of tokens) {
    assert.ok(allowedIn(state).includes(token), `${token} of ${allowedIn(state)}`);
    state = next(state, token);
  }
}

const request = (policy: string, mask: LogitMask, more: Partial<GenerateRequest> = {}): GenerateRequest => ({
  prompt: PROMPT,
  maxTokens: 40,
  policy,
  params: smallBudgets[policy],
  mask,
  ...more,
});

test('a mask holds at any temperature, and its tokens do not depend on when it comes or who else runs', async () => {
  const engine = await smallEngine(model);
  for (const temperature of [0, 2]) {
    const sampling = { temperature, seed: 5, topK: 20, topP: 0.99 };
    const alone = await outcome(engine, request('none', new Walk(false), { sampling }));
    obeys(alone.tokens);
    assert.is(alone.tokens.length, 40);
    const masks = policyNames.map((_, i) => new Walk(i % 2 === 0));
    const together = await Promise.all([
      ...policyNames.map((policy, i) => outcome(engine, request(policy, masks[i], { sampling }))),
      outcome(engine, { prompt: PROMPT, maxTokens: 30 }),
    ]);
    for (const { tokens } of together.slice(0, -1)) obeys(tokens);
    assert.equal(together[policyNames.indexOf('none')].tokens, alone.tokens);
    assert.ok(masks.every(({ closed }) => closed === 1));
  }
  await engine.close();
});

test('through preemption and chunks: the mask follows the tokens, not the steps', async () => {
  const { pageBytes } = (await smallEngine(model)).stats();
  const alone = await smallEngine(model);
  const expected = await outcome(alone, request('none', new Walk(false)));
  await alone.close();
  const engine = await smallEngine(model, {
    maxBatchedTokens: 24,
    kvCacheBytes: pageBytes * 4 * 14,
    prefixCache: false,
  });
  const several = Array.from({ length: 4 }, (_, i) => outcome(engine, request('none', new Walk(i % 2 === 1))));
  for (const each of several) assert.equal((await each).tokens, expected.tokens);
  assert.ok(engine.stats().preemptions > 0, 'somebody was preempted');
  await engine.close();
});

test('requests that come while others wait for their masks', async () => {
  const engine = await smallEngine(model);
  const expected = (await outcome(engine, request('none', new Walk(false)))).tokens;
  const started: Promise<{ tokens: number[] }>[] = [];
  for (let i = 0; i < 20; i++) {
    started.push(outcome(engine, request('none', new Walk(true))));
    await new Promise((resolve) => setTimeout(resolve, i % 5));
  }
  for (const each of await Promise.all(started)) assert.equal(each.tokens, expected);
  await engine.close();
});

test('a mask ends a request: complete, failed, nothing left; and closes where it is refused or cancelled', async () => {
  const engine = await smallEngine(model);
  const done = await outcome(engine, request('none', new Walk(true, 6)));
  assert.equal([done.tokens.length, done.finished.reason], [6, 'stop']);
  const failed = await outcome(engine, request('none', new Walk(true, 40, 3)));
  assert.equal([failed.tokens.length, failed.finished.reason], [3, 'error']);
  assert.match(failed.finished.error!.message, /gone/);
  const first = allowedIn(7);
  const badWords = first.map((token) => [token]);
  const none = await outcome(engine, request('none', new Walk(false), { badWords }));
  assert.match(none.finished.error!.message, /No token is left/);
  const refused = new Walk(false);
  assert.throws(() => engine.submit(request('none', refused, { maxTokens: 99999 })), /context/);
  assert.is(refused.closed, 1);
  const never = new Walk(false);
  never.pending = new Promise(() => {});
  const generation = engine.submit(request('none', never));
  setTimeout(() => generation.abort(), 5);
  assert.is((await generation.finished).reason, 'abort');
  assert.is(never.closed, 1);
  assert.is(engine.stats().pagesUsed, engine.stats().pagesCached);
  await engine.close();
});

test('allowed tokens, bad words, and log-probabilities of what may be drawn', async () => {
  const engine = await smallEngine(model);
  const ask = (more: Partial<GenerateRequest>) => outcome(engine, { prompt: PROMPT, maxTokens: 30, ...more });
  const free = await ask({});
  const allowedTokens = [3, 31, 32, vocab - 1];
  for (const temperature of [0, 1.5]) {
    const { tokens } = await ask({ allowedTokens, sampling: { temperature, seed: 1 } });
    assert.ok(tokens.every((token) => allowedTokens.includes(token)));
  }
  const generation = engine.submit({ prompt: PROMPT, maxTokens: 2, allowedTokens, sampling: { logprobs: 20 } });
  for await (const { token, alternatives } of generation) {
    assert.equal(
      alternatives!.map((each) => each.token).sort((a, b) => a - b),
      allowedTokens,
    );
    assert.is(alternatives![0].token, token);
    const mass = alternatives!.reduce((sum, { logprob }) => sum + Math.exp(logprob), 0);
    assert.ok(Math.abs(mass - 1) < 1e-5, `${mass}`);
  }
  // a word of one token never, one of two tokens not in a row
  const [a, b] = free.tokens;
  const other = free.tokens.includes(0) ? 1 : 0;
  const without = await ask({ badWords: [[a]] });
  assert.not.ok(without.tokens.includes(a));
  const pair = await ask({ badWords: [[a, b]] });
  assert.is(pair.tokens[0], a);
  assert.is.not(pair.tokens[1], b);
  assert.equal(
    (
      await ask({
        badWords: [
          [other, b],
          [b, other, a],
        ],
      })
    ).tokens,
    free.tokens,
  );
  assert.throws(() => engine.submit({ prompt: PROMPT, maxTokens: 1, allowedTokens: [vocab] }), /not in the vocabulary/);
  assert.throws(() => engine.submit({ prompt: PROMPT, maxTokens: 1, allowedTokens: [] }), /is empty/);
  await engine.close();
});

test.run();
