/** The systems under test really do the work they are asked for; node-llama-cpp is here in development. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { machine } from '../../bench/machine.ts';
import type { Worked } from '../../bench/peers/protocol.ts';
import { type Common, subjects } from '../../bench/peers/subjects.ts';
import { resolveModel } from '../../runtime/model/source.ts';

const folder = mkdtempSync(join(tmpdir(), 'skv-peers-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const tokens = join(folder, 'tokens.json');
writeFileSync(tokens, JSON.stringify(Array.from({ length: 400 }, (_, i) => 200 + ((i * 7919) % 20_000))));
const common: Common = {
  model: await resolveModel('smollm2-135m'),
  tokens,
  cores: machine().cores,
  sequences: 2,
  context: 160,
  bytesPerToken: 23_040,
};

for (const name of ['skv', 'skv, h2o 20 %', 'llama.cpp Q4_1', 'llama.cpp Q4_1, pinned'])
  test(`${name}: every prompt gets its tokens, and their times make sense`, async () => {
    const subject = subjects('Q4_1').find((each) => each.name === name)!;
    const child = await subject.start(common, () => {});
    const start = performance.now();
    const worked = await child.ask<Worked>({
      prompts: [
        [0, 100],
        [100, 60],
      ],
      count: 6,
    });
    const wall = (performance.now() - start) / 1000;
    assert.is(worked.first.length, 2);
    assert.equal(
      worked.generated.map(({ length }) => length),
      [7, 7],
    );
    for (const first of worked.first) assert.ok(first > 0 && first <= worked.seconds);
    assert.ok(worked.seconds <= wall, `${worked.seconds} of ${wall} s`);
    assert.ok(worked.steady.tokens >= 6 && worked.steady.tokens <= 12, `${worked.steady.tokens} after both had one`);
    assert.ok(worked.steady.seconds > 0 && worked.steady.seconds < worked.seconds);
    assert.ok(worked.peakRss > 100e6);
    await child.close();
  });

test('a system that ends is told with what it said', async () => {
  const subject = subjects('Q4_1').find(({ name }) => name === 'skv')!;
  try {
    await subject.start({ ...common, model: join(folder, 'none.gguf') }, () => {});
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, /skv ended with 1[\s\S]*no such file/);
  }
});

test.run();
