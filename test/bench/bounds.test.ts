/** What work cannot do without, on a model small enough to count by hand. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { largestLoss } from '../../bench/bounds.ts';
import { type Job, floorOf, jobsOf, need, productsOf, wantedJobs } from '../../bench/need.ts';
import { tinyModel } from '../oracle/tiny.ts';

const tiny = tinyModel(1, { layers: 2, kvHeads: 2, group: 2, headDim: 64, width: 48, ffn: 64, vocab: 192 });
process.on('exit', () => tiny.remove());

/** Inputs times outputs of one layer: q, k, v, o, gate, up, down. */
const LAYER = 48 * 256 + 2 * 48 * 128 + 256 * 48 + 3 * 48 * 64;
const HEAD = 192 * 48;
const job = (more: Partial<Job>): Job => ({ ...jobsOf(true)[0], ...more });

test('work is chosen by parts of its name, and a name that nothing has is refused', () => {
  const names = (...only: string[]) => wantedJobs(true, only).map(({ name }) => name);
  assert.equal(
    names(),
    jobsOf(true).map(({ name }) => name),
  );
  assert.equal(names('prefill', 'h2o'), ['prefill 512', '8 × 1000, h2o at 672']);
  assert.throws(() => names('prefill', 'nothing'), /--only nothing: no work is called that.*decode at 128/);
});

test('a decode step reads the weights once and every live slot', () => {
  const { bytes, denseOps, attentionOps } = need(job({ kind: 'decode', slots: 100, batch: 3 }), tiny.loaded);
  assert.is(bytes, 4 * (2 * LAYER + HEAD) + 3 * 100 * (2 * 2 * 64 * 2 * 2));
  assert.is(denseOps, 3 * 2 * (2 * LAYER + HEAD));
  assert.is(attentionOps, 3 * 100 * (2 * 4 * 64 * 4));
});

test('a prompt’s attention is the causal half, and its head one token’s', () => {
  const { bytes, denseOps, attentionOps } = need(job({ kind: 'prefill', slots: 10, batch: 1 }), tiny.loaded);
  assert.is(bytes, 4 * (2 * LAYER + HEAD) + 10 * (2 * 2 * 64 * 2 * 2));
  assert.is(denseOps, 10 * 2 * 2 * LAYER + 2 * HEAD);
  assert.is(attentionOps, 55 * (2 * 4 * 64 * 4));
});

test('the engine’s products: four a layer, what shares its input together, and the head', () => {
  const products = productsOf(tiny.loaded);
  assert.is(products.length, 2 * 4 + 1);
  assert.is(
    products.reduce((sum, { rows, cols }) => sum + rows * cols, 0),
    2 * LAYER + HEAD,
  );
  assert.is(products.filter(({ isHead }) => isHead).length, 1);
  assert.ok(
    products.some(({ rows, cols }) => rows === 256 + 2 * 128 && cols === 48),
    'query, key and value',
  );
});

test('the floor is the longer of memory and arithmetic', () => {
  const limits = { read: 1e9, int8: 1e12, bf16: 1e11, f32: 1e11 };
  assert.equal(floorOf({ bytes: 2e9, denseOps: 1e12, attentionOps: 5e10 }, limits), { seconds: 2, bound: 'memory' });
  assert.equal(floorOf({ bytes: 1e9, denseOps: 1e12, attentionOps: 5e10 }, limits), {
    seconds: 1.5,
    bound: 'arithmetic',
  });
});

test('the largest loss is the part farthest above its own floor', () => {
  const row = {
    name: 'x',
    bytes: 0,
    ops: 0,
    floor: 1,
    bound: 'memory' as const,
    seconds: { n: 1, median: 0.01, min: 0.01, max: 0.01 },
    tokens: 1,
    parts: [
      { name: 'dense products', seconds: 0.004, floor: 0.0035 },
      { name: 'attention', seconds: 0.003, floor: 0.001 },
    ],
  };
  assert.match(largestLoss(row), /^everything else: 3 ms of 10/);
  assert.match(largestLoss({ ...row, seconds: { ...row.seconds, median: 0.0075 } }), /^attention: 2 ms/);
});

test.run();
