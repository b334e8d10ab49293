/**
 * Random lives of an engine: requests with shared beginnings are submitted, step, abort, finish, are preempted and hit
 * prefixes, in a pool that is mostly too small. After every step all invariants are audited; a request that ends well has the
 * tokens it has when it runs alone; and the pool ends as it began.
 */
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Generation } from '../../runtime/engine/types.ts';
import { tinyModel } from '../oracle/tiny.ts';
import { budgetsOf, outcome, policyNames, randomTokens, smallEngine, tokensOf } from './small.ts';

const model = tinyModel(11, { layers: 2, kvHeads: 2, group: 1, width: 32, ffn: 32, vocab: 64, windows: [0, 20] });
process.on('exit', () => model.remove());
const { vocab } = model.shape;
const budgets = budgetsOf(20, 4);

const alone = await smallEngine(model, { prefixCache: false });
const { pageBytes } = alone.stats();
const known = new Map<string, Promise<number[]>>();
/** Tokens of a request that has the engine for itself. */
function expected(policy: string, family: number, length: number, maxTokens: number): Promise<number[]> {
  const key = `${policy} ${family} ${length} ${maxTokens}`;
  if (!known.has(key))
    known.set(
      key,
      outcome(alone, {
        prompt: randomTokens(family, 64, vocab).subarray(0, length),
        maxTokens,
        policy,
        params: budgets[policy],
      }).then(({ tokens }) => tokens),
    );
  return known.get(key)!;
}

const submit = fc.record({
  kind: fc.constant('submit' as const),
  policy: fc.constantFrom(...policyNames),
  family: fc.integer({ min: 1, max: 3 }),
  length: fc.constantFrom(1, 15, 16, 17, 33, 48, 64),
  maxTokens: fc.integer({ min: 1, max: 24 }),
  priority: fc.integer({ min: 0, max: 2 }),
});
const action = fc.oneof(
  { weight: 5, arbitrary: submit },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('wait' as const), ticks: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('abort' as const), which: fc.nat(20) }) },
);

let actions = 0;
test('random lives', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(action, { minLength: 5, maxLength: 40 }),
      fc.constantFrom(11, 16, 25, 200),
      fc.constantFrom(3, 16, 40, 128),
      fc.integer({ min: 1, max: 6 }),
      async (script, columns, maxBatchedTokens, maxSeqs) => {
        const engine = await smallEngine(model, {
          kvCacheBytes: columns * model.shape.layers * model.shape.kvHeads * pageBytes,
          maxBatchedTokens,
          maxSeqs,
          check: true,
        });
        const started: { generation: Generation; tokens: Promise<number[]>; wanted: Promise<number[]> }[] = [];
        try {
          for (const each of script) {
            actions++;
            if (each.kind === 'submit') {
              const { policy, family, length, maxTokens, priority } = each;
              const generation = engine.submit({
                prompt: randomTokens(family, 64, vocab).subarray(0, length),
                maxTokens,
                policy,
                params: budgets[policy],
                priority,
              });
              started.push({
                generation,
                tokens: tokensOf(generation),
                wanted: expected(policy, family, length, maxTokens),
              });
            } else if (each.kind === 'abort') started[each.which % Math.max(1, started.length)]?.generation.abort();
            else for (let i = 0; i < each.ticks; i++) await new Promise((resolve) => setImmediate(resolve));
          }
          for (const { generation, tokens, wanted } of started) {
            const { reason, error } = await generation.finished;
            if (error) throw error;
            const [got, want] = [await tokens, await wanted];
            if (reason === 'abort') assert.equal(got, want.slice(0, got.length));
            else assert.equal(got, want);
          }
          engine.check();
          engine.clearPrefixCache();
          assert.is(engine.stats().pagesUsed, 0, 'the pool ends as it began');
        } finally {
          await engine.close();
        }
      },
    ),
    { numRuns: Number(process.env.SKV_PROPERTY ?? 150), seed: Number(process.env.SKV_SEED ?? 20261124) },
  );
  assert.ok(actions > 1000, `${actions} actions`);
});

test.after(() => alone.close());
test.run();
