/**
 * Random lives of an engine over a tiny model of every family: requests with shared beginnings are submitted, step, abort,
 * finish, are preempted and hit prefixes, in a pool that is mostly too small. After every step all invariants are audited; a
 * request that ends well has the tokens it has when it runs alone, on the CPU; and the pool ends as it began. Some of the
 * lives are on the emulated device.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Engine } from '../../runtime/engine/engine.ts';
import type { EngineOptions, FinishReason, GenerateRequest, Generation } from '../../runtime/engine/types.ts';
import { PAGE } from '../../runtime/contract/records.ts';
import { loadModel } from '../../runtime/model/load.ts';
import { familyModel, sizes, tinyFamilies, writeFamilyFolder } from '../oracle/families.ts';
import { type Tiny, tinyModel } from '../oracle/tiny.ts';
import { emulatedDevice } from '../emulation/backend.ts';
import { budgetsOf, outcome, policyNames, randomTokens, smallEngine, tokensOf } from './small.ts';

type Loaded = Pick<Tiny, 'loaded'>;

/** Lives of each model. */
const RUNS = Number(process.env.SKV_PROPERTY ?? 20);
const seed = Number(process.env.SKV_SEED ?? 20261124);
const PROMPT = 64;
const budgets = budgetsOf(20, 4);
const folder = mkdtempSync(join(tmpdir(), 'skv-lives-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

const submit = fc.record({
  kind: fc.constant('submit' as const),
  policy: fc.nat(policyNames.length - 1),
  beginning: fc.integer({ min: 1, max: 3 }),
  length: fc.constantFrom(1, 15, 16, 17, 33, 48, PROMPT),
  maxTokens: fc.integer({ min: 1, max: 30 }),
  priority: fc.integer({ min: 0, max: 2 }),
});
const action = fc.oneof(
  { weight: 5, arbitrary: submit },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('wait' as const), ticks: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('abort' as const), which: fc.nat(20) }) },
);
const life = fc.record({
  script: fc.array(action, { minLength: 5, maxLength: 40, size: 'max' }),
  columns: fc.constantFrom(11, 13, 20, 200),
  maxBatchedTokens: fc.constantFrom(3, 16, 40, 128),
  maxSeqs: fc.integer({ min: 1, max: 8 }),
  // alone it holds every token and has no bound: where others reserve their pages beside it, nobody is preempted
  none: fc.boolean(),
});
type Submit = typeof submit extends fc.Arbitrary<infer T> ? T : never;
type Life = typeof life extends fc.Arbitrary<infer T> ? T : never;

/** What happened in all lives together: a test in which nobody is preempted tests no preemption. */
const seen = { actions: 0, preemptions: 0, cachedTokens: 0, compactions: 0, abort: 0, length: 0 };

/** A model, the policies it can have, and an engine that answers one request at a time. */
class Lives {
  private readonly known = new Map<string, Promise<number[]>>();
  private constructor(
    private readonly model: Loaded,
    private readonly policies: readonly string[],
    private readonly device: Partial<EngineOptions>,
    readonly alone: Engine,
  ) {}

  static async of(model: Loaded, device: Partial<EngineOptions>): Promise<Lives> {
    // with learned positions, none that counts them as the cache has them
    const apt = (name: string) => name !== 'streaming' || model.loaded.spec.positions === 0;
    // in the first layer a token that comes twice has keys of one length: the device rounds them apart another way
    const ties = (name: string) => device.backend !== undefined && name === 'knorm';
    const policies = policyNames.filter((name) => apt(name) && !ties(name));
    // on the CPU whatever the device, and one emulated engine steps at a time
    const { backend: _, policies: __, ...numbers } = device;
    const alone = await engineOf(model, { ...numbers, prefixCache: false, kvCacheBytes: 8 << 20 });
    return new Lives(model, policies, device, alone);
  }

  private requestOf({ policy, beginning, length, maxTokens }: Submit, none: boolean): GenerateRequest {
    const name = none ? 'none' : this.policies[policy % this.policies.length];
    return {
      prompt: randomTokens(beginning, PROMPT, this.model.loaded.spec.vocab).subarray(0, length),
      maxTokens: none ? maxTokens + PAGE : maxTokens,
      policy: name,
      params: budgets[name],
      sampling: { seed: beginning }, // otherwise a number of the engine's, which slot.random would read
    };
  }

