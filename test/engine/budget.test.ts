/**
 * What a budget counts, in the engine: slots besides the protected ones against select.ts, a window that swallows its
 * budget, and the budget that expressions read where a ratio stands in for it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build } from '../../codegen/build.ts';
import { check } from '../../codegen/front/check.ts';
import { score } from '../../codegen/ir/interpret.ts';
import type { Policy } from '../../codegen/ir/nodes.ts';
import { select } from '../../codegen/oracle/select.ts';
import type { BuiltPolicy } from '../../codegen/plan/types.ts';
import { pageLayout } from '../../runtime/contract/page.ts';
import { KvType, PAGE } from '../../runtime/contract/records.ts';
import { Rules } from '../../runtime/engine/rules.ts';
import { type CompactionEvent, type GenerateRequest, RequestError } from '../../runtime/engine/types.ts';
import { quickCompiler } from '../kernels/quick.ts';
import { files, IMPORTS } from '../lang/snippets.ts';
import { tinyModel } from '../oracle/tiny.ts';
import { randomTokens, smallEngine } from './small.ts';

const directory = mkdtempSync(join(tmpdir(), 'skv-budget-'));
process.on('exit', () => rmSync(directory, { recursive: true, force: true }));

/** A number that looks random, from what needs no attention. */
const MIXED = 'const x = slot.pos * 0.618 + slot.head * 0.37; return x - floor(x);';

const texts: Record<string, string> = {
  prompt: `score: (slot) => { ${MIXED} }, window: { prompt: true, last: 3 }, keep: topK('budget', { besides: 'protected' }), when: every(1)`,
  classes: `score: (slot) => { ${MIXED} }, window: { first: 2, last: 5, classes: ['special'] }, keep: topK('budget', { besides: 'protected' }), when: over(3)`,
  chunked: `score: (slot) => { ${MIXED} }, window: { prompt: true, last: 4 }, keep: chunks(3, 'budget', { besides: 'protected' }), when: every(4)`,
  flowing: `score: (slot) => { ${MIXED} }, window: { first: 3, last: 3 }, heads: pooled(0.5), pool: mean(3), keep: topK('budget', { besides: 'protected' }), when: [promptChunk(16), every(3)]`,
  layered: `score: (slot) => { ${MIXED} }, window: { last: 6 }, layers: [1.5, 0.5], keep: topK('budget', { besides: 'protected' }), when: every(1)`,
};
const others: Record<string, string> = {
  swallowed: `score: (slot) => { ${MIXED} }, window: { prompt: true }, keep: topK('budget'), when: every(1)`,
  reads: `score: (slot) => -abs(slot.pos - slot.params.budget), keep: topK('budget'), when: [promptChunk(16), every(4)]`,
  observes: `observe: 'every', accumulate: { sum: { init: 0, next: (sum, slot) => sum * 0.5 + slot.params.budget * (slot.pos - floor(slot.pos / 7) * 7) } }, score: (slot) => slot.sum, keep: topK('budget'), when: [promptChunk(16), every(4)]`,
  threshold: `score: (slot) => slot.pos, keep: above(3), when: every(1)`,
};
const names = [...Object.keys(texts), ...Object.keys(others)];
const paths = files(
  Object.fromEntries(
    Object.entries({ ...texts, ...others }).map(([name, fields]) => [
      `budget/${name}.ts`,
      `${IMPORTS}export default definePolicy({ name: '${name}', ${/'budget'/.test(fields) ? 'params: { budget: tokens(12) }, ' : ''}${fields} });`,
    ]),
  ),
);
const built = new Map<string, BuiltPolicy>();
const { CXX } = process.env;
process.env.CXX = quickCompiler('-O1'); // what is kept does not depend on it
for (const [i, name] of names.entries()) built.set(name, await build(paths[i], { directory }));
if (CXX === undefined) delete process.env.CXX;
else process.env.CXX = CXX;
/** Its factors are for another model: it is refused before its library is opened. */
const three: BuiltPolicy = {
  ...built.get('swallowed')!,
  plan: { ...built.get('swallowed')!.plan, name: 'three', layers: { kind: 'table', factors: [1, 1, 1] } },
};
const policyOf = (name: string): Policy => check(paths[names.indexOf(name)]).policy;

const model = tinyModel(77);
model.loaded.tokenizer.classes.set(
  Uint8Array.from({ length: model.shape.vocab }, (_, token) => Number(token % 9 === 0)),
);

