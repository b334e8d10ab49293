/**
 * Tokenizers of GGUF beside llama.cpp on the same small vocabularies: the same ids for every text, and the same text of
 * them. The vocabularies' merges join what a pre-tokenizer may part, so a cut in another place gives other tokens.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LlamaLogLevel, getLlama } from 'node-llama-cpp';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { random } from '../../codegen/oracle/random.ts';
import { cuts } from '../../runtime/model/cuts.ts';
import { readGguf } from '../../runtime/model/gguf.ts';
import { type Pieces, piecesOf } from '../../runtime/model/pieces.ts';
import { characterOfByte, inAlphabet } from '../../runtime/model/alphabet.ts';
import { TokenClass } from '../../runtime/contract/records.ts';
import { TokenKind, makeTokenizer } from '../../runtime/model/tokenizer.ts';
import { byteLevelFile, fuzz, nasty, sentencePieceFile } from './vocabularies.ts';

const folder = mkdtempSync(join(tmpdir(), 'skv-tokenizer-'));
test.after(() => rmSync(folder, { recursive: true }));
const llama = await getLlama({ build: 'never', gpu: false, logLevel: LlamaLogLevel.disabled });

const texts = [...nasty, ...fuzz(random(3), 200)];
const withTokens = [
  '<s>a<|im_start|>user\nHi<|im_end|>\n',
  '<|endoftext|>',
  'a <|im_end|> b',
  '<|im_end',
  'x<tool> y <tool>',
  '<start_of_turn>user\n\n\nhi </s>  <unk>',
  '<unused0> <0x41>',
];

test('classes of tokens: the same of the same texts, byte-level or SentencePiece', () => {
  const { special, byte, text } = TokenKind;
  const pieces: [byteLevel: string, spm: string, kind: number, wanted: number][] = [
    ['<s>', '<s>', special, TokenClass.special],
    ['<|im_end|>', '<|im_end|>', special, TokenClass.special],
    ...[',', '...', '"', '+', '$', '</', '，', '!?'].flatMap((mark): [string, string, number, number][] => [
      [inAlphabet(mark), mark, text, TokenClass.punctuation],
      [`Ġ${inAlphabet(mark)}`, `▁${mark}`, text, TokenClass.punctuation],
    ]),
    [',', '<0x2C>', byte, TokenClass.punctuation],
    ...['a', 'a,', '1', '🙂', '你', '\n', ' '].map((other): [string, string, number, number] => [
      inAlphabet(other),
      other.replaceAll(' ', '▁'),
      text,
      0,
    ]),
    [characterOfByte[0xe4], '<0xE4>', byte, 0],
  ];
  const classes = (style: 'byte-level' | 'spm') =>
    makeTokenizer({
      encode: () => [],
      tokens: pieces.map(([bytes, spm]) => (style === 'spm' ? spm : bytes)),
      kinds: Uint8Array.from(pieces, ([, , kind]) => (style === 'spm' || kind !== byte ? kind : text)),
      style,
      eosTokens: [],
      addBos: false,
      spacePrefix: false,
    }).classes;
  for (const style of ['byte-level', 'spm'] as const)
    assert.equal(
      [...classes(style)],
      pieces.map(([, , , wanted]) => wanted),
      style,
    );
});

const ours = (file: Buffer) => {
  const path = join(folder, 'ours.gguf');
  writeFileSync(path, file);
  const pieces: Pieces = piecesOf(readGguf(path));
  return { pieces, ...makeTokenizer({ ...pieces, eosTokens: [] }) };
};

interface Peer {
  init(): Promise<boolean>;
  tokenize(text: string, special: boolean): Uint32Array;
  detokenize(tokens: Uint32Array, special: boolean): string;
  dispose(): Promise<void>;
}

/** llama.cpp itself: node-llama-cpp's own loadModel first plans memory, which takes longer than all of a test. */
interface Bindings {
  AddonModel: new (path: string, options: { addonExports: Bindings; vocabOnly: boolean; gpuLayers: number }) => Peer;
}

async function load(path: string): Promise<Peer> {
  const { _bindings: addonExports } = llama as unknown as { _bindings: Bindings };
  const peer = new addonExports.AddonModel(path, { addonExports, vocabOnly: true, gpuLayers: 0 });
  assert.ok(await peer.init(), `llama.cpp loads ${path}`);
  return peer;
}