  /** Tokens of a request that has the engine for itself. */
  private expected(request: GenerateRequest, key: string): Promise<number[]> {
    const wanted = this.known.get(key) ?? outcome(this.alone, request).then(({ tokens }) => tokens);
    this.known.set(key, wanted);
    return wanted;
  }

  async live({ script, columns, maxBatchedTokens, maxSeqs, none }: Life): Promise<void> {
    const { layers, kvHeads } = this.model.loaded.spec;
    const kvCacheBytes = columns * layers * kvHeads * this.alone.stats().pageBytes;
    const engine = await engineOf(this.model, { ...this.device, kvCacheBytes, maxBatchedTokens, maxSeqs });
    const started: { generation: Generation; tokens: Promise<number[]>; wanted: Promise<number[]> }[] = [];
    try {
      for (const each of script) {
        seen.actions++;
        if (each.kind === 'submit') {
          const request = this.requestOf(each, none);
          const generation = engine.submit({ ...request, priority: each.priority });
          const key = JSON.stringify([request.policy, each.beginning, each.length, request.maxTokens]);
          started.push({ generation, tokens: tokensOf(generation), wanted: this.expected(request, key) });
        } else if (each.kind === 'abort') started[each.which % Math.max(1, started.length)]?.generation.abort();
        else for (let i = 0; i < each.ticks; i++) await new Promise((resolve) => setImmediate(resolve));
      }
      for (const { generation, tokens, wanted } of started) {
        const { reason, error, cachedTokens, compactions } = await generation.finished;
        if (error) throw error;
        const [got, want] = [await tokens, await wanted];
        if (reason === 'abort') assert.equal(got, want.slice(0, got.length));
        else assert.equal(got, want);
        seen[reason as FinishReason & keyof typeof seen]++;
        seen.cachedTokens += cachedTokens;
        seen.compactions += compactions;
      }
      engine.check();
      engine.clearPrefixCache();
      assert.is(engine.stats().pagesUsed, 0, 'the pool ends as it began');
      seen.preemptions += engine.stats().preemptions;
    } finally {
      await engine.close();
    }
  }
}

const engineOf = (model: Loaded, options: Parameters<typeof smallEngine>[1]) =>
  smallEngine(model, { maxModelLen: sizes.positions, threads: 1, check: true, ...options });

const windowed = tinyModel(11, { layers: 2, kvHeads: 2, group: 1, width: 32, ffn: 32, vocab: 64, windows: [0, 20] });
process.on('exit', () => windowed.remove());

function loaded(of: (typeof tinyFamilies)[number], i: number): Promise<Loaded> {
  const at = join(folder, String(i));
  writeFamilyFolder(familyModel(of, 300 + i), at);
  return loadModel(at).then((loaded) => ({ loaded }));
}
const device = async (): Promise<Partial<EngineOptions>> => ({
  ...(await emulatedDevice(policyNames, 'f32')),
  kvType: 'f32',
  activations: 'f32',
});
const models: [name: string, runs: number, model: () => Promise<Loaded>, on?: typeof device][] = [
  ['a small model with windows', 2 * RUNS, () => Promise.resolve(windowed)],
  ['the same on the emulated device', Math.ceil(RUNS / 5), () => Promise.resolve(windowed), device],
  ...tinyFamilies.map((of, i): [string, number, () => Promise<Loaded>] => [of.name, RUNS, () => loaded(of, i)]),
];

for (const [i, [name, numRuns, model, on]] of models.entries())
  test(`random lives: ${name}`, async () => {
    const lives = await Lives.of(await model(), (await on?.()) ?? {});
    await fc.assert(
      fc.asyncProperty(life, (each) => lives.live(each)),
      { numRuns, seed: seed + i },
    );
    await lives.alone.close();
  });

test('everything happened', () => {
  // how often depends on when steps end, but not whether
  for (const [what, times] of Object.entries(seen)) assert.ok(times >= RUNS, `${what}: ${times}`);
});

test.run();
