/** Small vocabularies for tokenizer tests, in which every cut shows: their merges join what a pre-tokenizer may part. */
import { random } from '../../codegen/oracle/random.ts';
import { characterOfByte, inAlphabet } from '../../runtime/model/alphabet.ts';
import { type GgufParts, writeGguf } from './write.ts';

/** What goes wrong in tokenizers: case, contractions, runs, scripts, marks, controls, half-characters. */
export const nasty: readonly string[] = [
  ' ',
  '   ',
  '\n\n\n',
  '\n \n  \n',
  '\t\t x\r\n  y \r\n',
  "I'll they've WE'RE it's 'tis don'T I'M he'd O'Reilly's rock'n'roll '",
  '3.14159 1234567890 12 1234 0x1F 1e-9 ½ ² Ⅷ ٣٤٥ 1,000,000 $9.99',
  'naïve café Ünïcödé Straße ﬁ ǅ ſ K',
  'camelCase HTTPServer XMLHttpRequest iPhone McDonald ÉCOLE école',
  '你好,世界。今日は 안녕하세요 日本語123ABC コンピュータ ㄅㄆ',
  'مرحبا بالعالم שלום عام ٢٠٢٤، नमस्ते। ສະບາຍດີ ภาษาไทย မြန်မာ',
  '🙂 👩‍👩‍👧‍👦 🏳️‍🌈 ️ 🇩🇪',
  'e\u0301 a\u0308o \u200b\u00a0\u2028\ufeff\u0085\u3000 x\u2003y',
  '\u0000\u0001\u001f\u007f\u0080\u00ad',
  'function f(x) {\n    return x ** 2; // square\n}\n\n\tif (a && b) { c ??= d?.e; }',
  '{"a":[1,2,{"b":null}],"c":"\\u00e9"}',
  '<html><body class="x">&nbsp;</body></html> <sentinel:12> IMGIMGABCZ',
  '$\\sum_{i=0}^{n} x_i^2$ -> => != === ... --- ___ ~/a~b ~~ `c` ^d',
  'A'.repeat(100),
  ' a'.repeat(50),
  '!'.repeat(33),
  ' '.repeat(37),
  '\n'.repeat(9),
  '7'.repeat(20),
  'end with space ',
  ' \n',
  '\u{10400}\u{1d54f}\u{20000} \u{1e900}',
];

const soup = [
  ...'  \n\n\t\r.,;:-_\'"()[]{}<>/\\|@#$%^&*+=~`aeZS079éßÑĂ中国あア한ไअ्ِ،。！…½²٣🙂\u0301\u200d\u00a0\u2028\u3000\u0085\ufeff',
];
const phrases = [
  "'s",
  "'LL",
  "'re",
  'Word',
  'CamelCase',
  '  ',
  '\n\n',
  ' \n',
  '123',
  '1234',
  ' the',
  '中文',
  '🏳️‍🌈',
  '...',
  '<s>',
];

/** Random texts of characters and phrases that cuts care for. */
export function fuzz(next: () => number, count: number): string[] {
  const of = (list: readonly string[]) => list[Math.floor(next() * list.length)];
  return Array.from({ length: count }, () =>
    Array.from({ length: 1 + Math.floor(next() * 30) }, () => (next() < 0.75 ? of(soup) : of(phrases))).join(''),
  );
}

/** Byte pair merges of a text, learnt across every border a word could have. */
function learn(text: string, count: number): string[] {
  let parts = [...text];
  const merges: string[] = [];
  while (merges.length < count) {
    const counts = new Map<string, number>();
    for (let i = 0; i + 1 < parts.length; i++) {
      const pair = `${parts[i]} ${parts[i + 1]}`;
      counts.set(pair, (counts.get(pair) ?? 0) + 1);
    }
    const [best] = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a));
    merges.push(best);
    const [left, right] = best.split(' ');
    const joined: string[] = [];
    for (let i = 0; i < parts.length; i++)
      if (parts[i] === left && parts[i + 1] === right) {
        joined.push(left + right);
        i++;
      } else joined.push(parts[i]);
    parts = joined;
  }
  return merges;
}

