/** The tokenizer beside llama.cpp's on the same file: the same ids for prose, code and everything awkward, and back again. */
import { getLlama } from 'node-llama-cpp';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { mobyDick } from '../../eval/text.ts';
import { loadModel } from '../../runtime/model/load.ts';
import { random } from '../../codegen/oracle/random.ts';

const model = await loadModel('smollm2-135m');
const llama = await getLlama({ build: 'never', gpu: false });
const peer = await llama.loadModel({ modelPath: model.spec.files[0], vocabOnly: true });
test.after(() => peer.dispose());

const awkward = [
  ' ',
  '   ',
  '\n\n\n',
  '\t\t x\r\n  y',
  "I'll they've WE'RE it's 'tis",
  '3.14159 1234567890 0x1F 1e-9 ½ ²',
  'naïve café Ünïcödé Straße ﬁ',
  '你好,世界。今日は 안녕하세요',
  'مرحبا بالعالم שלום',
  '🙂 👩‍👩‍👧‍👦 🏳️‍🌈 ️',
  'e\u0301 \u200b\u00a0\u2028\ufeff',
  '\u0000\u0001\u001f\u007f',
  'function f(x) {\n    return x ** 2; // square\n}\n',
  '{"a":[1,2,{"b":null}],"c":"\\u00e9"}',
  '<html><body class="x">&nbsp;</body></html>',
  '$\\sum_{i=0}^{n} x_i^2$ -> => != === ... --- ___',
  'A'.repeat(100),
  ' a'.repeat(50),
  '!'.repeat(33),
];
const special = ['<|im_start|>user\nHi<|im_end|>\n', '<|endoftext|>', 'a<|im_end|>b', '<|im_end', ' <|im_start|> '];

const next = random(7);
const book = mobyDick();
const pieces = Array.from({ length: 200 }, () => {
  const at = Math.floor(next() * (book.length - 400));
  return book.slice(at, at + 1 + Math.floor(next() * 399));
});
const characters = [...'  \n\t.,;:-_\'"()[]{}<>/\\|@#$%^&*+=~`aZ09éßñ中あ한🙂\u0301\u200d'];
const soup = Array.from({ length: 200 }, () =>
  Array.from({ length: 1 + Math.floor(next() * 40) }, () => characters[Math.floor(next() * characters.length)]).join(
    '',
  ),
);

test(`${awkward.length + pieces.length + soup.length} texts: the same ids, and the text again`, () => {
  for (const text of [...awkward, ...pieces, ...soup]) {
    const ours = [...model.tokenizer.encode(text)];
    assert.equal(
      ours,
      [...(peer.tokenize(text, false, 'trimLeadingSpace') as readonly number[])],
      JSON.stringify(text),
    );
    assert.is(model.tokenizer.decode(ours), text);
  }
});

test('special tokens are tokens where they are allowed, and letters where they are not', () => {
  for (const text of special) {
    assert.equal(
      [...model.tokenizer.encode(text, { special: true })],
      [...(peer.tokenize(text, true, 'trimLeadingSpace') as readonly number[])],
      JSON.stringify(text),
    );
    assert.ok(model.tokenizer.encode(text).length >= model.tokenizer.encode(text, { special: true }).length);
  }
});

test.run();
