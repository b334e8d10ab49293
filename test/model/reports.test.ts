/** What users of neighbouring servers report about loading models, each as a small folder or file: right, or refused by its cause. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadModel } from '../../runtime/model/load.ts';
import { refused } from './refused.ts';
import { ggufParts, storedFiles, storedWith, vocab, writeGguf } from './write.ts';

const home = mkdtempSync(join(tmpdir(), 'skv-reports-'));
process.on('exit', () => rmSync(home, { recursive: true, force: true }));

type Files = Record<string, Buffer | string>;

function folder(change: (files: Files) => Files | void): string {
  const at = mkdtempSync(join(home, 'model-'));
  const files = storedFiles();
  for (const [name, bytes] of Object.entries(change(files) ?? files)) writeFileSync(join(at, name), bytes);
  return at;
}
const load = (change: (files: Files) => Files | void) => loadModel(folder(change));

function json(files: Files, name: string, change: Record<string, unknown>): void {
  files[name] = JSON.stringify({ ...JSON.parse((files[name] as string | undefined) ?? '{}'), ...change });
}

const WHOLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';
const NAMES = ['a.safetensors', 'b.safetensors'];
const EXTRA = 'model.norm.weight';

/** Two files: all tensors, and a second copy of one of them; the index says which copy is meant. */
function overlaid(files: Files, meant: string): void {
  const all = files[WHOLE] as Buffer;
  const length = Number(all.readBigUInt64LE());
  const tensors = Object.keys(JSON.parse(all.subarray(8, 8 + length).toString()));
  const none = { ...files, [WHOLE]: Buffer.concat([Buffer.from([2, 0, 0, 0, 0, 0, 0, 0]), Buffer.from('{}')]) };
  delete files[WHOLE];
  files[NAMES[0]] = all;
  files[NAMES[1]] = storedWith(none, { [EXTRA]: [64] })[WHOLE];
  const weight_map = Object.fromEntries(tensors.map((name) => [name, name === EXTRA ? meant : NAMES[0]]));
  files[INDEX] = JSON.stringify({ weight_map });
}
const fileOfNorm = ({ spec }: Awaited<ReturnType<typeof loadModel>>) =>
  basename(spec.files[spec.tensors.find(({ role }) => role === 'outputNorm')!.file]);

test('a tensor in two files is read from the one that the index gives it to', async () => {
  for (const meant of NAMES) assert.is(fileOfNorm(await load((files) => overlaid(files, meant))), meant);
});

test('an index that promises what its file does not have, or files that are not there, is named', async () => {
  await refused(
    load((files) => {
      overlaid(files, NAMES[0]);
      files[NAMES[0]] = files[NAMES[1]];
    }),
    /promises tensor .* in a\.safetensors, which does not have it/,
  );
  await refused(
    load((files) => {
      overlaid(files, NAMES[1]);
      delete files[NAMES[1]];
    }),
    /1 of its 2 files are missing: b\.safetensors/,
  );
});

test('weights twice, whole and by an index, are refused: they need not be the same', async () => {
  const both = (index: Record<string, string>) =>
    load((files) => {
      const all = files[WHOLE];
      overlaid(files, NAMES[0]);
      files[WHOLE] = all;
      if (Object.keys(index).length) files[INDEX] = JSON.stringify({ weight_map: index });
    });
  await refused(both({}), /has model\.safetensors and an index of other files/);
  assert.is(fileOfNorm(await both({ [EXTRA]: WHOLE })), WHOLE);
});

