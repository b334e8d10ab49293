/** Prompts with a hidden key, on a model whose tokens are characters. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { keyPrompts, names } from '../../eval/keys.ts';

const BOS = 1;
const speaker = (hasChatTemplate: boolean): Parameters<typeof keyPrompts>[0] => ({
  tokenizer: {
    vocab: 128,
    bos: BOS,
    eos: [0],
    encode: (text, { addBos = false } = {}) =>
      Int32Array.from([...(addBos ? [BOS] : []), ...[...text].map((character) => character.codePointAt(0)!)]),
    decode: (tokens) => String.fromCodePoint(...Array.from(tokens)),
    bytes: (token) => Uint8Array.of(token),
    classes: new Uint8Array(128),
  },
  chat: ([{ content }]) => `[user] ${content} [assistant] `,
  hasChatTemplate,
});
const chatty = speaker(true);
const decode = (tokens: ArrayLike<number>) => chatty.tokenizer.decode(tokens);
const book = Array.from({ length: 1000 }, (_, i) => `Wave ${i} broke on the shore. `).join('');
const spec = { text: chatty.tokenizer.encode(book), length: 1500, trials: 10, seed: 1 };
const NEEDLE =
  /\n\nThe pass key of the ([a-z ]+) is the number (\d+)\. Remember it: (\d+) is the pass key of the ([a-z ]+)\.\n\n/;

test('every prompt has its length, a stretch of text of its own, the key, the question and the start of the answer', () => {
  keyPrompts(chatty, spec).forEach(({ tokens, read, key }, i) => {
    assert.is(tokens.length, spec.length);
    const prompt = decode(tokens);
    const [needle, thing, ...rest] = prompt.match(NEEDLE)!;
    assert.equal(rest, [key, key, thing]);
    assert.match(key, /^[1-9]\d{4,6}$/);
    const text = decode(tokens.subarray('[user] '.length, read)).replace(needle, '');
    assert.is(text, book.slice(i * spec.length, i * spec.length + text.length));
    const end = `\n\nWhat is the pass key of the ${thing}? [assistant] The pass key of the ${thing} is the number`;
    assert.is(prompt, `[user] ${decode(tokens.subarray('[user] '.length, read))}${end}`);
  });
});

test('depths are spread evenly, each key at the end of a sentence or where it should be', () => {
  keyPrompts(chatty, spec).forEach(({ tokens, read, depth }, i) => {
    const prompt = decode(tokens.subarray('[user] '.length, read));
    const at = prompt.search(NEEDLE);
    assert.is(at / (prompt.length - prompt.match(NEEDLE)![0].length), depth);
    const wanted = (i + 0.5) / spec.trials;
    assert.ok(depth <= wanted + 1e-3 && depth > wanted - 0.25 / spec.trials - 1e-3, `${depth} for ${wanted}`);
    assert.match(prompt.slice(0, at), /\. ?$/);
  });
  const [{ tokens, depth }] = keyPrompts(chatty, { ...spec, text: spec.text.map(() => 97), trials: 1 });
  assert.ok(Math.abs(depth - 0.5) < 1e-3, 'a text without sentences');
  assert.is(tokens.length, spec.length);
});

test('a seed gives the same prompts, another one other keys', () => {
  const keys = (seed: number) => keyPrompts(chatty, { ...spec, seed }).map(({ key }) => key);
  assert.equal(keyPrompts(chatty, spec), keyPrompts(chatty, spec));
  assert.is(new Set([...keys(1), ...keys(2)]).size, 20);
});

test('without a chat template the prompt begins as a text does, and a length that holds no key is refused', () => {
  const [{ tokens }] = keyPrompts(speaker(false), { ...spec, trials: 1 });
  assert.is(tokens[0], BOS);
  assert.is(tokens.length, spec.length);
  assert.match(decode(tokens.subarray(1)), /^Wave 0 [\s\S]*\?\n\nThe pass key of the [a-z ]+ is the number$/);
  assert.throws(() => keyPrompts(chatty, { ...spec, length: 200 }), /200 tokens are too few/);
});

test('a key that is part of a longer number is not found', () => {
  assert.ok(names(' 48213.', '48213'));
  assert.not(names(' 482130', '48213'));
  assert.not(names(' 148213', '48213'));
  assert.not(names(' 4821', '48213'));
});

test.run();
