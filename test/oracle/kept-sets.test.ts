/**
 * What the engine keeps, against plain loops written from the papers' rules: every shipped policy, random models, awkward lengths,
 * prompts in one chunk and in chunks of every size. Sets may differ only where two scores are closer than TIE.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped, shippedNames } from '../../codegen/build.ts';
import { Engine } from '../../runtime/engine/engine.ts';
import type { CompactionEvent } from '../../runtime/engine/types.ts';
import { duoWith, randomGates } from './duo.ts';
import { type Rule, run } from './forward.ts';
import * as rules from './rules/index.ts';
import { type Tiny, type TinyShape, tinyModel } from './tiny.ts';
import { random } from '../../codegen/oracle/random.ts';

/** Scores that come from f32 attention on one side and from doubles on the other agree to about 1e-5 of their size. */
const TIE = 2e-5;
/** of every request, for policies that draw */
const SEED = 12345;

interface Case {
  policy: string;
  params: Record<string, number>;
  /** `layers` that have no window, after `layer0` that have one */
  rule: (layers: number, layer0: number, gates: number[][], classOf: (pos: number) => number) => Rule;
}

const cases: Case[] = [
  { policy: 'none', params: {}, rule: () => rules.none() },
  { policy: 'streaming', params: { budget: 24 }, rule: () => rules.streaming({ budget: 24, sinks: 4 }) },
  { policy: 'h2o', params: { budget: 20, recent: 8 }, rule: () => rules.h2o({ budget: 20, recent: 8 }) },
  {
    policy: 'vatp',
    params: { budget: 21, recent: 6, sinks: 3 },
    rule: () => rules.vatp({ budget: 21, recent: 6, sinks: 3 }),
  },
  { policy: 'a2sf', params: { budget: 20, forget: 0.8 }, rule: () => rules.a2sf({ budget: 20, forget: 0.8 }) },
  { policy: 'tova', params: { budget: 19 }, rule: () => rules.tova({ budget: 19 }) },
  {
    policy: 'snapkv',
    params: { budget: 24, window: 7 },
    rule: () => rules.snapkv({ budget: 24, window: 7, pool: { kind: 'mean', width: 5 } }),
  },
  {
    policy: 'pyramidkv',
    params: { budget: 25, window: 4 },
    rule: (layers) => rules.pyramidkv({ budget: 25, window: 4, pool: { kind: 'mean', width: 5 }, beta: 20, layers }),
  },
  {
    policy: 'adakv',
    params: { budget: 22, window: 5 },
    rule: () => rules.adakv({ budget: 22, window: 5, pool: { kind: 'max', width: 7 }, alpha: 0.5 }),
  },
  {
    policy: 'adasnapkv',
    params: { budget: 30, window: 3 },
    rule: () => rules.adasnapkv({ budget: 30, window: 3, pool: { kind: 'mean', width: 5 }, guaranteed: 0.2 }),
  },
  {
    policy: 'chunkkv',
    params: { budget: 60, window: 5 },
    rule: () => rules.chunkkv({ budget: 60, window: 5, size: 20 }),
  },
  { policy: 'knorm', params: { budget: 18 }, rule: () => rules.knorm({ budget: 18 }) },
  { policy: 'keydiff', params: { budget: 30 }, rule: () => rules.keydiff({ budget: 30, block: 128 }) },
  {
    policy: 'lagkv',
    params: { budget: 23, lag: 9, sinks: 3 },
    rule: () => rules.lagkv({ budget: 23, lag: 9, sinks: 3 }),
  },
  {
    policy: 'scissorhands',
    params: { budget: 24, drop: 8, history: 20, recent: 4 },
    rule: (layers) => rules.scissorhands({ budget: 24, drop: 8, history: 20, window: 4, beta: 0.75, layers }),
  },
  {
    policy: 'randomattn',
    params: { budget: 7, every: 3 },
    rule: (_, layer0) => rules.randomattn({ budget: 7, every: 3, seed: SEED, layer0 }),
  },
  {
    policy: 'vase',
    params: { budget: 26, recent: 6, large: 9 },
    rule: (_, layer0) => rules.vase({ budget: 26, recent: 6, large: 9, sinks: 4, seed: SEED, layer0 }),
  },
  {
    policy: 'duo',
    params: { full: 0.5, sinks: 3, recent: 9 },
    rule: (_, layer0, gates) => rules.duo({ gates: gates.slice(layer0), full: 0.5, sinks: 3, recent: 9 }),
  },
  {
    policy: 'fastgen',
    params: { recovers: 0.7, frequent: 0.2, recent: 0.25, sinks: 2 },
    rule: (_layers, _layer0, _gates, classOf) =>
      rules.fastgen({ recovers: 0.7, frequent: 0.2, recent: 0.25, sinks: 2, classOf }),
  },
];

test('every shipped policy has a rule', () => {
  assert.equal(cases.map(({ policy }) => policy).sort(), shippedNames());
});

const built = Promise.all(cases.filter(({ policy }) => policy !== 'duo').map(({ policy }) => build(shipped(policy)!)));

