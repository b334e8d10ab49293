/** What the CPU backend says of a model whose record or tensors it cannot run: the tensor at fault, and nothing is read. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import { WeightType } from '../../runtime/contract/records.ts';
import type { ModelSpec, TensorRef } from '../../runtime/native/index.ts';
import { smallEngine } from '../engine/small.ts';
import { tinyModel } from '../oracle/tiny.ts';

const none = await build(shipped('none')!);
const model = tinyModel(1);
test.after(() => model.remove());

/** The tiny model's spec with one tensor changed; undefined leaves it out. */
function withTensor(role: string, layer: number, change: (tensor: TensorRef) => Partial<TensorRef> | undefined) {
  return (spec: ModelSpec): Partial<ModelSpec> => ({
    tensors: spec.tensors.flatMap((tensor) => {
      if (tensor.role !== role || tensor.layer !== layer) return [tensor];
      const changed = change(tensor);
      return changed ? [{ ...tensor, ...changed }] : [];
    }),
  });
}

const refused: [what: string, change: (spec: ModelSpec) => Partial<ModelSpec>, message: RegExp][] = [
  ['a norm that it does not have', () => ({ norm: 99 }), /no norm 99/],
  ['an activation that it does not have', () => ({ activation: 99 }), /no activation 99/],
  ['a tensor of a layer left out', withTensor('k', 1, () => undefined), /tensor k of layer 1 is missing/],
  ['a tensor outside layers left out', withTensor('outputNorm', 0, () => undefined), /tensor outputNorm is missing/],
  ['a tensor twice', (spec) => ({ tensors: [...spec.tensors, spec.tensors[0]] }), /tensor embed: is given twice/],
  ['a layer that is not there', withTensor('k', 1, () => ({ layer: 7 })), /tensor k of layer 7: layer out of range/],
  [
    'another shape',
    withTensor('up', 0, ({ rows, cols }) => ({ rows: cols, cols: rows })),
    /tensor up of layer 0: is 48 x 64, the model needs 64 x 48/,
  ],
  [
    'more than the file has',
    withTensor('down', 1, () => ({ offset: 1e9 })),
    /tensor down of layer 1: needs 12288 bytes at 1000000000, the file has \d+/,
  ],
  [
    'random numbers of another type',
    withTensor('up', 0, () => ({ file: -1 })),
    /tensor up of layer 0: random numbers are of type BF16/,
  ],
  ['a file that it does not have', withTensor('up', 0, () => ({ file: -2 })), /up of layer 0: file index out of range/],
  ['a type without a packer', withTensor('v', 0, () => ({ type: 12 })), /tensor v of layer 0: type 12/],
  [
    'columns that are not whole blocks',
    withTensor('v', 0, ({ rows }) => ({ type: WeightType.Q4_0, bytes: rows * 18 })),
    /tensor v of layer 0: type 2 is not supported for this shape/,
  ],
  ['no such file', () => ({ files: ['/nowhere/weights.bin'] }), /\/nowhere\/weights.bin: No such file/],
];

for (const [what, change, message] of refused)
  test(`refused: ${what}`, async () => {
    const spec = { ...model.loaded.spec, ...change(model.loaded.spec) };
    const changed = { ...model, loaded: { ...model.loaded, spec } };
    let said = 'nothing';
    try {
      await (await smallEngine(changed, { policies: [none] })).close();
    } catch (error) {
      said = (error as Error).message;
    }
    assert.match(said, message);
  });

test.run();
