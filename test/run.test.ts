/** The test runner itself: the three ways in which a broken test file would pass unnoticed. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { judge } from './run.ts';

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

test.run();
