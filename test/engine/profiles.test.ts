/**
 * Profiles under the engine: what a reach of 1 and of 0 keeps, that a larger one never keeps less, that pages are really
 * given back, and which rule each head is said to have taken.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import { TokenClass } from '../../runtime/contract/records.ts';
import type { CompactionEvent } from '../../runtime/engine/types.ts';
import { metricsOf } from '../../runtime/server/metrics.ts';
import { tinyModel } from '../oracle/tiny.ts';
import { outcome, randomTokens, smallEngine } from './small.ts';

const model = tinyModel(31, { layers: 3, kvHeads: 2, group: 2, windows: [0, 24, 0] });
process.on('exit', () => model.remove());
const { vocab } = model.shape;
const { classes } = model.loaded.tokenizer;
const policies = await Promise.all(['none', 'fastgen'].map((name) => build(shipped(name)!)));
const RULES = ['special', 'special + punctuation', 'special + punctuation + top frequent'];
const ALL_RULES = [...RULES, `${RULES[2]} + last recent`, 'everything'];

const PROMPT = 120;
/** The prompt, and forced tokens of every class after it. */
const tokens = randomTokens(5, PROMPT + 48, vocab);
const classOf = (pos: number) => classes[tokens[pos]];

async function run(policy: string, params: Record<string, number>) {
  const engine = await smallEngine(model, { policies, prefixCache: false });
  const events: CompactionEvent[] = [];
  const { finished } = await outcome(engine, {
    prompt: tokens.subarray(0, PROMPT),
    forced: tokens.subarray(PROMPT),
    maxTokens: 1,
    policy,
    params,
    onCompaction: (event) => events.push(event),
  });
  const stats = engine.stats().policies.find(({ name }) => name === policy)!;
  const metrics = await metricsOf({ engine, modelName: 'tiny' }).metrics();
  await engine.close();
  return { events, finished, stats, metrics };
}

/** Of the layers without a window, head by head. */
const own = <T>(layers: readonly T[][]): T[] => [layers[0], layers[2]].flat(1) as T[];
const all = (length: number) => Array.from({ length }, (_, pos) => pos);

test('a reach of 1 keeps everything, one of 0 the cheapest rule in every head; generated tokens of its classes stay', async () => {
  const whole = await run('fastgen', { recovers: 1 });
  assert.equal(
    whole.events.map(({ at }) => at),
    [PROMPT, PROMPT + 16, PROMPT + 32, PROMPT + 48],
  );
  for (const { at, kept, rules } of whole.events) {
    for (const positions of own(kept)) assert.equal(positions, all(at));
    assert.equal(rules, [Array(2).fill('everything'), ['', ''], Array(2).fill('everything')]);
  }
  assert.is(whole.stats.slotsEvicted, 0);

  const least = await run('fastgen', { recovers: 0, sinks: 3 });
  for (const { at, kept, rules } of least.events) {
    const special = all(at).filter((pos) => pos < 3 || classOf(pos) === TokenClass.special);
    for (const positions of own(kept)) assert.equal(positions, special);
    assert.equal(rules![0], ['special', 'special']);
  }
  assert.ok(
    own(least.events.at(-1)!.kept)[0].some((pos) => pos >= PROMPT),
    'a generated one is among them',
  );
});

test('a larger reach never keeps less, heads differ, and what leaves gives its pages back', async () => {
  const reaches = [0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1];
  const runs = await Promise.all(reaches.map((recovers) => run('fastgen', { recovers })));
  const first = runs.map(({ events }) => own(events[0].kept));
  for (let i = 1; i < first.length; i++)
    first[i].forEach((positions, head) => {
      const kept = new Set(positions);
      assert.ok(
        first[i - 1][head].every((pos) => kept.has(pos)),
        `${reaches[i]}, head ${head}`,
      );
    });
  const bytes = runs.map(({ finished }) => finished.cacheBytes);
  assert.ok(bytes[0] < bytes[4] && bytes[4] < bytes.at(-1)!, `bytes ${bytes}`);
  const met = new Set(runs.flatMap(({ events }) => own(events[0].rules!)));
  assert.ok(met.size >= 4, `rules ${[...met].join(', ')}`);
  assert.ok(
    first.some((heads) => new Set(heads.map(({ length }) => length)).size > 1),
    'lengths are ragged',
  );
});

test('a rule is kept while tokens are generated, and counted once a request', async () => {
  const { events, stats, metrics } = await run('fastgen', { recovers: 0.6 });
  for (const { rules } of events) assert.equal(rules, events[0].rules);
  const counts = ALL_RULES.map((rule) => ({
    rule,
    heads: own(events[0].rules!).filter((each) => each === rule).length,
  }));
  assert.equal(stats.profile, counts);
  for (const { rule, heads } of counts)
    assert.match(
      metrics,
      new RegExp(`skv:profile_heads_total\\{policy="fastgen",rule="${rule.replaceAll('+', '\\+')}".*\\} ${heads}`),
    );
});

test('a policy without a profile has none of this', async () => {
  const { stats, events } = await run('none', {});
  assert.is(stats.profile, undefined);
  assert.equal(events, []);
});

test.run();
