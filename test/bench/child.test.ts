/** Children of a measurement: a stopped one ends with its parent. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const child = new URL('../../bench/child.ts', import.meta.url).href;
const program = `
  import { Child } from ${JSON.stringify(child)};
  const one = Child.start('one', process.execPath, ['-e', 'console.log("{}"); process.stdin.resume()']);
  await one.hear();
  one.rest();
  console.log(one.pid);
  setInterval(() => {}, 1000);`;

test('answers wait for whoever hears them', async () => {
  const { Child } = await import('../../bench/child.ts');
  const child = Child.start('two', process.execPath, [
    '-e',
    `console.log('{"n":1}\\n{"n":2}\\n{"error":"three"}'); process.stdin.resume()`,
  ]);
  assert.is((await child.hear<{ n: number }>()).n, 1);
  await sleep(20);
  assert.is((await child.hear<{ n: number }>()).n, 2);
  await child.hear().then(
    () => assert.unreachable(),
    (error: Error) => assert.is(error.message, 'two: three'),
  );
  await child.close();
});

/** A zombie, which waits to be reaped, is over. */
const alive = (pid: number): boolean => {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
};

for (const [signal, code] of [
  ['SIGTERM', 143],
  ['SIGINT', 130],
] as const)
  test(`${signal}: exit ${code}, and the stopped child is gone`, async () => {
    const parent = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const pid = Number((await once(parent.stdout, 'data'))[0]);
    assert.ok(alive(pid));
    parent.kill(signal);
    assert.is((await once(parent, 'exit'))[0], code);
    for (let i = 0; i < 100 && alive(pid); i++) await sleep(20); // until its new parent has noticed
    assert.not(alive(pid));
  });

test.run();
