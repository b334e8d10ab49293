/**
 * Real vocabularies beside llama.cpp: those of its repository, which node-llama-cpp brings as a git bundle, with the texts
 * that are tested there. The same ids, the same text again, at once and token by token.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LlamaLogLevel, getLlama } from 'node-llama-cpp';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { random } from '../../codegen/oracle/random.ts';
import { mobyDick } from '../../eval/text.ts';
import { turnEnds } from '../../runtime/model/ends.ts';
import { readGguf } from '../../runtime/model/gguf.ts';
import { piecesOf } from '../../runtime/model/pieces.ts';
import { TokenKind, makeTokenizer } from '../../runtime/model/tokenizer.ts';
import { ModelError } from '../../runtime/model/types.ts';
import { root } from '../../toolchain/folders.mjs';
import { fuzz, nasty } from './vocabularies.ts';

const folder = mkdtempSync(join(tmpdir(), 'skv-vocabularies-'));
test.after(() => rmSync(folder, { recursive: true, force: true }));
const llama = await getLlama({ build: 'never', gpu: false, logLevel: LlamaLogLevel.disabled });

const git = (...args: string[]) => execFileSync('git', args, { cwd: folder, maxBuffer: 1 << 28 });
git('init', '-q', '--bare');
const bundle = join(root, 'node_modules/node-llama-cpp/llama/gitRelease.bundle');
const [commit] = git('bundle', 'unbundle', bundle).toString().split(/\s/);
const names = git('ls-tree', '--name-only', commit, 'models/').toString().split('\n');
const vocabularies = names.flatMap((name) => name.match(/ggml-vocab-(.*)\.gguf$/)?.[1] ?? []);
const fileOf = (name: string): string => {
  const path = join(folder, `${name}.gguf`);
  writeFileSync(path, git('cat-file', 'blob', `${commit}:models/ggml-vocab-${name}.gguf`));
  return path;
};
/** What llama.cpp's own tests encode with a vocabulary. */
const published = (name: string): string[] => {
  const path = `models/ggml-vocab-${name}.gguf.inp`;
  const texts = names.includes(path) ? git('cat-file', 'blob', `${commit}:${path}`).toString() : '';
  return texts.split('\n__ggml_vocab_test__\n').filter((text) => text !== '');
};

const next = random(17);
const book = mobyDick();
const prose = Array.from({ length: 6 }, () => {
  const at = Math.floor(next() * (book.length - 400));
  return book.slice(at, at + 400);
});
const written = ['<s>a</s> <unk> <|endoftext|> <|im_end|>'];
const texts = [...nasty, ...prose, ...written, ...fuzz(next, 50)];

for (const name of vocabularies.filter((each) => each !== 'bert-bge'))
  test(`${name}: the same ids, and the text again`, async () => {
    const path = fileOf(name);
    const peer = await llama.loadModel({ modelPath: path, vocabOnly: true });
    const pieces = piecesOf(readGguf(path));
    const tokenizer = makeTokenizer({ ...pieces, eosTokens: [] });
    // in a byte-level vocabulary every text is itself again; llama.cpp tidies spaces there, which no answer is to suffer
    const whole = pieces.style === 'byte-level' || name === 'gemma-4';
    // llama.cpp takes these for control tokens even where the file (Qwen's </s>) and transformers call them text
    const asText = turnEnds.filter((end) => pieces.kinds[pieces.tokens.indexOf(end)] === TokenKind.text);
    for (const text of [...texts, ...published(name)])
      for (const special of [false, true]) {
        if (special && asText.some((end) => text.includes(end))) continue;
        const ids = [...tokenizer.encode(text, { special })];
        assert.equal(ids, [...(peer.tokenize(text, special) as readonly number[])], JSON.stringify(text));
        if (special) continue;
        const decoded = tokenizer.decode(ids);
        assert.is(decoded, whole ? text : peer.detokenize(ids as never, true), JSON.stringify(text));
        const stream = tokenizer.detokenizer();
        const streamed = ids.map((id) => stream.push(id)).join('') + stream.end();
        const visible = tokenizer.decode(ids, { skipSpecial: true });
        assert.ok(streamed === visible || (pieces.spacePrefix && streamed === ` ${visible}`), JSON.stringify(text));
      }
    await peer.dispose();
  });

test('WordPiece is refused by name', () => {
  const path = fileOf('bert-bge');
  assert.throws(
    () => piecesOf(readGguf(path)),
    (error: Error) => error instanceof ModelError && /WordPiece/.test(error.message),
  );
});

test.run();
