/**
 * Real models beside llama.cpp on the same file: how far each is from the same weights with exact activations. llama.cpp
 * rounds otherwise on every processor, so it bounds what is wrong (a bias left out, another norm, another RoPE is far
 * beyond), not which of the two is nearer.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import { divergence, skvReader } from '../../eval/kl.ts';
import { llamaReader } from '../../eval/llama.ts';
import { mobyDick } from '../../eval/text.ts';
import { loadModel } from '../../runtime/model/load.ts';

const messages = [
  { role: 'user', content: 'Who wrote Moby Dick?' },
  { role: 'assistant', content: 'Herman Melville.' },
  { role: 'user', content: 'When?' },
];
/** What both templates here say of them, behind the model's own first words: as Jinja2 renders it. */
const chatOf = (system: string) =>
  `<|im_start|>system\n${system}<|im_end|>\n<|im_start|>user\nWho wrote Moby Dick?<|im_end|>\n<|im_start|>assistant\nHerman Melville.<|im_end|>\n<|im_start|>user\nWhen?<|im_end|>\n<|im_start|>assistant\n`;

/** The models, and what their chat templates make of the messages; none of a model that has no template. */
const models: readonly (readonly [name: string, chat?: string])[] = [
  ['smollm2-135m', chatOf('You are a helpful AI assistant named SmolLM, trained by Hugging Face')],
  ['qwen2.5-coder-0.5b', chatOf('You are Qwen, created by Alibaba Cloud. You are a helpful assistant.')],
  ['gemma3-270m'],
];
/** Tokens that are read: a conversation, where there is a template, and a book from its beginning. */
const TOKENS = 81;
/** Three times the most that was measured (0.014, of Q4_1); a formula that is wrong in one place is beyond. */
const KL = 0.05;

const none = await build(shipped('none')!);

for (const [name, chat] of models)
  test(`${name}: skv and llama.cpp are near the exact answer`, async () => {
    const model = await loadModel(name);
    const { spec, tokenizer } = model;
    assert.is(model.hasChatTemplate, chat !== undefined);
    if (chat) assert.is(model.chat(messages), chat);
    else assert.throws(() => model.chat(messages), /no chat template/);
    const talk = chat ? [...tokenizer.encode(chat, { special: true })] : [];
    const book = tokenizer.encode(mobyDick().slice(0, TOKENS * 8), { addBos: talk.length === 0 });
    assert.ok(talk.length < TOKENS - 16, 'both are read');
    const tokens = Int32Array.from([...talk, ...book]).subarray(0, TOKENS);
    const truth = await skvReader('truth', model, none, tokens, { kvType: 'f32', activations: 'f32' });
    const skv = await skvReader('skv', model, none, tokens, { kvType: 'bf16' });
    const llama = await llamaReader(spec.files[0], spec.vocab, tokens, 1);
    for (const { name: who, kl, topAgrees } of await divergence(truth, [skv, llama], tokens)) {
      console.log(`${name}, ${who}: KL ${kl.toFixed(5)}, ${(100 * topAgrees).toFixed(0)} % of the top tokens`);
      assert.ok(kl < KL, `${who}: KL ${kl}`);
      assert.ok(topAgrees > 0.85, `${who}: ${topAgrees} of the top tokens`);
    }
    for (const reader of [truth, skv, llama]) await reader.close();
  });

test.run();
