/** `npx skv serve`: what ends npx ends the server. npm passes signals to its shell, which does not pass them on; SIGKILL reaches npx alone. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../../toolchain/folders.mjs';
import { ggufParts, writeGguf } from '../model/write.ts';

const folder = mkdtempSync(join(tmpdir(), 'skv-npx-'));
test.after(() => rmSync(folder, { recursive: true, force: true }));
const model = join(folder, 'tiny.gguf');
writeFileSync(model, writeGguf(ggufParts()));

const answers = (url: string): Promise<boolean> =>
  fetch(`${url}/health`).then(
    () => true,
    () => false,
  );

for (const signal of ['SIGTERM', 'SIGKILL'] as const)
  test(`${signal} to npx leaves no server behind`, async () => {
    const args = ['--offline', 'skv', 'serve', '--model', model, '--port', '0', '--threads', '1'];
    const npx = spawn('npx', args, {
      cwd: root,
      env: { ...process.env, npm_config_cache: join(folder, 'npm') },
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true, // a group of its own, so that whatever is left can be ended
    });
    try {
      const url = await new Promise<string>((resolve, reject) => {
        let told = '';
        npx.stderr.on('data', (data) => {
          told += data;
          const found = /on (http:\S+) with/.exec(told);
          if (found) resolve(found[1]);
        });
        npx.on('exit', () => reject(new Error(told)));
      });
      assert.ok(await answers(url));
      npx.kill(signal);
      for (const end = Date.now() + 60_000; await answers(url); await sleep(50))
        assert.ok(Date.now() < end, 'the server is still there');
    } finally {
      try {
        process.kill(-npx.pid!, 'SIGKILL');
      } catch {} // nobody is left
    }
  });

test.run();
