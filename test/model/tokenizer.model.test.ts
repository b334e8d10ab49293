/** Tokenizers of real models beside llama.cpp's: the same ids for prose, code and everything awkward, and back again. */
import { LlamaLogLevel, getLlama } from 'node-llama-cpp';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { random } from '../../codegen/oracle/random.ts';
import { mobyDick } from '../../eval/text.ts';
import { loadModel } from '../../runtime/model/load.ts';
import { fuzz, nasty } from './vocabularies.ts';

const llama = await getLlama({ build: 'never', gpu: false, logLevel: LlamaLogLevel.disabled });

const next = random(7);
const book = mobyDick();
const prose = Array.from({ length: 200 }, () => {
  const at = Math.floor(next() * (book.length - 400));
  return book.slice(at, at + 1 + Math.floor(next() * 399));
});
const texts = [...nasty, ...prose, ...fuzz(next, 200), book.slice(0, 50_000)];
/** Byte level; SentencePiece of 262,144 tokens, many of them user-defined; byte level of 151,936. */
const models = [
  {
    name: 'smollm2-135m',
    special: ['<|im_start|>user\nHi<|im_end|>\n', '<|endoftext|>', 'a<|im_end|>b', ' <|im_start|> '],
  },
  {
    name: 'gemma3-270m',
    special: ['<bos><start_of_turn>user\n\n\nHi<end_of_turn>\n', 'a  <eos> b', '<table>\t\t<unused7>'],
  },
  {
    name: 'qwen2.5-coder-0.5b',
    special: ['<|im_start|>user\nHi<|im_end|>\n', '<|fim_prefix|>a<|fim_suffix|>', '<tool_call>'],
  },
];

for (const { name, special } of models) {
  test(`${name}: ${texts.length} texts become the same ids, and the text again`, async () => {
    const { tokenizer, spec } = await loadModel(name);
    const peer = await llama.loadModel({ modelPath: spec.files[0], vocabOnly: true });
    const theirs = (text: string, asSpecial: boolean) => [...(peer.tokenize(text, asSpecial) as readonly number[])];
    for (const text of texts) {
      const ours = [...tokenizer.encode(text)];
      assert.equal(ours, theirs(text, false), JSON.stringify(text));
      assert.is(tokenizer.decode(ours), text);
    }
    for (const text of special) {
      assert.equal([...tokenizer.encode(text, { special: true })], theirs(text, true), JSON.stringify(text));
      assert.equal([...tokenizer.encode(text)], theirs(text, false), JSON.stringify(text));
      assert.is(tokenizer.decode(tokenizer.encode(text, { special: true })), text);
    }
    await peer.dispose();
  });
}

test.run();
