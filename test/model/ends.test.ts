/** What ends generation and how a model wants to be sampled: every file that says so is obeyed, or told. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { EngineApi } from '../../runtime/engine/types.ts';
import { samplingText } from '../../runtime/model/generation.ts';
import { loadModel } from '../../runtime/model/load.ts';
import { generateRequest } from '../../runtime/server/sampling.ts';
import { refused } from './refused.ts';
import { type GgufParts, ggufParts, storedFiles, vocab, writeGguf } from './write.ts';

const folder = mkdtempSync(join(tmpdir(), 'skv-ends-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

type Json = Record<string, unknown>;

function stored(changes: Record<string, Json>) {
  const at = mkdtempSync(join(folder, 'stored-'));
  const files = storedFiles();
  for (const [name, change] of Object.entries(changes))
    files[name] = JSON.stringify({ ...JSON.parse((files[name] as string | undefined) ?? '{}'), ...change });
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(at, name), bytes);
  return loadModel(at);
}

function gguf(keys: GgufParts['metadata']) {
  const parts = ggufParts();
  Object.assign(parts.metadata, keys);
  const file = join(folder, 'model.gguf');
  writeFileSync(file, writeGguf(parts));
  return loadModel(file);
}

/** Of the tiny vocabulary: its turn's end, and what its tokenizer_config.json does not name. */
const [TEXT_END, TURN_END, WORD] = [0, 2, 7];
const eosOf = async (changes: Record<string, Json>) => (await stored(changes)).tokenizer.eos.toSorted((a, b) => a - b);

test('ends of config.json, generation_config.json, the tokenizer and the vocabulary count together', async () => {
  assert.equal(await eosOf({}), [TEXT_END, TURN_END]);
  assert.equal(await eosOf({ 'config.json': { eos_token_id: WORD } }), [TEXT_END, TURN_END, WORD]);
  assert.equal(await eosOf({ 'config.json': { eos_token_id: [WORD, 8] } }), [TEXT_END, TURN_END, WORD, 8]);
  assert.equal(await eosOf({ 'generation_config.json': { eos_token_id: WORD } }), [TEXT_END, TURN_END, WORD]);
  const both = { 'config.json': { eos_token_id: 9 }, 'generation_config.json': { eos_token_id: [WORD, 8] } };
  assert.equal(await eosOf(both), [TEXT_END, TURN_END, WORD, 8, 9]);
  for (const none of [null, -1, []])
    assert.equal(await eosOf({ 'generation_config.json': { eos_token_id: none } }), [TEXT_END, TURN_END]);
  await refused(stored({ 'generation_config.json': { eos_token_id: [2, 500] } }), /eos_token_id is \[2,500\]/);
  await refused(stored({ 'config.json': { eos_token_id: '2' } }), /config\.json: eos_token_id is "2"/);
});

test('templates see the tokenizer’s own eos_token, whatever else ends', async () => {
  const { chat } = await stored({
    'generation_config.json': { eos_token_id: [WORD, TURN_END] },
    'tokenizer_config.json': { chat_template: '{{ eos_token }}' },
  });
  assert.is(chat([]), '<|im_end|>');
});

test('a word that reads like an end is text', async () => {
  const tokens = [...vocab.slice(0, -1), '</s>'];
  const { tokenizer } = await gguf({ 'tokenizer.ggml.tokens': tokens });
  assert.not(tokenizer.eos.includes(tokens.length - 1));
});

test('GGUF: the ends of turn and message count, and -1 is none', async () => {
  const { tokenizer } = await gguf({ 'tokenizer.ggml.eot_token_id': WORD, 'tokenizer.ggml.eom_token_id': 8 });
  assert.equal(
    tokenizer.eos.toSorted((a, b) => a - b),
    [TEXT_END, TURN_END, WORD, 8],
  );
  const none = await gguf({ 'tokenizer.ggml.bos_token_id': 2 ** 32 - 1, 'tokenizer.ggml.eos_token_id': 2 ** 32 - 1 });
  assert.is(none.tokenizer.bos, undefined);
  assert.equal(none.tokenizer.eos, [TURN_END, TEXT_END]);
});

/** What a request that says `body` is sampled with. */
function sampled(model: Awaited<ReturnType<typeof loadModel>>, body: Json) {
  const engine = { model, policies: [{ plan: { keep: { kind: 'all' } } }], maxModelLen: 64 } as unknown as EngineApi;
  return generateRequest({ engine }, body, Int32Array.of(1), 4, undefined, 0).sampling!;
}

test('sampling as the model wants it stands in where a request says nothing', async () => {
  const wants = { temperature: 0.6, top_p: 0.9, top_k: 20, min_p: 0.05, repetition_penalty: 1.1, do_sample: true };
  const model = await stored({ 'generation_config.json': wants });
  assert.equal(model.sampling, { temperature: 0.6, topP: 0.9, topK: 20, minP: 0.05, repetitionPenalty: 1.1 });
  assert.is(samplingText(model.sampling), 'temperature 0.6, top_p 0.9, top_k 20, min_p 0.05, repetition_penalty 1.1');
  const { temperature, topP, topK, minP, repetitionPenalty } = sampled(model, {});
  assert.equal([temperature, topP, topK, minP, repetitionPenalty], [0.6, 0.9, 20, 0.05, 1.1]);
  const own = sampled(model, { temperature: 0, top_p: 1, top_k: -1, min_p: 0, repetition_penalty: 1 });
  assert.equal([own.temperature, own.topP, own.topK, own.minP, own.repetitionPenalty], [0, 1, 0, 0, 1]);
  const plain = await stored({});
  assert.equal(plain.sampling, {});
  assert.is(samplingText(plain.sampling), undefined);
  assert.is(sampled(plain, {}).temperature, 1);
});

test('sampling: older models have it in config.json; without sampling it concerns nobody; what is not obeyed is told', async () => {
  assert.equal((await stored({ 'config.json': { temperature: 0.7 } })).sampling, { temperature: 0.7 });
  const greedy = await stored({ 'generation_config.json': { do_sample: false, temperature: 0.7 } });
  assert.equal(greedy.sampling, {});
  const told = await stored({ 'generation_config.json': { typical_p: 0.5, num_beams: 1, suppress_tokens: [3] } });
  assert.equal(told.notes.length, 1);
  assert.match(told.notes[0], /generation_config\.json: typical_p, suppress_tokens: not supported, and not obeyed/);
  await refused(stored({ 'generation_config.json': { temperature: -1 } }), /temperature is -1, outside/);
  await refused(stored({ 'generation_config.json': { top_p: '0.9' } }), /top_p is "0\.9"/);
});

test('sampling: GGUF’s keys are llama.cpp’s', async () => {
  const model = await gguf({
    'general.sampling.temp': 0.5,
    'general.sampling.top_k': 40,
    'general.sampling.penalty_repeat': 1.25,
    'general.sampling.mirostat': 2,
  });
  assert.equal(model.sampling, { temperature: 0.5, topK: 40, repetitionPenalty: 1.25 });
  assert.match(model.notes.join(), /general\.sampling\.mirostat: not supported, and not obeyed/);
});

test.run();
