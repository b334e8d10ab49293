/** The page at `/` in a real browser, offline; and what it asks the server for. SCREENSHOT=FILE keeps a picture of it. */
import chromium from '@sparticuz/chromium';
import { type Browser, chromium as driver } from 'playwright-core';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { CacheView } from '../../runtime/engine/types.ts';
import { doorOf, serve, until } from './textual.ts';

const running = await serve({ apiKey: 'sesame' });
const door = doorOf(running.engine);
let browser: Browser | undefined;
test.after(async () => {
  await browser?.close();
  door.open();
  await running.stop();
});

const headers = { authorization: 'Bearer sesame' };
// biome-ignore lint/suspicious/noExplicitAny: answers of a server are read freely
const get = async (path: string): Promise<any> => (await fetch(running.url + path, { headers })).json();

test('what a request holds, bin by bin, between two steps', async () => {
  const prompt = 'a long enough prompt '.repeat(30);
  const body = { prompt, max_tokens: 60, temperature: 0, ignore_eos: true, stream: true };
  const sparse_kv = { policy: 'h2o', budget: 48, recent: 16 };
  door.slow = 20; // or all is said before the door is shut
  const response = await running.post('/v1/completions', { ...body, sparse_kv }, headers);
  const reader = response.body!.getReader();
  const first = new TextDecoder().decode((await reader.read()).value);
  door.shut = true;
  door.slow = 0;
  const asked: Promise<CacheView> = get(`/skv/cache/${/"id":"([^"]+)"/.exec(first)![1]}`);
  await until('a step that waits', () => door.waits);
  const list = await get('/skv/state');
  assert.equal([list.requests.length, list.requests[0].policy, list.requests[0].prompt], [1, 'h2o', 630]);
  assert.ok(list.pool.used > 0 && list.pool.used <= list.pool.pages);
  door.open();
  const view = await asked;
  assert.equal([view.policy, view.prompt, view.states], ['h2o', 630, ['mass']]);
  assert.equal([view.heads.length, view.heads[0].length], [2, 2]);
  assert.ok(view.length > 630 && view.width === 3, `${view.length} tokens, ${view.width} in a bin`);
  for (const { slots, kept, states } of view.heads.flat()) {
    assert.is(kept.length, Math.ceil(view.length / view.width));
    assert.ok(slots >= 48 && slots <= 49, 'the budget, and the token that is new');
    assert.is(
      kept.reduce((a, b) => a + b, 0),
      slots,
    );
    const recent = kept.slice(-5).reduce((a, b) => a + b, 0);
    assert.ok(recent >= 13, 'the window’s last ones are all there');
    assert.ok(states[0].every((mass, bin) => (kept[bin] ? mass > 0 : mass === 0)));
  }
  for (;;) if ((await reader.read()).done) break;
  assert.is((await fetch(`${running.url}/skv/cache/nobody`, { headers })).status, 404);
  assert.is((await fetch(`${running.url}/skv/state`)).status, 401);
});

/** How many colours the picture has; runs in the page. */
const COLOURS = `(() => {
  const canvas = document.querySelector('#cache');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return new Set(Array.from({ length: data.length / 4 }, (_, i) => data.slice(4 * i, 4 * i + 3).join())).size;
})()`;

test('in a browser: the key, a policy, a chat, the picture while it grows', async () => {
  door.slow = 10; // milliseconds that a step takes, so that there is something to see
  const submit = running.engine.submit.bind(running.engine);
  running.engine.submit = (request) => submit({ ...request, stopTokens: [] });
  const executablePath = process.env.SKV_CHROME ?? (await chromium.executablePath());
  browser = await driver.launch({ executablePath, args: chromium.args, headless: true });
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  const foreign: string[] = [];
  const wrong: string[] = [];
  page.on('request', (request) => {
    if (!request.url().startsWith(running.url) && !request.url().startsWith('data:')) foreign.push(request.url());
  });
  page.on('pageerror', (error) => wrong.push(error.message));
  await page.goto(running.url);
  await page.fill('#key', 'sesame');
  await page.click('#locked button');
  await page.waitForSelector('#policies tr:nth-child(4)');
  assert.match((await page.textContent('#model'))!, /tiny, 1024 tokens/);
  await page.selectOption('#policy', 'h2o');
  await page.fill('[data-param=budget]', '48');
  await page.fill('[data-param=recent]', '16');
  await page.fill('#max', '300');
  await page.fill('#prompt', 'a long enough message '.repeat(20));
  await page.press('#prompt', 'Enter');
  await page.locator('#summary', { hasText: /h2o: \d+ % of \d+ tokens kept/ }).waitFor();
  const modes = await page.evaluate("[...document.querySelectorAll('#modes input')].map(({ value }) => value)");
  assert.equal(modes, ['kept', 'age', 'mass']);
  await page.check('#modes input[value=mass]');
  const colours = (await page.evaluate(COLOURS)) as number;
  assert.ok(colours > 3, `${colours} colours`);
  await page.hover('#cache', { position: { x: 1, y: 5 } });
  assert.match((await page.textContent('#under'))!, /layer 0, head 0: \d+ slots; positions 0–/);
  if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT });
  await page.waitForSelector('#stop:disabled');
  assert.ok((await page.textContent('#talk .assistant'))!.length > 3);
  assert.equal([foreign, wrong], [[], []]);
});

test.run();
