/**
 * Parts of the CUDA backend that are no policy's, emulated: draws bit for bit the CPU's, products of quantised weights
 * against doubles.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { random } from '../../codegen/oracle/random.ts';
import { WeightType } from '../../runtime/contract/records.ts';
import { backendProgram } from '../emulation/backend.ts';
import { fileWeights, widthsOf } from '../native/blocks.ts';

const folder = mkdtempSync(join(tmpdir(), 'skv-device-parts-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const run = await backendProgram(join('test', 'kernels', 'device.cpp'), folder);

for (const order of ['forward', '7'])
  test(`draws are the CPU’s, whatever order threads run in (${order})`, () => {
    const { draws, different, tokens } = JSON.parse(run(['draws', order === '7' ? '2' : '1'], { SKV_EMULATE: order }));
    assert.is(different, 0, `${different} of ${draws} draws`);
    assert.ok(tokens > 50, `${tokens} tokens`);
  });

/** Sums in f32 over at most 768 inputs, relative to the sum of magnitudes, and numbers rounded to bf16, to their own. */
const TOLERANCE = 2e-6;
const BF16 = 2 ** -8;

for (const [name, type] of Object.entries(WeightType))
  if (!['F32', 'F16', 'BF16'].includes(name))
    test(`products with ${name}, for a few tokens`, () => {
      const next = random(type);
      const file = join(folder, `${name}.bin`);
      for (const [i, cols] of widthsOf(type).entries()) {
        const rows = 11 + i;
        writeFileSync(file, fileWeights(type, rows, cols, next));
        const wide = i % 2 === 0;
        const tokens = [1, 8, 3, 5][i];
        const { product, plain } = JSON.parse(
          run(['product', type, rows, cols, tokens, Number(wide), file].map(String), {}),
        );
        assert.ok(product < TOLERANCE, `${cols} columns, ${tokens} tokens: off by ${product}`);
        assert.ok(plain < (wide ? TOLERANCE : BF16), `${cols} columns: plain numbers off by ${plain}`);
      }
    });

test.run();
