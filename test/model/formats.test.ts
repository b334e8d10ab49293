/** Model files as today's transformers and llama.cpp write them: RoPE, chat templates, the token before a text. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadModel } from '../../runtime/model/load.ts';
import { ggufParts, storedFiles, writeGguf } from './write.ts';

const folder = mkdtempSync(join(tmpdir(), 'skv-current-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

type Json = Record<string, unknown>;

/** A safetensors model whose JSON files have these fields too; text files stand beside them. */
async function stored(changes: Record<string, Json | string>) {
  const at = mkdtempSync(join(folder, 'stored-'));
  const files = storedFiles();
  for (const [name, change] of Object.entries(changes))
    files[name] =
      typeof change === 'string' ? change : JSON.stringify({ ...JSON.parse(files[name] as string), ...change });
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(at, name), bytes);
  return loadModel(at);
}

const BOS = 1;
const messages = [{ role: 'user', content: 'ab' }];
const before = {
  type: 'TemplateProcessing',
  single: [{ SpecialToken: { id: '<|im_start|>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
  pair: [],
  special_tokens: { '<|im_start|>': { id: '<|im_start|>', ids: [BOS], tokens: ['<|im_start|>'] } },
};
/** What Llama 3 has. */
const sequence = {
  type: 'Sequence',
  processors: [{ type: 'ByteLevel', add_prefix_space: true, trim_offsets: false, use_regex: true }, before],
};

test('RoPE: base and scaling together, as since transformers 5, are those they were apart', async () => {
  const { rope_scaling } = JSON.parse(storedFiles()['config.json'] as string) as { rope_scaling: Json };
  const apart = await stored({ 'config.json': { rope_theta: 500_000 } });
  const together = (rope_parameters: Json) =>
    stored({ 'config.json': { rope_theta: undefined, rope_scaling: undefined, rope_parameters } });
  assert.equal((await together({ rope_theta: 500_000, ...rope_scaling })).spec.invFreq, apart.spec.invFreq);
  const plain = await stored({ 'config.json': { rope_theta: 500_000, rope_scaling: null } });
  assert.not.equal(plain.spec.invFreq, apart.spec.invFreq);
  for (const kind of [{}, { rope_type: 'default' }])
    assert.equal((await together({ rope_theta: 500_000, ...kind })).spec.invFreq, plain.spec.invFreq);
});

test('chat templates: the file first, then the default of a list', async () => {
  const list = [
    { name: 'tool_use', template: 'tools' },
    { name: 'default', template: '[{{ messages[0].content }}]' },
  ];
  const named = { 'tokenizer_config.json': { chat_template: list } };
  assert.is((await stored(named)).chat(messages), '[ab]');
  const file = await stored({ ...named, 'chat_template.jinja': '({{ messages[0].content }})\n' });
  assert.is(file.chat(messages), '(ab)');
  assert.not((await stored({ 'tokenizer_config.json': { chat_template: list.slice(0, 1) } })).hasChatTemplate);
});

test('the token before a text: as the post-processor has it, unless add_bos_token says otherwise; never twice', async () => {
  const ids = async (post_processor: Json | null, config: Json = {}) => {
    const { tokenizer } = await stored({ 'tokenizer.json': { post_processor }, 'tokenizer_config.json': config });
    return [...tokenizer.encode('ab', { addBos: true })];
  };
  const named = { bos_token: '<|im_start|>' };
  for (const processor of [before, sequence]) {
    assert.equal(await ids(processor, named), [BOS, 7]);
    assert.equal(await ids(processor), [BOS, 7], 'nothing else names it');
    assert.equal(await ids(processor, { ...named, add_bos_token: false }), [7]);
  }
  assert.equal(await ids(null, named), [7]);
  assert.equal(await ids(null, { ...named, add_bos_token: true }), [BOS, 7]);
  const { chat, tokenizer } = await stored({
    'tokenizer.json': { post_processor: sequence },
    'tokenizer_config.json': { ...named, chat_template: '{{ bos_token }}{{ messages[0].content }}' },
  });
  for (const addBos of [false, true])
    assert.equal([...tokenizer.encode(chat(messages), { special: true, addBos })], [BOS, 7], 'the template writes it');
});

test('a token that is not named is not the token called undefined or null', async () => {
  const { model } = JSON.parse(storedFiles()['tokenizer.json'] as string) as {
    model: { vocab: Record<string, number> };
  };
  const { '!': last, ...vocab } = model.vocab;
  for (const [name, value] of [
    ['undefined', undefined],
    ['null', null],
  ] as const) {
    const { tokenizer } = await stored({
      'tokenizer.json': { model: { ...model, vocab: { ...vocab, [name]: last } } },
      'tokenizer_config.json': { bos_token: value, eos_token: value },
    });
    assert.is(tokenizer.bos, undefined);
    assert.not(tokenizer.eos.includes(last));
  }
});

test('GGUF: text begins with BOS where llama.cpp’s pre-tokenizer has it so, unless a key says otherwise', async () => {
  const ids = async (more: Record<string, string | boolean>) => {
    const parts = ggufParts();
    Object.assign(parts.metadata, more);
    const file = join(folder, 'model.gguf');
    writeFileSync(file, writeGguf(parts));
    return [...(await loadModel(file)).tokenizer.encode('ab', { addBos: true })];
  };
  for (const pre of ['llama-bpe', 'llama3', 'llama-v3']) {
    assert.equal(await ids({ 'tokenizer.ggml.pre': pre }), [BOS, 7], pre);
    assert.equal(await ids({ 'tokenizer.ggml.pre': pre, 'tokenizer.ggml.add_bos_token': false }), [7], pre);
  }
  for (const pre of ['smollm', 'gpt-2', 'qwen2']) assert.equal(await ids({ 'tokenizer.ggml.pre': pre }), [7], pre);
});

test.run();
