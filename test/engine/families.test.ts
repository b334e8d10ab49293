/** A tiny model of every family: tokens do not depend on chunks, threads, strangers, prefix hits or preemption, whatever the policy. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { EngineOptions } from '../../runtime/engine/types.ts';
import { loadModel } from '../../runtime/model/load.ts';
import { familyModel, sizes, tinyFamilies, writeFamilyFolder } from '../oracle/families.ts';
import { build, shipped } from '../../codegen/build.ts';
import { outcome, randomTokens, smallBudgets, smallEngine } from './small.ts';

const folder = mkdtempSync(join(tmpdir(), 'skv-families-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

const PROMPT = randomTokens(1, 80, sizes.vocab);
const requestOf = (policy: string) => ({ prompt: PROMPT, maxTokens: 40, policy, params: smallBudgets[policy] });

/** One policy of each kind: none, by position, by attention, by an observed window, with budgets that flow between heads. */
const names = ['none', 'streaming', 'h2o', 'snapkv', 'adakv'];
const policies = await Promise.all(names.map((name) => build(shipped(name)!)));

/** Room for two prompts of five pages, not for what both become. */
const pagesOf = (heads: number) => heads * 13;

let preempted = 0;

for (const [seed, tiny] of tinyFamilies.entries())
  test(tiny.name, async () => {
    const at = join(folder, String(seed));
    writeFamilyFolder(familyModel(tiny, 200 + seed), at);
    const loaded = await loadModel(at);
    // with learned positions, none that counts them as the cache has them
    const own = names.filter((name) => loaded.spec.positions === 0 || name !== 'streaming');
    const heads = loaded.spec.layers * loaded.spec.kvHeads;
    const engineOf = (options: Partial<EngineOptions>) =>
      smallEngine(
        { loaded },
        { policies, maxModelLen: sizes.positions, kvCacheBytes: 16 << 20, threads: 1, ...options },
      );

    const alone = await engineOf({ maxBatchedTokens: 512, prefixCache: false });
    const { pageBytes } = alone.stats();
    const expected = new Map<string, number[]>();
    for (const policy of own) expected.set(policy, (await outcome(alone, requestOf(policy))).tokens);
    await alone.close();
    const matter = loaded.spec.layer.some(({ window }) => window === 0);
    assert.is(new Set([...expected.values()].map(String)).size > 1, matter, 'policies thin layers without a window');

    const together = async (options: Partial<EngineOptions>, label: string) => {
      const engine = await engineOf(options);
      for (const round of [1, 2]) {
        const all = await Promise.all(own.map((policy) => outcome(engine, requestOf(policy))));
        for (const [i, { tokens }] of all.entries())
          assert.equal(tokens, expected.get(own[i]), `${label}, round ${round}, ${own[i]}`);
      }
      const { preemptions, pagesUsed, pagesCached } = engine.stats();
      assert.is(pagesUsed, pagesCached);
      await engine.close();
      return preemptions;
    };
    await together({ maxBatchedTokens: 7, threads: 2, pin: false }, 'chunks, threads, prefix hits');
    const kvCacheBytes = pageBytes * pagesOf(heads);
    preempted += await together({ kvCacheBytes, prefixCache: false }, 'a small pool');
  });

test('somebody was preempted', () => assert.ok(preempted > 0));

test.run();