async function beside(file: Buffer, compare: (mine: ReturnType<typeof ours>, peer: Peer) => void): Promise<void> {
  const modelPath = join(folder, 'peer.gguf');
  writeFileSync(modelPath, file);
  const peer = await load(modelPath);
  compare(ours(file), peer);
  await peer.dispose();
}

function sameTokens(mine: ReturnType<typeof ours>, peer: Peer, texts: readonly string[], special: boolean): void {
  for (const text of texts)
    assert.equal(
      [...mine.encode(text, { special })],
      [...peer.tokenize(text, special)],
      `special ${special}: ${JSON.stringify(text)}`,
    );
}

for (const { names, marked } of cuts)
  names.forEach((pre, i) =>
    test(`pre-tokenizer ${pre}: the same tokens as llama.cpp`, () =>
      beside(byteLevelFile(pre), (mine, peer) => {
        sameTokens(mine, peer, i === 0 ? texts : nasty, false); // other names of a row: the row again
        sameTokens(mine, peer, withTokens, true);
        sameTokens(mine, peer, withTokens, false);
        if (!marked) for (const text of nasty) assert.is(mine.decode(mine.encode(text)), text);
      })),
  );

for (const prefix of [true, false])
  test(`SentencePiece, ${prefix ? 'a' : 'no'} space before the text: the same tokens and text as llama.cpp`, () =>
    beside(sentencePieceFile({ 'tokenizer.ggml.add_space_prefix': prefix }), (mine, peer) => {
      sameTokens(mine, peer, [...texts, ...withTokens], false);
      sameTokens(mine, peer, withTokens, true);
      for (const text of [...texts, ...withTokens]) {
        const tokens = mine.encode(text, { special: true });
        assert.is(mine.decode(tokens), peer.detokenize(Uint32Array.from(tokens), true), JSON.stringify(text));
      }
      // a space is also put after a token that stands for itself, where no text had one
      if (!prefix) for (const text of texts) assert.is(mine.decode(mine.encode(text)), text, JSON.stringify(text));
    }));

for (const prefix of [true, false])
  for (const merged of [true, false])
    test(`Unigram, space before the text ${prefix}, runs of spaces as one ${merged}: the same tokens as llama.cpp`, () => {
      const more = {
        'tokenizer.ggml.model': 't5',
        'tokenizer.ggml.unknown_token_id': 0,
        'tokenizer.ggml.add_space_prefix': prefix,
        'tokenizer.ggml.remove_extra_whitespaces': merged,
      };
      return beside(sentencePieceFile(more), (mine, peer) => {
        sameTokens(mine, peer, [...texts, ...withTokens], false);
        sameTokens(mine, peer, withTokens, true);
        for (const text of texts) {
          const tokens = mine.encode(text);
          assert.is(mine.decode(tokens), peer.detokenize(Uint32Array.from(tokens), true), JSON.stringify(text));
        }
      });
    });

test('Unigram replaces text by its table, the longest match first, as llama.cpp', () => {
  // A → b, AB → zero letters, é → e
  const units = new Uint32Array(2048);
  const child = (base: number, byte: number, own: number, end: boolean) => {
    units[base ^ byte] = byte | (end ? 0x100 : 0) | ((base ^ byte ^ own) << 10);
    return own;
  };
  units[0] = 256 << 10;
  const a = child(256, 0x41, 512, true);
  units[a] = 0x80000000 | 0;
  const ab = child(a, 0x42, 768, true);
  units[ab] = 0x80000000 | 2;
  const c3 = child(256, 0xc3, 1024, false);
  const e = child(c3, 0xa9, 1280, true);
  units[e] = 0x80000000 | 3;
  const header = Uint32Array.of(units.byteLength);
  const table = new Uint8Array([
    ...new Uint8Array(header.buffer),
    ...new Uint8Array(units.buffer),
    ...Buffer.from('b\0\0e\0'),
  ]);
  const more = {
    'tokenizer.ggml.model': 't5',
    'tokenizer.ggml.unknown_token_id': 0,
    'tokenizer.ggml.precompiled_charsmap': table,
  };
  return beside(sentencePieceFile(more), (mine, peer) => {
    sameTokens(mine, peer, [...texts, 'A', 'AB', 'xABy', 'ABé', 'café'], false);
    assert.equal([...mine.encode('AéAB')], [...mine.encode('be')]);
  });
});