const engineWith = (policies: string[], more: Parameters<typeof smallEngine>[1] = {}) =>
  smallEngine(model, { policies: policies.map((name) => built.get(name)!), threads: 1, pin: false, ...more });

/** Feeds tokens, the first `prompt` as the prompt, and returns the compactions. */
async function compactions(
  engine: Awaited<ReturnType<typeof smallEngine>>,
  tokens: Int32Array,
  prompt: number,
  more: Partial<GenerateRequest> = {},
): Promise<CompactionEvent[]> {
  const events: CompactionEvent[] = [];
  const request = { prompt: tokens.subarray(0, prompt), forced: tokens.subarray(prompt), maxTokens: 1 };
  const { finished } = engine.submit({ ...request, ...more, onCompaction: (event) => events.push(event) });
  const { reason, error } = await finished;
  assert.is(reason, 'length', error?.message);
  return events;
}

/** What select.ts keeps of a head's live positions. */
function expected(policy: Policy, live: number[][], layer: number, at: number, prompt: number, tokens: Int32Array) {
  const heads = live.map((positions, head) => ({
    positions,
    scores: score(
      policy,
      positions.map((pos) => ({ fields: { pos, head, layer }, states: {}, params: { budget: 12 } })),
    ),
    classes: positions.map((pos) => model.loaded.tokenizer.classes[tokens[pos]]),
  }));
  const factors = policy.layers.kind === 'table' ? policy.layers.factors : [1, 1];
  const [first, last] = [policy.window.first, policy.window.last].map((size) => (size as { tokens: number }).tokens);
  const limits = { budget: Math.round(12 * factors[layer]), first, last, length: at, prompt };
  return select(policy, heads, limits).map((stay, head) => stay.map((slot) => live[head][slot]));
}

for (const name of Object.keys(texts))
  test(`a budget besides the protected slots: ${name}`, async () => {
    const policy = policyOf(name);
    const engine = await engineWith([name], { prefixCache: false, maxBatchedTokens: 24 });
    for (const prompt of [5, 40, 70]) {
      const tokens = randomTokens(prompt, prompt + 30, model.shape.vocab);
      const live = Array.from({ length: 2 }, () => Array.from({ length: 2 }, (): number[] => []));
      let known = 0;
      const events = await compactions(engine, tokens, prompt);
      assert.ok(events.length > 2, `${prompt}: it compacts`);
      for (const { at, kept } of events) {
        for (let layer = 0; layer < 2; layer++) {
          for (const head of live[layer]) for (let pos = known; pos < at; pos++) head.push(pos);
          live[layer] = expected(policy, live[layer], layer, at, prompt, tokens);
        }
        known = at;
        assert.equal(kept, live, `prompt ${prompt}, at ${at}`);
      }
    }
    await engine.close();
  });

test('a budget besides the prompt keeps what is generated; one that counts it keeps nothing, and the user is told once', async () => {
  const notes: string[] = [];
  const engine = await engineWith(['swallowed', 'prompt'], { note: (line) => notes.push(line) });
  const tokens = randomTokens(3, 60, model.shape.vocab);
  const generated = (events: CompactionEvent[]) => events.at(-1)!.kept[0][0].filter((pos) => pos >= 40).length;
  assert.is(generated(await compactions(engine, tokens, 40, { policy: 'swallowed' })), 0);
  assert.is(generated(await compactions(engine, tokens, 40, { policy: 'swallowed' })), 0);
  assert.is(generated(await compactions(engine, tokens, 40, { policy: 'prompt' })), 15, 'twelve and the last three');
  const swallowed = notes.filter((line) => /protects/.test(line));
  assert.is(swallowed.length, 1, 'once');
  assert.match(
    swallowed[0],
    /^swallowed: the window protects 40 slots of a prompt of 40 tokens and the budget is 12, so/,
  );
  assert.is((await compactions(engine, tokens, 8, { policy: 'swallowed' })).length > 0, true);
  await engine.close();
});