test('what a clone without Git LFS left is named, whichever file it is', async () => {
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 123456\n`;
  for (const name of [WHOLE, 'tokenizer.json', 'config.json', INDEX])
    await refused(
      load((files) => void (files[name] = pointer)),
      /is a pointer of Git LFS, not the file itself\. Fetch .*git lfs pull/,
    );
  const file = join(home, 'pointer.gguf');
  writeFileSync(file, pointer);
  await refused(loadModel(file), /pointer\.gguf: is a pointer of Git LFS/);
});

test('adapters and other things that are not models', async () => {
  await refused(
    load(() => ({ 'adapter_config.json': '{}', 'adapter_model.safetensors': '' })),
    /has no config\.json, but an adapter: merge it/,
  );
  await refused(
    load(() => ({ 'params.json': '{}', 'consolidated.safetensors': '' })),
    /consolidated\.safetensors, Mistral's own format/,
  );
  await refused(
    load((files) => {
      delete files['tokenizer.json'];
      files['tokenizer.model'] = '';
    }),
    /has tokenizer\.model and no tokenizer\.json\. Save the tokenizer/,
  );
  const parts = ggufParts();
  const file = join(home, 'adapter.gguf');
  writeFileSync(file, writeGguf({ ...parts, metadata: { ...parts.metadata, 'general.type': 'adapter' } }));
  await refused(loadModel(file), /holds an adapter \(merge it/);
});

test('tokens that tokenizer_config.json alone has are tokens', async () => {
  const token = {
    content: '<|tool|>',
    special: true,
    lstrip: false,
    rstrip: false,
    single_word: false,
    normalized: false,
  };
  const { tokenizer } = await load((files) => {
    json(files, 'tokenizer.json', {
      model: {
        ...JSON.parse(files['tokenizer.json'] as string).model,
        vocab: Object.fromEntries(vocab.slice(0, -1).map((word, id) => [word, id])),
      },
    });
    json(files, 'tokenizer_config.json', { added_tokens_decoder: { [vocab.length - 1]: token } });
  });
  assert.equal([...tokenizer.encode('ab<|tool|>', { special: true })], [7, vocab.length - 1]);
  assert.is(tokenizer.bytes(vocab.length - 1).length, 0);
});

test('merges as pairs, and a template in chat_template.json', async () => {
  const { tokenizer, chat } = await load((files) => {
    const { model } = JSON.parse(files['tokenizer.json'] as string);
    json(files, 'tokenizer.json', {
      model: { ...model, merges: model.merges.map((merge: string) => merge.split(' ')) },
    });
    files['tokenizer_config.json'] = JSON.stringify({ eos_token: '<|im_end|>' });
    files['chat_template.json'] = JSON.stringify({ chat_template: '<{{ messages[0].content }}>' });
  });
  assert.equal([...tokenizer.encode('ab a1')], [7, 8, 10]);
  assert.is(chat([{ role: 'user', content: 'hi' }]), '<hi>');
});

test('an output that is not tied must be there; one that was left out as a twin is', async () => {
  const untied = (files: Files) => json(files, 'config.json', { tie_word_embeddings: false });
  await refused(load(untied), /lm_head\.weight is missing, and the model does not tie it/);
  const { spec } = await load((files) => {
    untied(files);
    const old = files[WHOLE] as Buffer;
    const length = Number(old.readBigUInt64LE());
    const header = JSON.parse(old.subarray(8, 8 + length).toString());
    header.__metadata__ = { format: 'pt', 'lm_head.weight': 'model.embed_tokens.weight' };
    const text = Buffer.from(JSON.stringify(header));
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(text.length));
    files[WHOLE] = Buffer.concat([size, text, old.subarray(8 + length)]);
  });
  const [embed, output] = ['embed', 'output'].map((role) => spec.tensors.find((tensor) => tensor.role === role)!);
  assert.is(output.offset, embed.offset);
});

test('null is as good as absent in config.json', async () => {
  const plain = await load((files) => json(files, 'config.json', { rope_scaling: undefined }));
  const nulls = await load((files) =>
    json(files, 'config.json', { rope_scaling: null, head_dim: null, sliding_window: null, quantization_config: null }),
  );
  assert.equal(nulls.spec.invFreq, plain.spec.invFreq);
});

test.run();