async function engineFor(model: Tiny, gates: number[][], maxBatchedTokens: number): Promise<Engine> {
  return Engine.create({
    model: model.loaded,
    policies: [...(await built), await build(duoWith(gates))],
    kvType: 'f32',
    maxBatchedTokens,
    maxSeqs: 4,
    maxModelLen: 1024,
    kvCacheBytes: 64 << 20,
    check: true,
    prefixCache: false,
    threads: 1, // of six engines that take turns
    pin: false,
  });
}

/** Runs forced tokens through the engine and returns its compactions. */
async function compactions(
  engine: Engine,
  { policy, params }: Case,
  tokens: Int32Array,
  prompt: number,
): Promise<CompactionEvent[]> {
  const events: CompactionEvent[] = [];
  const generation = engine.submit({
    prompt: tokens.subarray(0, prompt),
    forced: tokens.subarray(prompt),
    maxTokens: 1,
    policy,
    params,
    sampling: { seed: SEED },
    onCompaction: (event) => events.push(event),
  });
  const { reason, error } = await generation.finished;
  assert.is(reason, 'length', error?.message);
  return events;
}

/** Both sides keep the same, but for positions whose scores are at the border. */
function compare(
  label: string,
  expected: ReturnType<typeof run>['compactions'],
  events: CompactionEvent[],
  fed: number,
): void {
  // tokens that come several at once end with the last, whose compaction nobody waits for
  const seen = expected.filter(({ at }, i) => at <= fed || i < events.length);
  assert.equal(
    events.map((event) => event.at),
    seen.map((each) => each.at),
    `${label}: when it compacts`,
  );
  events.forEach((event, i) => {
    seen[i].kept.forEach((heads, layer) =>
      heads.forEach(({ positions, margin }, head) => {
        const kept = event.kept[layer][head];
        const odd = [
          ...positions.filter((pos) => !kept.includes(pos)),
          ...kept.filter((pos) => !positions.includes(pos)),
        ];
        const wrong = odd.filter((pos) => (margin.get(pos) ?? Infinity) > TIE);
        assert.equal(
          wrong,
          [],
          `${label}: compaction at ${event.at}, layer ${layer}, head ${head}: kept ${kept}, expected ${positions}`,
        );
        assert.is(kept.length, positions.length, `${label}: as many slots`);
      }),
    );
  });
}

/** No token twice: equal tokens have keys of equal norm, and which of two equals stays is a matter of rounding. */
function tokensFor(seed: number, count: number, vocab: number): Int32Array {
  const next = random(seed);
  const tokens = Int32Array.from({ length: vocab }, (_, token) => token);
  for (let i = vocab - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [tokens[i], tokens[j]] = [tokens[j], tokens[i]];
  }
  return tokens.slice(0, count);
}

/** Around the borders of pages, and longer than any budget. */
const LENGTHS = [15, 16, 17, 31, 33, 48, 65, 150];
/** So many of them a policy meets in one shape, others in the next: all of them together. */
const MEETS = 5;
/** Tokens of a step: each length meets another in each shape. */
const CHUNKS = [1, 5, 13, 16, 17];

const shapes: Partial<TinyShape>[] = [
  { kvHeads: 1, group: 1, headDim: 64 },
  { kvHeads: 2, group: 3, headDim: 80, ropeInterleaved: false },
  { kvHeads: 3, group: 2, headDim: 96, layers: 3, windows: [20, 0, 0], attentionCap: 8 },
  { kvHeads: 2, group: 4, headDim: 128 },
];

for (const [i, shape] of shapes.entries()) {
  test(`kept sets: ${shape.kvHeads} KV heads × ${shape.group}, head size ${shape.headDim}`, async () => {
    const model = tinyModel(100 + i, shape);
    try {
      const gates = randomGates(i, model.shape);
      const whole = await engineFor(model, gates, 512);
      const cut = await Promise.all(CHUNKS.map((tokens) => engineFor(model, gates, tokens)));
      for (const [k, prompt] of LENGTHS.entries()) {
        const tokens = tokensFor(prompt * 7 + i, prompt + 21, model.shape.vocab);
        for (const [c, each] of cases.entries()) {
          if ((i * 3 + k + c) % LENGTHS.length >= MEETS) continue;
          const label = `${each.policy}, seed ${100 + i}, prompt ${prompt}`;
          const layer0 = model.shape.windows?.filter(Boolean).length ?? 0;
          const classOf = (pos: number) => model.loaded.tokenizer.classes[tokens[pos]];
          const rule = each.rule(model.shape.layers - layer0, layer0, gates, classOf);
          const expected = run(model, rule, tokens, prompt).compactions;
          for (const engine of [whole, cut[(i + k) % CHUNKS.length]])
            compare(label, expected, await compactions(engine, each, tokens, prompt), tokens.length - 1);
        }
      }
      for (const engine of [whole, ...cut]) await engine.close();
    } finally {
      model.remove();
    }
  });
}

test.run();