test('peaks count what is protected: who would not fit waits, and nobody is preempted', async () => {
  const rules = new Rules(built.get('prompt')!.plan, {}, undefined, [0, 0]);
  assert.equal(rules.peaks(40, 100), { prompt: 40, decode: 40 + 3 + 12 + 1 });
  assert.equal(new Rules(built.get('swallowed')!.plan, {}, undefined, [0, 0]).peaks(40, 100), {
    prompt: 40,
    decode: 41,
  });
  assert.equal(new Rules(built.get('classes')!.plan, {}, undefined, [0, 0]).peaks(40, 100), {
    prompt: 40,
    decode: 100,
  });
  // a pool for one and a half: the second waits until the first has ended, it is not let in to be preempted
  const { bytes: page } = pageLayout({ headDim: 64, kvType: KvType.f32, lanes: 4 });
  const bytes = page * 4 * Math.ceil(56 / PAGE) * 1.5;
  const engine = await engineWith(['prompt'], { kvCacheBytes: bytes, kvType: 'f32', prefixCache: false });
  const two = [1, 2].map((seed) => {
    const tokens = randomTokens(seed, 120, model.shape.vocab);
    return engine.submit({ prompt: tokens.subarray(0, 40), forced: tokens.subarray(40), maxTokens: 1 }).finished;
  });
  for (const { reason, preemptions } of await Promise.all(two)) assert.equal([reason, preemptions], ['length', 0]);
  await engine.close();
});

test('with a ratio, a score reads the budget that the engine keeps at that moment', async () => {
  const engine = await engineWith(['reads']);
  const tokens = randomTokens(5, 80, model.shape.vocab);
  const nearest = (live: number[], budget: number) =>
    [...live]
      .sort((a, b) => Math.abs(a - budget) - Math.abs(b - budget) || b - a)
      .slice(0, budget)
      .sort((a, b) => a - b);
  let live: number[] = [];
  let known = 0;
  for (const { at, kept, params } of await compactions(engine, tokens, 50, { ratio: 0.25 })) {
    const budget = Math.round(0.25 * at);
    for (; known < at; known++) live.push(known);
    live = nearest(live, budget);
    assert.equal(params, { budget }, `at ${at}`);
    assert.equal(kept[0][0], live, `at ${at}`);
  }
  assert.ok(known > 60);
  await engine.close();
});

test('what `next` reads of a ratio does not depend on how a prompt was cut', async () => {
  const tokens = randomTokens(6, 90, model.shape.vocab);
  const kept = await Promise.all(
    [1, 5, 16, 512].map(async (maxBatchedTokens) => {
      const engine = await engineWith(['observes'], { maxBatchedTokens });
      const events = await compactions(engine, tokens, 50, { ratio: 0.3 });
      await engine.close();
      return events;
    }),
  );
  assert.ok(kept[0].length > 10);
  for (const other of kept.slice(1)) assert.equal(other, kept[0]);
});

/** The refusal of a request, or of an engine. */
async function refusal(run: () => unknown): Promise<RequestError> {
  try {
    await run();
  } catch (error) {
    assert.instance(error, RequestError);
    return error as RequestError;
  }
  throw new Error('accepted');
}

test('a table of factors for another number of layers is an error at load that names both', async () => {
  const { message } = await refusal(() => smallEngine(model, { policies: [three] }));
  assert.match(message, /^three has factors for 3 layers, the model has 2 layers/);
  const engine = await engineWith(['prompt']);
  assert.match((await refusal(() => engine.addPolicy(three))).message, /for 3 layers/);
  await engine.close();
});

test('a ratio that changes nothing is an error', async () => {
  const notes: string[] = [];
  const engine = await engineWith(['reads', 'threshold'], { ratio: 0.5, note: (line) => notes.push(line) });
  assert.equal(notes, ['threshold: the ratio does not concern it, a threshold decides.']);
  const tokens = randomTokens(8, 40, model.shape.vocab);
  const ask = (more: Partial<GenerateRequest>) => () => engine.submit({ prompt: tokens, maxTokens: 1, ...more });
  const threshold = await refusal(ask({ policy: 'threshold', ratio: 0.5 }));
  assert.match(threshold.message, /^threshold has no budget that a ratio could stand in for: a threshold decides\.$/);
  assert.is(threshold.api.param, 'ratio');
  assert.match((await refusal(ask({ ratio: 0.5, params: { budget: 9 } }))).message, /both say what to keep: give one/);
  assert.match((await refusal(ask({ ratio: 1.5 }))).message, /above 0, up to 1; it is 1\.5/);
  const [own] = await compactions(engine, tokens, 36, { params: { budget: 9 } });
  assert.is(own.kept[0][0].length, 9, "a request's own budget goes before the engine's ratio");
  await engine.close();
  assert.match(
    (await refusal(() => engineWith(['threshold'], { ratio: 0.5 }))).message,
    /^A ratio of 0\.5 changes nothing/,
  );
});

test.run();
