/** Gemma 3 beyond its window of 512 positions, beside llama.cpp on the same file; and pages that are not there any more. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import { klOf, normalise } from '../../eval/kl.ts';
import { llamaReader } from '../../eval/llama.ts';
import { mobyDick } from '../../eval/text.ts';
import { Engine } from '../../runtime/engine/engine.ts';
import { loadModel } from '../../runtime/model/load.ts';

const COUNT = 640;
const COMPARED = 3;
const model = await loadModel('gemma3-270m');
const { spec, tokenizer } = model;
const tokens = tokenizer.encode(mobyDick().slice(0, COUNT * 8), { addBos: true }).slice(0, COUNT);

async function ours(maxBatchedTokens: number) {
  const engine = await Engine.create({
    model,
    policies: [await build(shipped('none')!)],
    maxSeqs: 1,
    maxBatchedTokens,
    maxModelLen: 1024,
    kvType: 'f32',
    kvCacheBytes: 64 << 20,
    check: true,
  });
  const rows: Float32Array[] = [];
  const generation = engine.submit({
    prompt: tokens.subarray(0, COUNT - COMPARED),
    forced: tokens.subarray(COUNT - COMPARED),
    maxTokens: 1,
    onLogits: (logits) => {
      normalise(logits);
      rows.push(logits);
    },
  });
  const { error, cacheBytes } = await generation.finished;
  if (error) throw error;
  const { pageBytes } = engine.stats();
  await engine.close();
  return { rows, pages: cacheBytes / pageBytes };
}

/** The last token's logits predict nothing that is compared. */
async function theirs(): Promise<Float32Array[]> {
  const reader = await llamaReader(spec.files[0], spec.vocab, tokens, 2);
  const rows = await reader.read(COUNT - 1 - COMPARED, COMPARED);
  await reader.close();
  for (const row of rows) normalise(row);
  return rows;
}

test('the same answer as llama.cpp, the same bits in any chunks, and no pages outside windows', async () => {
  const [whole, cut] = [await ours(512), await ours(100)];
  const expected = await theirs();
  assert.is(expected.length, COMPARED);
  expected.forEach((row, i) => {
    assert.equal(whole.rows[i], cut.rows[i], `token ${i}`);
    const kl = klOf(row, whole.rows[i]);
    // measured: at most 0.08; 1 to 6.5 where a query sees beyond the window
    assert.ok(kl < 0.3, `token ${i}: KL ${kl}`);
  });
  // one KV head: three layers of all tokens, fifteen of a window and what is left of its first page
  assert.ok(whole.pages <= 3 * 41 + 15 * 34, `${whole.pages} pages`);
});

test.run();
