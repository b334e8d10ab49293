/** tokenizer.json with a Unigram: the tokens that the tokenizers package 0.23 has for the same texts (unigram.json). */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { storedTokenizer } from '../../runtime/model/stored-tokenizer.ts';
import { makeTokenizer } from '../../runtime/model/tokenizer.ts';
import { ModelError } from '../../runtime/model/types.ts';

interface Recorded {
  tokenizer: {
    normalizer: unknown;
    model: { byte_fallback: boolean; vocab: [string, number][] } & Record<string, unknown>;
  };
  cases: [text: string, tokens: number[]][];
}

const recorded = JSON.parse(readFileSync(new URL('unigram.json', import.meta.url), 'utf8')) as Recorded[];
const folder = mkdtempSync(join(tmpdir(), 'skv-unigram-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

/** Tokens for bytes stand behind the three special ones; the record leaves them out. */
const bytes = Array.from({ length: 256 }, (_, i): [string, number] => [
  `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`,
  0,
]);
function whole({ tokenizer }: Recorded) {
  const { vocab, byte_fallback } = tokenizer.model;
  return {
    ...tokenizer,
    model: { ...tokenizer.model, vocab: [...vocab.slice(0, 3), ...(byte_fallback ? bytes : []), ...vocab.slice(3)] },
  };
}
function read(tokenizer: object) {
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tokenizer));
  const source = storedTokenizer(folder);
  return { ...makeTokenizer({ ...source, eosTokens: [] }), notes: source.notes };
}

for (const each of recorded) {
  const { model, normalizer } = each.tokenizer;
  const label = `${model.byte_fallback ? 'bytes' : 'no bytes'}, ${(normalizer as { type: string }).type}`;
  test(`Unigram, ${label}: the same tokens, and their text again`, () => {
    const tokenizer = read(whole(each));
    for (const [text, tokens] of each.cases) {
      assert.equal([...tokenizer.encode(text, { special: true })], tokens, JSON.stringify(text));
      // what reads like a byte is one there, and a special token is no text
      if (model.byte_fallback && !/<.*>/.test(text))
        assert.is(tokenizer.decode(tokens), text.replaceAll('▁', ' '), JSON.stringify(text));
    }
    assert.equal(tokenizer.notes, []);
  });
}

test('text that reads like a special token is text where it should be', () => {
  for (const each of recorded) {
    const tokenizer = read(whole(each));
    const tokens = [...tokenizer.encode('the</s>', { special: false })];
    assert.not(tokens.includes(2));
    if (each.tokenizer.model.byte_fallback) assert.is(tokenizer.decode(tokens), 'the</s>');
  }
});

test('what is not read is told or refused by name', () => {
  const good = whole(recorded[0]);
  const normalizer = { type: 'Sequence', normalizers: [{ type: 'Precompiled', precompiled_charsmap: '' }] };
  assert.match(read({ ...good, normalizer }).notes.join(), /Precompiled\) is not read: text is put into NFKC/);
  for (const [model, says] of [
    [{ ...good.model, type: 'WordPiece' }, /tokenizer WordPiece is not supported; BPE and Unigram are/],
    [{ ...good.model, type: 'BPE' }, /vocabulary is not one of BPE/],
    [{ ...good.model, vocab: { a: 1 } }, /vocabulary is not one of Unigram/],
    [{ ...good.model, vocab: [['a']] }, /vocabulary is not one of Unigram/],
    [{ ...good.model, vocab: [] }, /vocabulary is not one of Unigram/],
    [{ ...good.model, unk_id: null }, /unk_id is null/],
    [{ ...good.model, unk_id: 5000 }, /unk_id is 5000/],
  ] as const)
    assert.throws(
      () => read({ ...good, model }),
      (error: Error) => error instanceof ModelError && says.test(error.message),
      String(says),
    );
});

test.run();
