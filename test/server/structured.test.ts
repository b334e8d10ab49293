/** Answers that have a form: what comes out is right, whatever the model would rather say. */
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { hasToken } from '../../runtime/engine/drawable.ts';
import { Matchers } from '../../runtime/grammar/index.ts';
import type { LoadedModel } from '../../runtime/model/types.ts';
import { vocabularyOf } from '../../runtime/server/vocabulary.ts';
import { END, serve } from './textual.ts';

const running = await serve();
test.after(() => running.stop());
const CHAT = '/v1/chat/completions';
const TEXT = '/v1/completions';

interface Body {
  choices: { text: string; message: { content: string }; finish_reason: string }[];
  error?: { message: string; param: string };
}
const ask = async (path: string, more: object): Promise<{ status: number; body: Body }> => {
  const what = path === CHAT ? { messages: [{ role: 'user', content: 'Hi' }] } : { prompt: 'Hi' };
  const response = await running.post(path, { ...what, max_tokens: 300, seed: 7, ...more });
  return { status: response.status, body: (await response.json()) as Body };
};
const textsOf = async (path: string, more: object): Promise<string[]> => {
  const { status, body } = await ask(path, more);
  assert.is(status, 200, JSON.stringify(body));
  for (const { finish_reason } of body.choices) assert.is(finish_reason, 'stop', JSON.stringify(body.choices));
  return body.choices.map((choice) => choice.text ?? choice.message.content);
};

/** Strings end soon: the tiny model draws every character alike. */
const soon = { logit_bias: { 2: 6, 93: 4 } };
const person = {
  type: 'object',
  properties: { name: { type: 'string', maxLength: 12 }, age: { type: 'integer', minimum: 0, maximum: 120 } },
  required: ['name', 'age'],
  additionalProperties: false,
};

test('json_schema: the answer satisfies it, greedy and drawn, in chats and completions', async () => {
  const format = {
    response_format: { type: 'json_schema', json_schema: { name: 'person', strict: true, schema: person } },
  };
  for (const path of [CHAT, TEXT])
    for (const temperature of [0, 1.5])
      for (const text of await textsOf(path, { ...format, ...soon, temperature, n: 3 })) {
        const value = JSON.parse(text) as { name: string; age: number };
        assert.equal(Object.keys(value), ['name', 'age']);
        assert.ok(value.name.length <= 12 && Number.isInteger(value.age) && value.age >= 0 && value.age <= 120, text);
      }
});

test('json_object, regex, choice, grammar, and the older names', async () => {
  const [object] = await textsOf(CHAT, { response_format: { type: 'json_object' }, ...soon });
  assert.type(JSON.parse(object), 'object');
  const cases: [object, RegExp][] = [
    [{ structured_outputs: { regex: '[a-f]{3}-\\d+(x|y)' } }, /^[a-f]{3}-\d+(x|y)$/],
    [{ structured_outputs: { choice: ['red', 'green "light"'] } }, /^(red|green "light")$/],
    [{ structured_outputs: { grammar: 'root ::= ("a" | "aa") b\nb ::= "bc" | "bd"' } }, /^a+b[cd]$/],
    [{ structured_outputs: { json: { enum: ['x', 1, null] } } }, /^("x"|1|null)$/],
    [{ guided_regex: '[a-f]{3}' }, /^[a-f]{3}$/],
    [{ guided_choice: ['red', 'blue'] }, /^(red|blue)$/],
    [{ guided_json: '{"const": [1, "a"]}' }, /^\[1,"a"\]$/],
    [{ guided_grammar: 'root ::= "yes" | "no"' }, /^(yes|no)$/],
    [{ json_schema: { type: 'boolean' } }, /^(true|false)$/],
    [{ grammar: 'root ::= [0-9]' }, /^[0-9]$/],
  ];
  for (const [more, expected] of cases)
    for (const text of await textsOf(TEXT, { ...more, n: 2, temperature: 1.2, logit_bias: { 65: 0 } }))
      assert.match(text, expected);
});

test('a policy that evicts, and strangers beside', async () => {
  const policy = { sparse_kv: { policy: 'streaming', budget: 32 } };
  const format = { response_format: { type: 'json_schema', json_schema: { name: 'p', schema: person } }, ...soon };
  const prompt = { prompt: 'x'.repeat(200) };
  const answers = await Promise.all([
    textsOf(TEXT, { ...prompt, ...policy, ...format }),
    textsOf(TEXT, { ...prompt, ...format, n: 2 }),
    ask(TEXT, { ...prompt, max_tokens: 80 }).then(() => [] as string[]),
  ]);
  for (const text of answers.flat()) assert.equal(Object.keys(JSON.parse(text)), ['name', 'age']);
});

