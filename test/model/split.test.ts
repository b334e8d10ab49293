/** GGUF models in several files: read whole from any part; what is missing, doubled or of another model is named. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadModel } from '../../runtime/model/load.ts';
import { refused } from './refused.ts';
import { type GgufParts, ggufParts, splitGguf, writeGguf } from './write.ts';

const home = mkdtempSync(join(tmpdir(), 'skv-split-'));
process.on('exit', () => rmSync(home, { recursive: true, force: true }));

/** The parts, under their names, in a folder of their own; paths. */
function written(
  parts: readonly (Buffer | undefined)[],
  name = (i: number) => `m-0000${i}-of-0000${parts.length}.gguf`,
) {
  const folder = mkdtempSync(join(home, 'parts-'));
  return parts.map((bytes, i) => {
    const path = join(folder, name(i + 1));
    if (bytes) writeFileSync(path, bytes);
    return path;
  });
}

/** A model whose output is a tensor of its own, the last one: without it, the embedding would stand in. */
function untied(): GgufParts {
  const parts = ggufParts();
  const embed = parts.tensors.find(({ name }) => name === 'token_embd.weight')!;
  parts.tensors.push({ ...embed, name: 'output.weight' });
  return parts;
}

test('from any part the whole model is read, each tensor where it lies', async () => {
  const [whole] = written([writeGguf(untied())], () => 'whole.gguf');
  const one = await loadModel(whole);
  for (const count of [2, 3, 5]) {
    const paths = written(splitGguf(untied(), count));
    for (const path of paths) {
      const model = await loadModel(path);
      assert.is(model.name, 'm');
      assert.equal(
        model.spec.files.map((file) => basename(file)).sort(),
        paths.map((each) => basename(each)),
      );
      const plain = ({ spec }: typeof model) =>
        spec.tensors.map(({ role, layer, type, rows, cols, bytes }) => [role, layer, type, rows, cols, bytes]);
      assert.equal(plain(model), plain(one));
      assert.ok(model.spec.tensors.some(({ role }) => role === 'output'));
    }
  }
});

test('a part that is missing is named, and its output never taken for tied', async () => {
  const parts = splitGguf(untied(), 3);
  for (const gone of [0, 1, 2]) {
    const paths = written(parts.map((bytes, i) => (i === gone ? undefined : bytes)));
    for (const path of paths.filter((_, i) => i !== gone))
      await refused(
        loadModel(path),
        new RegExp(`one of 3 parts of a model; missing beside it: m-0000${gone + 1}-of-00003\\.gguf`),
      );
  }
  const [renamed] = written(parts, (i) => `part${i}.gguf`);
  await refused(loadModel(renamed), /names must end in -00001-of-00003\.gguf/);
});

test('parts of another model, in another order or twice are refused', async () => {
  const [first, second] = splitGguf(untied(), 2);
  await refused(loadModel(written([second, first])[0]), /says that it is part 2 of 2, its name says 1 of 2/);
  await refused(
    loadModel(written([first, writeGguf(untied())])[0]),
    /says that it is part 0 of undefined, its name says 2 of 2/,
  );
  const parts = untied();
  const doubled = splitGguf({ ...parts, tensors: [...parts.tensors, parts.tensors[0]] }, 2);
  await refused(loadModel(written(doubled)[0]), /token_embd\.weight is in .*m-00001-of-00002\.gguf, too/);
  const more = { name: 'one.more', dims: [64], type: 0 };
  const [, other] = splitGguf({ ...parts, tensors: [...parts.tensors, more] }, 2);
  await refused(loadModel(written([first, other])[0]), /have \d+ tensors, not \d+\. They are not of one model/);
});

test('a joined file, whose count is 0, is a file', async () => {
  const parts = untied();
  Object.assign(parts.metadata, { 'split.no': 0, 'split.count': 0, 'split.tensors.count': parts.tensors.length });
  await loadModel(written([writeGguf(parts)], () => 'joined.gguf')[0]);
});

test.run();
