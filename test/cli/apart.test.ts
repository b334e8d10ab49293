/** Who serves for long lets another process compile: TypeScript never comes into its memory. */
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { buildPolicy } from '../../cli/policies.ts';
import { elsewhere } from './skv.ts';

const { cache } = createRequire(import.meta.url);
const hasTypeScript = () => Object.keys(cache).some((path) => /node_modules\/(ts-morph|typescript)\//.test(path));

test('a mistake is told in the words of the compiler, which ran elsewhere', async () => {
  const file = join(elsewhere, 'wrong.ts');
  writeFileSync(file, "import { definePolicy } from 'skv';\nexport default definePolicy({ name: 1 });\n");
  const told = async (apart: boolean): Promise<string> =>
    buildPolicy(file, { apart }).then(
      () => 'it was built',
      (error) => error.told,
    );
  const words = await told(true);
  assert.match(words, /wrong\.ts:2:\d+ {2}type-error/);
  assert.not(hasTypeScript());
  assert.is(words, await told(false));
  assert.ok(hasTypeScript(), 'or the test looks for the wrong thing');
});

test.run();