test('streams, stop strings, ignore_eos and min_tokens', async () => {
  const format = { response_format: { type: 'json_schema', json_schema: { name: 'p', schema: person } }, ...soon };
  const response = await running.post(TEXT, { prompt: 'Hi', max_tokens: 300, seed: 7, stream: true, ...format });
  const lines = (await response.text()).split('\n').filter((line) => line.startsWith('data: {'));
  const text = lines.map((line) => JSON.parse(line.slice(6)).choices[0].text).join('');
  assert.equal([text], await textsOf(TEXT, format));
  for (const more of [{ ignore_eos: true }, { min_tokens: 200 }])
    assert.equal(Object.keys(JSON.parse((await textsOf(TEXT, { ...format, ...more }))[0])), ['name', 'age']);
});

test('a form that nearly every token fits ends where the model ends it', async () => {
  for (const regex of ['[^\\x00]*', 'a?[^b]*', '(.|\\n)*'])
    assert.equal(await textsOf(TEXT, { guided_regex: regex, logit_bias: { [END]: 100 } }), [''], regex);
});

test('a worker rests when it follows nobody, and not before', async () => {
  const idle = 0.05;
  const matchers = new Matchers(2, async () => ({ bytes: Buffer.from('ab'), ends: Int32Array.of(1, 2) }), idle);
  const open = async () => (await matchers.open({ text: 'root ::= "a" "b"' }))({ stops: [] });
  try {
    for (let round = 0; round < 2; round++) {
      const mask = await open();
      await mask.pending;
      await sleep(200);
      mask.accept(0);
      await mask.pending;
      assert.equal([mask.failure, [0, 1].map((token) => hasToken(mask.allowed!, token))], [undefined, [false, true]]);
      mask.close();
      await sleep(200); // the second round has another worker
    }
  } finally {
    matchers.close();
  }
});

test('a stop token that the grammar needs ends the text all the same', async () => {
  const [text] = await textsOf(TEXT, { guided_regex: 'ab}', stop_token_ids: [93] });
  assert.is(text, 'ab');
});

test('what is wrong is named, with its place, and the server goes on', async () => {
  const schema = (given: object) => ({
    response_format: { type: 'json_schema', json_schema: { name: 's', schema: given } },
  });
  const SCHEMA = 'response_format.json_schema.schema';
  const cases: [object, string, RegExp][] = [
    [{ response_format: { type: 'xml' } }, 'response_format.type', /xml is not supported; text, json_object/],
    [{ response_format: { type: 'json_schema' } }, 'response_format.json_schema', /Missing/],
    [schema({ type: 'strin' }), SCHEMA, /schema\.type: "strin" is no type; types are string/],
    [
      schema({ properties: { a: { type: 'array', uniqueItems: true } } }),
      SCHEMA,
      /\.properties\.a\.uniqueItems: is not supported/,
    ],
    [schema({ not: {} }), SCHEMA, /\.not: is not supported/],
    [schema({ $ref: '#/$defs/no' }), SCHEMA, /\$ref: "#\/\$defs\/no" is not in this schema/],
    [schema({ $ref: '#' }), SCHEMA, /refers to itself/],
    [schema({ type: 'string', pattern: '(?=a)' }), SCHEMA, /pattern: a group that looks around .* at character 1/],
    [schema({ type: 'integer', minimum: 5, maximum: 4 }), SCHEMA, /bounds leave no whole number/],
    [schema({ enum: [] }), SCHEMA, /enum: must list/],
    [{ structured_outputs: { regex: '[a-' } }, 'structured_outputs.regex', /a \[ without its \] at character 1/],
    [{ structured_outputs: { choice: [] } }, 'structured_outputs.choice', /list of texts/],
    [{ structured_outputs: { regex: 'a', choice: ['b'] } }, 'structured_outputs.choice', /send one/],
    [{ structured_outputs: { structural_tag: '{}' } }, 'structured_outputs.structural_tag', /not supported/],
    [{ structured_outputs: { grammar: 'root ::= "a' } }, 'structured_outputs.grammar', /EBNF/],
    [{ guided_json: '{' }, 'guided_json', /is no JSON/],
    [{ guided_grammar: 'start ::= "a"' }, 'guided_grammar', /root/],
  ];
  for (const [more, param, words] of cases) {
    const { status, body } = await ask(TEXT, more);
    assert.equal([status, body.error?.param], [400, param], JSON.stringify(more));
    assert.match(body.error!.message, words);
  }
  assert.equal(await textsOf(TEXT, { guided_choice: ['on'] }), ['on']);
});

test('a large vocabulary is read in turns with everything else', async () => {
  const vocab = 20_000;
  const tokenizer = { vocab, eos: [], bytes: () => Buffer.from('ab'), encode: () => [] };
  let [turns, reading] = [0, true];
  const other = () => {
    turns++;
    if (reading) setImmediate(other);
  };
  setImmediate(other);
  const { bytes, ends } = await vocabularyOf({ tokenizer, spec: { vocab } } as unknown as LoadedModel);
  reading = false;
  assert.equal([bytes.length, ends[vocab - 1]], [2 * vocab, 2 * vocab]);
  assert.ok(turns >= 4, `${turns}`);
});

test.run();
