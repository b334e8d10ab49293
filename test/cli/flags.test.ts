/** Flags that would do nothing are refused, whatever the command, before a model is opened. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { elsewhere, skv } from './skv.ts';

test('a flag that does nothing is an error', async () => {
  writeFileSync(
    join(elsewhere, 'above.ts'),
    "import { above, definePolicy } from 'skv';\nexport default definePolicy({ name: 'threshold', score: (slot) => slot.pos, keep: above(3) });\n",
  );
  const text = ['eval', 'nll', '--text', 'x'];
  const wrong: [string[], RegExp][] = [
    [['run', 'Hi', '--ratio', '0.25', '--ratio', '0.5'], /--ratio is given twice/],
    [['serve', '--port', '1', '--port', '2'], /--port is given twice/],
    [[...text, '--seed', '3'], /unknown option '--seed'/],
    [[...text, '--trials', '3'], /unknown option '--trials'/],
    [['eval', 'keys', '--text', 'x', '--continue', '3'], /unknown option '--continue'/],
    [[...text, '--ratio', '0.5'], /--param and --ratio are for a policy/],
    [[...text, '--policy', 'above.ts', '--ratio', '0.5'], /threshold has no budget .*: a threshold decides/],
    [['run', 'Hi', '--ratio', '0.5'], /none has no budget .*: it keeps everything/],
    [['trace', 'above.ts', '--tokens', 'x', '--ratio', '0.5'], /a threshold decides/],
    [['explain', 'above.ts', '--ratio', '0.5'], /a threshold decides/],
    [['run', 'Hi', '--policy', 'h2o', '--ratio', '0.5', '--param', 'budget=9'], /both say what to keep: give one/],
    [['run', 'Hi', '--policy', 'h2o', '--param', 'budget=9', '--param', 'budget=8'], /budget is given twice/],
    [['run', 'Hi', '--raw', '--system', 'Be brief.'], /'--raw' cannot be used with option '--system/],
    [['explain', 'h2o', '--ir', '--plan'], /cannot be used with/],
    [['explain', 'h2o', '--plan', '--ratio', '0.5'], /cannot be used with/],
    [['explain', 'h2o', '--arch', '90'], /--arch 90 is for CUDA kernels/],
    [['build', 'h2o', '--kv', 'f16'], /--kv f16 is for CUDA kernels/],
    [['bench', 'serve', '--url', 'http://x', '--ratio', '0.5'], /cannot be used with/],
    [['bench', 'serve', '--api-key', 'x'], /--api-key is for the server at --url/],
  ];
  const results = await Promise.all(wrong.map(([args]) => skv(...args)));
  results.forEach(({ code, err }, i) => {
    assert.is(code, 1, `${wrong[i][0].join(' ')}: ${err}`);
    assert.match(err, wrong[i][1], wrong[i][0].join(' '));
  });
});

test.run();
