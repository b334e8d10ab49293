/** allowed_token_ids and bad_words, as vLLM has them. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { serve } from './textual.ts';

const running = await serve();
test.after(() => running.stop());

const ask = async (more: object) => {
  const response = await running.post('/v1/completions', { prompt: 'Hi', max_tokens: 12, temperature: 0, ...more });
  return { status: response.status, body: (await response.json()) as { choices: { text: string }[]; error?: object } };
};
const textOf = async (more: object) => (await ask(more)).body.choices[0].text;

test('allowed_token_ids: no other token is drawn', async () => {
  for (const temperature of [0, 1.5]) {
    const text = await textOf({ temperature, allowed_token_ids: [65, 66, 67] }); // a, b, c
    assert.match(text, /^[abc]{12}$/);
  }
});

test('bad_words: they are not generated, after a space neither', async () => {
  const free = await textOf({ ignore_eos: true });
  const word = free.slice(2, 5);
  assert.not.ok((await textOf({ ignore_eos: true, bad_words: [word] })).includes(word));
  assert.is(await textOf({ ignore_eos: true, bad_words: ['never this'] }), free);
});

test('what is wrong is named', async () => {
  const wrong: [object, string][] = [
    [{ allowed_token_ids: [98] }, 'allowed_token_ids'],
    [{ allowed_token_ids: [] }, 'allowed_token_ids'],
    [{ allowed_token_ids: ['a'] }, 'allowed_token_ids[0]'],
    [{ bad_words: 'no' }, 'bad_words'],
  ];
  for (const [more, param] of wrong) {
    const { status, body } = await ask(more);
    assert.equal([status, (body.error as { param: string }).param], [400, param]);
  }
});

test.run();
