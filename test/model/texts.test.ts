/** Vocabularies that threads share: found as a map of strings finds them, spelt by another thread without a copy. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { random } from '../../codegen/oracle/random.ts';
import { readGguf } from '../../runtime/model/gguf.ts';
import { piecesOf } from '../../runtime/model/pieces.ts';
import { encodeBy } from '../../runtime/model/spelling.ts';
import { TextIndex, Texts } from '../../runtime/model/texts.ts';
import { encodeOf, makeTokenizer } from '../../runtime/model/tokenizer.ts';
import { byteLevelFile, fuzz, nasty, sentencePieceFile } from './vocabularies.ts';

const texts = ['', ...nasty, ...fuzz(random(5), 400), '\ud800', '\udc00x', 'twice', 'twice'];

test('texts read as they were, found by the first number, whole or as a part', () => {
  const list = Texts.of(texts.length, (i) => texts[i]);
  const index = TextIndex.of(list);
  const first = new Map<string, number>();
  texts.forEach((text, i) => first.has(text) || first.set(text, i));
  texts.forEach((text, i) => {
    assert.is(list.at(i), text);
    assert.is(index.find(text), first.get(text));
    assert.is(list.indexOf(text), first.get(text));
    assert.is(index.find(`(${text})`, 1, 1 + text.length), first.get(text));
  });
  assert.is(list.at(texts.length), undefined);
  for (const absent of ['nobody', 'twic', 'twicee', '\udc00']) {
    assert.is(index.find(absent), undefined);
    assert.is(list.indexOf(absent), -1);
  }
  assert.equal([...index].sort(), [...first.keys()].sort());
});

test('what is left out is not found, and pairs are found by their halves', () => {
  const pairs = ['a b', 'ab c', 'a bc', 'ä ö'];
  const index = TextIndex.of(
    Texts.of(pairs.length, (i) => pairs[i]),
    (i) => i !== 1,
  );
  assert.is(index.find('xaby', 1, 3, 2), 0);
  assert.is(index.find('abc', 0, 3, 2), undefined);
  assert.is(index.find('abc', 0, 3, 1), 2);
  assert.is(index.find('äö', 0, 2, 1), 3);
  assert.is(index.find('abc'), undefined);
});

/** Every array of plain data. */
function* arraysOf(data: unknown): Generator<ArrayBufferView> {
  if (ArrayBuffer.isView(data)) yield data;
  else if (typeof data === 'object' && data !== null) for (const part of Object.values(data)) yield* arraysOf(part);
}

const folder = mkdtempSync(join(tmpdir(), 'skv-texts-'));
test.after(() => rmSync(folder, { recursive: true }));

for (const [name, file] of [
  ['byte pairs', byteLevelFile('default')],
  ['SentencePiece', sentencePieceFile({})],
] as const)
  test(`${name}: another thread spells alike with the same memory`, () => {
    const path = join(folder, 'model.gguf');
    writeFileSync(path, file);
    const tokenizer = makeTokenizer({ ...piecesOf(readGguf(path)), eosTokens: [] });
    const sent = structuredClone(tokenizer.spelling!);
    const [mine, theirs] = [tokenizer.spelling!, sent].map((each) => [...arraysOf(each)]);
    assert.ok(mine.length >= 4);
    mine.forEach((array, i) => {
      assert.instance(array.buffer, SharedArrayBuffer);
      assert.is(theirs[i].byteLength, array.byteLength);
    });
    // one writes, the other sees it
    const [units, seen] = [mine[0] as Uint16Array, theirs[0] as Uint16Array];
    const before = units[0];
    units[0] = before ^ 1;
    assert.is(seen[0], before ^ 1);
    units[0] = before;
    const encode = encodeOf({ ...sent, encode: encodeBy(sent) });
    for (const text of [...texts, '<s>a<|im_start|>user\nHi<|im_end|>'])
      for (const options of [{}, { special: true, addBos: true }])
        assert.equal(encode(text, options), tokenizer.encode(text, options));
  });

test.run();