test('no text merges into a control token', () => {
  const mine = ours(sentencePieceFile({}, ['<s']));
  assert.not([...mine.encode('<s>')].includes(1));
  assert.is(mine.decode(mine.encode('<s>')), '<s>');
});

test('special tokens of Phi 3 swallow the space after them, as in llama.cpp', () =>
  beside(sentencePieceFile({ 'general.name': 'Phi-3-mini' }), (mine, peer) => {
    const asked = ['<start_of_turn>  \n hi</s> \t x', '<s>  a<unk> b<tool> c'];
    sameTokens(mine, peer, asked, true);
    assert.is(mine.encode('</s> \n', { special: true }).length, 1);
  }));

test('generated text keeps the space it begins with; a whole text loses the one that was put before it', () => {
  const mine = ours(sentencePieceFile());
  const tokens = mine.encode('hello the');
  assert.is(mine.decode(tokens), 'hello the');
  const stream = mine.detokenizer();
  assert.is([...tokens].map((token) => stream.push(token)).join('') + stream.end(), ' hello the');
});

test('a character whose bytes come one by one is whole or not there; a byte order mark is text', () => {
  const mine = ours(sentencePieceFile({ 'tokenizer.ggml.add_space_prefix': false }));
  const stream = mine.detokenizer();
  const parts = [...mine.encode('\ufeffé𐐀')].map((token) => stream.push(token));
  assert.equal(parts.filter(Boolean), ['\ufeff', 'é', '𐐀']);
  assert.is(mine.decode(mine.encode('\ufeffa')), '\ufeffa');
  assert.is(mine.decode(mine.encode('a\ud800b')), 'a\ufffdb', 'half of a character');
});

const NONE = 2 ** 32 - 1;

test('a token of -1 is none', () => {
  for (const file of [
    byteLevelFile('qwen2', { 'tokenizer.ggml.bos_token_id': NONE }),
    sentencePieceFile({ 'tokenizer.ggml.bos_token_id': NONE }),
  ]) {
    const mine = ours(file);
    assert.is(mine.bos, undefined);
    assert.equal([...mine.encode('a', { addBos: true })], [...mine.encode('a')]);
  }
});

test('BOS and EOS around a text: by the key, else by the pre-tokenizer, else none', () => {
  const around = (file: Buffer) => [...ours(file).encode('a', { addBos: true })].length;
  assert.is(around(byteLevelFile('qwen2')), 1);
  assert.is(around(byteLevelFile('llama-bpe')), 2);
  assert.is(around(byteLevelFile('llama-bpe', { 'tokenizer.ggml.add_bos_token': false })), 1);
  assert.is(around(byteLevelFile('qwen2', { 'tokenizer.ggml.add_bos_token': true })), 2);
  assert.is(around(byteLevelFile('qwen2', { 'tokenizer.ggml.add_eos_token': true })), 2);
  assert.is(around(byteLevelFile('qwen2', { 'tokenizer.ggml.add_sep_token': true })), 1, 'nothing to part');
  assert.throws(() => ours(byteLevelFile('qwen2', { 'tokenizer.ggml.add_sep_token': 1 })), /add_sep_token is 1/);
  const prefix = { 'tokenizer.ggml.add_space_prefix': false };
  assert.is(around(sentencePieceFile(prefix)), 2);
  assert.is(around(sentencePieceFile({ ...prefix, 'tokenizer.ggml.add_bos_token': false })), 1);
});

test('what is not known is refused by name', () => {
  assert.throws(() => ours(byteLevelFile('brand-new')), /pre-tokenizer brand-new .* is not supported.*qwen2/);
  assert.throws(
    () => ours(byteLevelFile('qwen2', { 'tokenizer.ggml.model': 'bert' })),
    /bert \(WordPiece.*not supported/,
  );
  assert.throws(
    () => ours(byteLevelFile('qwen2', { 'tokenizer.ggml.add_bos_token': true, 'tokenizer.ggml.bos_token_id': NONE })),
    /add_bos_token is true, and tokenizer.ggml.bos_token_id names no token/,
  );
});

test.run();