const special = ['<|endoftext|>', '<|im_start|>', '<|im_end|>'];
const learnt = learn(inAlphabet([...nasty, ...nasty, ...fuzz(random(1), 100)].join(' ')), 900);

type Metadata = GgufParts['metadata'];

const file = (metadata: Metadata): Buffer =>
  writeGguf({
    metadata: {
      'general.architecture': 'llama',
      'general.name': 'vocabulary',
      'llama.context_length': 256,
      'llama.embedding_length': 64,
      'llama.block_count': 1,
      'llama.feed_forward_length': 64,
      'llama.attention.head_count': 2,
      'llama.attention.layer_norm_rms_epsilon': 0.00001,
      ...metadata,
    },
    tensors: [],
  });

/** A byte-level vocabulary: the alphabet, merges, a word that no merge makes, special tokens, a user-defined one. */
export function byteLevelFile(pre: string, more: Metadata = {}): Buffer {
  const made = [...new Set(learnt.map((merge) => merge.replace(' ', '')))];
  const tokens = [...characterOfByte, ...made, 'ĠWord', ...special, '<tool>'];
  const first = tokens.length - 4;
  return file({
    'tokenizer.ggml.model': 'gpt2',
    'tokenizer.ggml.pre': pre,
    'tokenizer.ggml.tokens': tokens,
    'tokenizer.ggml.token_type': Int32Array.from(tokens, (_, i) => (i < first ? 1 : i < first + 3 ? 3 : 4)),
    'tokenizer.ggml.merges': learnt,
    'tokenizer.ggml.bos_token_id': first,
    'tokenizer.ggml.eos_token_id': first,
    ...more,
  });
}

/** A SentencePiece vocabulary: bytes, some characters, pieces with scores that often are equal, and tokens of all types. */
export function sentencePieceFile(more: Metadata = {}, besides: readonly string[] = []): Buffer {
  const texts = [...nasty, ...nasty, ...fuzz(random(2), 100)].join(' ').replaceAll(' ', '▁');
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
  const characters = [
    ...new Set("▁abcdefghijklmnopqrstuvwxyzABCDEFHLMPRSW0123456789.,!?'-<>|/中文日本あア안e\u0301🙂"),
  ];
  const pieces = new Set(learn(texts, 500).map((merge) => merge.replace(' ', '')));
  for (const text of pieces) if (text.includes('\0')) pieces.delete(text); // llama.cpp's tokens end there
  // what llama.cpp merges into a control token, whatever wrote it
  const towards = ['<s', 's>', '<s>', '</s', '/s>', '</s>'];
  for (const text of [...towards, ...characters, ...typed.map(({ text }) => text)]) pieces.delete(text);
  for (const text of besides) pieces.add(text);
  const tokens = ['<unk>', '<s>', '</s>', ...bytes, ...characters, ...pieces, ...typed.map(({ text }) => text)];
  const first = tokens.length - typed.length;
  const types = tokens.map((_, i) => (i < 3 ? [2, 3, 3][i] : i < 259 ? 6 : i < first ? 1 : typed[i - first].type));
  return file({
    'tokenizer.ggml.model': 'llama',
    'tokenizer.ggml.tokens': tokens,
    'tokenizer.ggml.scores': Float32Array.from(tokens, (_, i) => (i < 259 ? 0 : -Math.floor((i - 259) / 4))),
    'tokenizer.ggml.token_type': Int32Array.from(types),
    'tokenizer.ggml.bos_token_id': 1,
    'tokenizer.ggml.eos_token_id': 2,
    ...more,
  });
}

/** User-defined, control and unused tokens, as llama.cpp numbers types. */
const typed = [
  { text: '<tool>', type: 4 },
  { text: '\n\n', type: 4 },
  { text: '  ', type: 4 },
  { text: '<start_of_turn>', type: 3 },
  { text: '<|endoftext|>', type: 3 },
  { text: '<unused0>', type: 5 },
];
