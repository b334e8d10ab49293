/** Hidden keys on the real model: the full cache finds them, a short window only those inside it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { mobyDick } from '../../eval/text.ts';
import { keyPrompts, keys } from '../../eval/keys.ts';
import { build, shipped } from '../../codegen/build.ts';
import { loadModel } from '../../runtime/model/load.ts';

const model = await loadModel('smollm2-135m');
const text = model.tokenizer.encode(mobyDick().slice(0, 60_000));
const prompts = keyPrompts(model, { text, length: 512, trials: 6, seed: 1 });

for (const blind of [false, true]) {
  const when = blind ? ', asked for after the prompt' : '';

  test(`the full cache finds keys in 512 tokens${when}`, async () => {
    const { found, trials, cacheBytes } = await keys(model, await build(shipped('none')!), prompts, { blind });
    assert.ok(found >= 5, JSON.stringify(trials)); // 6 where this was written
    assert.ok(cacheBytes > 512 * 23_040);
  });

  test(`streaming finds those in its window alone${when}`, async () => {
    const params = { budget: 160 };
    const { trials, cacheBytes } = await keys(model, await build(shipped('streaming')!), prompts, { params, blind });
    const found = trials.filter((trial) => trial.found).map(({ depth }) => depth);
    assert.ok(found.length >= 1, JSON.stringify(trials));
    assert.ok(Math.min(...found) > 0.65, `found at ${found}`); // it sees the last 156 of 512 tokens
    assert.ok(cacheBytes < 200 * 23_040);
  });
}

test.run();
