/** The test runner itself: the three ways in which a broken test file would pass unnoticed. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { inTurn, judge } from './run.ts';

const ended = (total: number, passed: number, skipped = 0) =>
  `\n  Total:     ${total}\n  Passed:    ${passed}\n  Skipped:   ${skipped}\n  Duration:  1ms\n`;

test('a file whose tests passed has passed', () => {
  const result = judge('a.test.ts', ended(3, 3), 0, 1);
  assert.is(result.passed, 3);
  assert.is(result.failed, 0);
});

test('failed tests are counted', () => assert.is(judge('a.test.ts', ended(3, 2), 1, 1).failed, 1));

test('skipped tests are none of the total', () => {
  const result = judge('a.test.ts', ended(0, 0, 1), 0, 1);
  assert.equal([result.passed, result.failed, result.skipped], [0, 0, 1]);
});

test('a forgotten .run() is a failure', () => assert.match(judge('a.test.ts', ended(0, 0), 0, 1).problem!, 'no test'));

test('a promise that never settles is a failure although node exits with 0', () => {
  assert.match(judge('a.test.ts', '• • ', 0, 1).problem!, 'before its tests did');
});

test('a crash is a failure', () => assert.is(judge('a.test.ts', 'Segmentation fault', null, 1).failed, 1));

test('an exit code without a failed test is a failure', () =>
  assert.is(judge('a.test.ts', ended(2, 2), 1, 1).failed, 1));

test('files run some at a time, in order, and are told in order', async () => {
  const log: string[] = [];
  const ends: (() => void)[] = [];
  const jobs = [0, 1, 2, 3].map((i) => async () => {
    log.push(`start ${i}`);
    await new Promise<void>((end) => (ends[i] = end));
    log.push(`end ${i}`);
    return i;
  });
  const results = inTurn(jobs, 2);
  const settle = () => new Promise((done) => setImmediate(done));
  for (const i of [1, 0, 3, 2]) {
    await settle();
    ends[i]();
  }
  assert.equal(await Promise.all(results), [0, 1, 2, 3]);
  assert.equal(log, ['start 0', 'start 1', 'end 1', 'start 2', 'end 0', 'start 3', 'end 3', 'end 2']);
});

test.run();
