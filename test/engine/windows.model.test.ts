/** Gemma 3 beyond its window of 512 positions, beside llama.cpp on the same file; and pages that are not there any more. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { LlamaLogLevel, getLlama } from 'node-llama-cpp';
import { build, shipped } from '../../codegen/build.ts';
import { mobyDick } from '../../eval/text.ts';
import { Engine } from '../../runtime/engine/engine.ts';
import { loadModel } from '../../runtime/model/load.ts';

const COUNT = 640;
const COMPARED = 3;
const model = await loadModel('gemma3-270m');
const { spec, tokenizer } = model;
const tokens = tokenizer.encode(mobyDick().slice(0, COUNT * 8), { addBos: true }).slice(0, COUNT);

/** Logits as log-probabilities. */
function normalised(logits: Float32Array): Float32Array {
  const top = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const lse = top + Math.log(logits.reduce((sum, x) => sum + Math.exp(x - top), 0));
  return logits.map((x) => x - lse);
}

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
    onLogits: (logits) => rows.push(normalised(logits)),
  });
  const { error, cacheBytes } = await generation.finished;
  if (error) throw error;
  const { pageBytes } = engine.stats();
  await engine.close();
  return { rows, pages: cacheBytes / pageBytes };
}

async function theirs(): Promise<Float32Array[]> {
  const llama = await getLlama({ build: 'never', gpu: false, logLevel: LlamaLogLevel.error });
  const loaded = await llama.loadModel({ modelPath: spec.files[0] });
  const context = await loaded.createContext({
    contextSize: COUNT + 64,
    experimentalKvCacheKeyType: 'F32',
    experimentalKvCacheValueType: 'F32',
  });
  // the last token's logits predict nothing that is compared
  const input = Array.from(tokens.subarray(0, COUNT - 1), (token, i) =>
    i < COUNT - 1 - COMPARED ? token : [token, { generateNext: { logits: true } }],
  );
  const results = await context.getSequence().controlledEvaluate(input as never);
  const rows = results.flatMap((result) => {
    if (!result?.next.logits) return [];
    const row = new Float32Array(spec.vocab).fill(Number.NEGATIVE_INFINITY);
    for (const [token, logit] of result.next.logits) row[token] = logit;
    return [normalised(row)];
  });
  await llama.dispose();
  return rows;
}

test('the same answer as llama.cpp, the same bits in any chunks, and no pages outside windows', async () => {
  const [whole, cut] = [await ours(512), await ours(100)];
  const expected = await theirs();
  assert.is(expected.length, COMPARED);
  expected.forEach((row, i) => {
    assert.equal(whole.rows[i], cut.rows[i], `token ${i}`);
    const kl = row.reduce((sum, p, token) => (p > -30 ? sum + Math.exp(p) * (p - whole.rows[i][token]) : sum), 0);
    // measured: at most 0.08; 1 to 6.5 where a query sees beyond the window
    assert.ok(kl < 0.3, `token ${i}: KL ${kl}`);
  });
  // one KV head: three layers of all tokens, fifteen of a window and what is left of its first page
  assert.ok(whole.pages <= 3 * 41 + 15 * 34, `${whole.pages} pages`);
});

test.run();
