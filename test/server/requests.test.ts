/** What clients of other servers send: obeyed, or refused by name; each of these was once dropped or refused without need. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { LoadedModel } from '../../runtime/model/types.ts';
import { conversationText } from '../../runtime/server/prompt.ts';
import { END, events, serve } from './textual.ts';

const running = await serve();
const { post, url, engine } = running;
test.after(() => running.stop());

const TEXT = '/v1/completions';
const CHAT = '/v1/chat/completions';
// biome-ignore lint/suspicious/noExplicitAny: answers of a server are read freely
type Json = any;
const json = async (path: string, body: unknown, status = 200): Promise<Json> => {
  const response = await post(path, body);
  const answer = await response.json();
  assert.is(response.status, status, JSON.stringify(answer));
  return answer;
};
const greedy = { prompt: 'Once upon a time', max_tokens: 8, temperature: 0, ignore_eos: true };
const conversation = [
  { role: 'user', content: 'Write a sentence about Paris.' },
  { role: 'assistant', content: 'Paris is the capital' },
];

test('continue_final_message goes on where the last message ends', async () => {
  const prompt =
    '<|im_start|>user\nWrite a sentence about Paris.<|im_end|>\n<|im_start|>assistant\nParis is the capital';
  const goesOn = { messages: conversation, continue_final_message: true, add_generation_prompt: false };
  const { tokens } = await json('/tokenize', goesOn);
  assert.is((await json('/detokenize', { tokens })).prompt, prompt);
  const asked = { ...goesOn, max_tokens: 8, temperature: 0, ignore_eos: true };
  const [{ message }] = (await json(CHAT, asked)).choices;
  assert.is(message.content, (await json(TEXT, { ...greedy, prompt })).choices[0].text);
  assert.is(
    (await json(CHAT, { ...asked, add_generation_prompt: undefined })).choices[0].message.content,
    message.content,
  );
  const both = await json(CHAT, { ...asked, add_generation_prompt: true }, 400);
  assert.is(both.error.param, 'continue_final_message');
});

test('seed -1 is another draw each time, also with n', async () => {
  const asked = { prompt: 'Once', max_tokens: 200, temperature: 2, seed: -1, n: 2, ignore_eos: true };
  const texts = new Set<string>();
  for (let i = 0; i < 3; i++) for (const { text } of (await json(TEXT, asked)).choices) texts.add(text);
  assert.is(texts.size, 6);
});

test('max_tokens is cut to what the context leaves, named or not', async () => {
  const prompt = [...engine.model.tokenizer.encode('x'.repeat(1016))];
  for (const max_tokens of [undefined, null, 16, 5000]) {
    const answer = await json(TEXT, { ...greedy, prompt, max_tokens });
    assert.equal([answer.usage.completion_tokens, answer.choices[0].finish_reason], [8, 'length'], String(max_tokens));
  }
  const chat = await json(CHAT, { messages: conversation, max_tokens: 1 << 20, temperature: 0, ignore_eos: true });
  assert.is(chat.usage.total_tokens, engine.maxModelLen);
  assert.is((await json(TEXT, { ...greedy, max_tokens: undefined })).usage.completion_tokens, 16);
  const endless = {
    prompt,
    max_tokens: 20,
    temperature: 0,
    ignore_eos: true,
    sparse_kv: { policy: 'streaming', budget: 64 },
  };
  assert.is((await json(TEXT, endless)).usage.completion_tokens, 20, 'positions of the cache’s own have no end');
});

test('the drawn token is among the likeliest, whatever was drawn', async () => {
  const asked = { prompt: 'The', max_tokens: 6, temperature: 2, seed: 3, ignore_eos: true };
  for (const wanted of [0, 2]) {
    const { tokens, token_logprobs, top_logprobs } = (await json(TEXT, { ...asked, logprobs: wanted })).choices[0]
      .logprobs;
    for (const [i, top] of top_logprobs.entries()) {
      assert.is(top[tokens[i]], token_logprobs[i]);
      const n = Object.keys(top).length;
      assert.ok(n === wanted || n === wanted + 1);
    }
  }
  const chat = { messages: conversation, max_tokens: 6, temperature: 2, seed: 3, logprobs: true, ignore_eos: true };
  for (const { token, top_logprobs } of (await json(CHAT, { ...chat, top_logprobs: 2 })).choices[0].logprobs.content)
    assert.ok(top_logprobs.some((each: Json) => each.token === token));
  for (const { top_logprobs } of (await json(CHAT, chat)).choices[0].logprobs.content) assert.equal(top_logprobs, []);
});

test('documents reach a template that writes them', () => {
  const seen: unknown[] = [];
  const chat: LoadedModel['chat'] = (_, { variables } = {}) => String(seen.push(variables));
  const model = { ...engine.model, chatTemplate: '{% for each in documents %}{{ each.text }}{% endfor %}', chat };
  const documents = [{ text: 'b' }];
  conversationText(model, { messages: [{ role: 'user', content: 'Hi' }], documents, chat_template_kwargs: { a: 1 } });
  assert.equal(seen, [{ a: 1, documents }]);
});

test('what lm-eval asks for, with its remote tokenizer', async () => {
  const info = (await (await fetch(`${url}/tokenizer_info`)).json()) as Json;
  assert.type(info.eos_token, 'string');
  const encode = async (prompt: string): Promise<number[]> =>
    (await json('/tokenize', { prompt, add_special_tokens: false })).tokens;
  assert.equal(await encode(info.eos_token), [END]);
  const [context, continuation] = [await encode('The capital is'), await encode(' Paris')];
  const whole = [...context, ...continuation];
  assert.is((await json('/detokenize', { tokens: whole })).prompt, 'The capital is Paris');
  const asked = {
    model: 'tiny',
    prompt: [whole, context],
    max_tokens: 1,
    temperature: 0,
    logprobs: 1,
    echo: true,
    seed: 1234,
  };
  const { choices } = await json(TEXT, asked);
  for (const [i, tokens] of [whole, context].entries()) {
    const { token_logprobs, top_logprobs } = choices[i].logprobs;
    assert.is(token_logprobs.length, tokens.length + 1, 'the prompt’s, and of the token that is drawn');
    for (const [at, top] of top_logprobs.entries())
      if (at > 0) assert.ok(Math.max(...Object.values<number>(top)) >= token_logprobs[at]);
  }
});

test('render: the tokens of a request that is not run', async () => {
  const { tokens } = await json('/tokenize', { messages: conversation });
  const chat = await json('/v1/chat/completions/render', { messages: conversation, max_tokens: 5 });
  assert.equal([chat.token_ids, chat.model], [tokens, 'tiny']);
  const list = await json('/v1/completions/render', { prompt: ['Hi', 'Hello'], truncate_prompt_tokens: 2 });
  const texts = await Promise.all(list.map(async ({ token_ids }: Json) => json('/detokenize', { tokens: token_ids })));
  assert.equal(texts, [{ prompt: 'Hi' }, { prompt: 'lo' }]);
});

test('paths with slashes too many are the same paths', async () => {
  const list = await (await fetch(`${url}/v1/models/`)).json();
  assert.equal(list, await (await fetch(`${url}/v1/models`)).json());
  assert.is((list as Json).object, 'list');
  for (const path of ['/health/', '//v1/models', '/v1/models/tiny/', '/tokenizer_info/'])
    assert.is((await fetch(url + path)).status, 200, path);
  await json('/v1/completions/', greedy);
  await json('//v1//chat/completions/', { messages: conversation, max_tokens: 1 });
  const wrong = await fetch(`${url}/v1/completions/`);
  assert.equal([wrong.status, wrong.headers.get('allow')], [405, 'POST']);
});

test('echo without a token more scores the prompt', async () => {
  const prompt = 'The capital of France is Paris';
  const asked = { prompt, max_tokens: 0, echo: true, logprobs: 1, temperature: 0 };
  const answer = await json(TEXT, asked);
  const [choice] = answer.choices;
  assert.equal([choice.text, choice.finish_reason], [prompt, 'length']);
  assert.equal(answer.usage.total_tokens, prompt.length);
  assert.is(choice.logprobs.tokens.join(''), prompt);
  assert.equal(
    choice.logprobs.text_offset,
    Array.from(prompt, (_, i) => i),
  );
  const longer = (await json(TEXT, { ...asked, max_tokens: 2, ignore_eos: true })).choices[0].logprobs;
  assert.equal(choice.logprobs.token_logprobs, longer.token_logprobs.slice(0, prompt.length));
  const streamed = (await events(await post(TEXT, { ...asked, stream: true }))).slice(0, -1).map((e) => JSON.parse(e));
  assert.equal(streamed[0].choices[0].logprobs, choice.logprobs);
  assert.is(streamed.at(-1).choices[0].finish_reason, 'length');
  assert.is((await json(TEXT, { prompt, max_tokens: 0 }, 400)).error.param, 'max_tokens');
  const two = await json(TEXT, { ...asked, prompt: [prompt, 'Hi'], n: 2 });
  assert.equal(
    two.choices.map(({ text }: Json) => text),
    [prompt, prompt, 'Hi', 'Hi'],
  );
});

test('prompt_logprobs: of every token by its number, with rank', async () => {
  const echoed = (await json(TEXT, { ...greedy, echo: true, logprobs: 1, max_tokens: 0 })).choices[0].logprobs;
  const [choice] = (await json(TEXT, { ...greedy, prompt_logprobs: 1, max_tokens: 1 })).choices;
  const tokens = engine.model.tokenizer.encode(greedy.prompt);
  assert.is(choice.prompt_logprobs[0], null);
  assert.is(choice.logprobs, null);
  for (const [i, logs] of choice.prompt_logprobs.entries()) {
    if (!logs) continue;
    assert.is(logs[tokens[i]].logprob, echoed.token_logprobs[i]);
    assert.is(logs[tokens[i]].decoded_token, greedy.prompt[i]);
    const first = Object.values<Json>(logs).find(({ rank }) => rank === 1);
    assert.is(first.logprob, Math.max(...Object.values<Json>(logs).map(({ logprob }) => logprob)));
  }
  const chat = await json(CHAT, { messages: conversation, max_tokens: 1, prompt_logprobs: 0 });
  assert.is(chat.prompt_logprobs.length, chat.usage.prompt_tokens);
  for (const [path, body] of [
    [TEXT, greedy],
    [CHAT, { messages: conversation, max_tokens: 1 }],
  ] as const)
    assert.is((await json(path, { ...body, prompt_logprobs: 1, stream: true }, 400)).error.param, 'prompt_logprobs');
});

test('skip_special_tokens: false writes them', async () => {
  const asked = { ...greedy, max_tokens: 2, logit_bias: { [END]: 100 }, logprobs: 0 };
  assert.is((await json(TEXT, asked)).choices[0].text, '');
  const [shown] = (await json(TEXT, { ...asked, skip_special_tokens: false })).choices;
  assert.is(shown.text, '<|im_end|><|im_end|>');
  assert.equal(shown.logprobs.text_offset, [0, 10]);
  const chat = { messages: conversation, max_tokens: 2, ignore_eos: true, logit_bias: { [END]: 100 } };
  assert.is((await json(CHAT, { ...chat, skip_special_tokens: false })).choices[0].message.content, shown.text);
});

test('include_stop_str_in_output keeps a stop token’s text, too', async () => {
  const token = engine.model.tokenizer.encode('Q')[0];
  const asked = { ...greedy, stop_token_ids: [token], logit_bias: { [token]: 100 } };
  assert.is((await json(TEXT, asked)).choices[0].text, '');
  assert.is((await json(TEXT, { ...asked, include_stop_str_in_output: true })).choices[0].text, 'Q');
});

test('truncate_prompt_tokens keeps the prompt’s end', async () => {
  const asked = { ...greedy, prompt: 'x'.repeat(2000) + 'the end', echo: true, max_tokens: 4 };
  for (const prompt of [asked.prompt, [...engine.model.tokenizer.encode(asked.prompt)]]) {
    const answer = await json(TEXT, { ...asked, prompt, truncate_prompt_tokens: 7 });
    assert.is(answer.usage.prompt_tokens, 7);
    assert.is(answer.choices[0].text.slice(0, 7), 'the end');
  }
  assert.is((await json(TEXT, { ...asked, truncate_prompt_tokens: -1 })).usage.total_tokens, engine.maxModelLen);
  assert.is((await json(TEXT, { ...asked, prompt: 'Hi', truncate_prompt_tokens: 7 })).usage.prompt_tokens, 2);
  assert.is((await json(TEXT, { ...asked, truncate_prompt_tokens: 0 }, 400)).error.param, 'truncate_prompt_tokens');
  const chat = await json(CHAT, { messages: conversation, max_tokens: 1, truncate_prompt_tokens: 9 });
  assert.is(chat.usage.prompt_tokens, 9);
});

test('best_of answers the likeliest', async () => {
  const asked = { prompt: 'Roll', max_tokens: 6, seed: 5, temperature: 1.5, ignore_eos: true, logprobs: 0 };
  const mean = ({ logprobs: { token_logprobs: list } }: Json) =>
    list.reduce((a: number, b: number) => a + b, 0) / list.length;
  const all = (await json(TEXT, { ...asked, n: 4 })).choices.sort((a: Json, b: Json) => mean(b) - mean(a));
  const answer = await json(TEXT, { ...asked, n: 2, best_of: 4 });
  assert.equal(
    answer.choices.map(({ text }: Json) => text),
    [all[0].text, all[1].text],
  );
  assert.equal(
    answer.choices.map(({ index }: Json) => index),
    [0, 1],
  );
  assert.is(answer.usage.completion_tokens, 24, 'all that were generated');
  const [plain] = (await json(TEXT, { ...asked, logprobs: undefined, n: 1, best_of: 4 })).choices;
  assert.equal([plain.text, plain.logprobs], [all[0].text, null]);
  assert.is((await json(TEXT, { ...asked, n: 3, best_of: 2 }, 400)).error.param, 'best_of');
  assert.is((await json(TEXT, { ...asked, best_of: 2, stream: true }, 400)).error.param, 'best_of');
});

test('stop: a string, a list, nothing; min_tokens over max_tokens is refused', async () => {
  for (const stop of [null, [], '', ['']])
    assert.is((await json(TEXT, { ...greedy, stop })).usage.completion_tokens, 8, JSON.stringify(stop));
  const [{ text }] = (await json(TEXT, greedy)).choices;
  for (const stop of [text[3], [text[3]], ['never', text[3]]])
    assert.is((await json(TEXT, { ...greedy, stop })).choices[0].text, text.slice(0, text.indexOf(text[3])));
  assert.is((await json(TEXT, { ...greedy, min_tokens: 9 }, 400)).error.param, 'min_tokens');
});

/** What would change the answer and is not done: [path, field, value]. */
const refusals: [string, string, unknown][] = [
  ...[TEXT, CHAT].flatMap((path): [string, string, unknown][] => [
    [path, 'use_beam_search', true],
    [path, 'length_penalty', 2],
    [path, 'typical_p', 0.9],
    [path, 'mirostat', 2],
    [path, 'repeat_penalty', 1.1],
    [path, 'n_predict', 5],
    [path, 'logits_processors', ['x']],
    [path, 'return_token_ids', true],
    [path, 'truncation_side', 'right'],
  ]),
  [TEXT, 'suffix', 'end'],
  [TEXT, 'max_completion_tokens', 5],
  [CHAT, 'echo', true],
  [CHAT, 'best_of', 2],
  [CHAT, 'chat_template', '{{ messages }}'],
  [CHAT, 'modalities', ['text', 'audio']],
  [CHAT, 'audio', { voice: 'x' }],
  [CHAT, 'verbosity', 'low'],
  [CHAT, 'functions', [{ name: 'f' }]],
  [CHAT, 'function_call', { name: 'f' }],
  [CHAT, 'documents', [{ title: 'a', text: 'b' }]],
];
test('what is not done is refused by name, and asks for nothing at its idle value', async () => {
  for (const [path, field, value] of refusals) {
    const body = path === TEXT ? greedy : { messages: conversation, max_tokens: 1 };
    const { error } = await json(path, { ...body, [field]: value }, 400);
    assert.is(error.param, field);
  }
  const idle = { use_beam_search: false, length_penalty: 1, typical_p: 1, mirostat: 0, modalities: ['text'] };
  await json(CHAT, { messages: conversation, max_tokens: 1, ...idle, audio: null, verbosity: 'medium' });
});

test.run();
