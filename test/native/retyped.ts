/** A tiny model with weights of other types, as files have them. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { random } from '../../codegen/oracle/random.ts';
import { WeightType } from '../../runtime/contract/records.ts';
import type { WeightName } from '../../runtime/contract/weights.ts';
import { cpuBackend, native } from '../../runtime/native/index.ts';
import type { Tiny } from '../oracle/tiny.ts';
import { fileWeights } from './blocks.ts';

const folder = mkdtempSync(join(tmpdir(), 'skv-types-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

/** Bytes of a random matrix whose numbers spread about as `spread` says, within a factor of two. */
function weightsNear(spread: number, type: number, rows: number, cols: number, seed: number): Uint8Array {
  const made = (lower: number) => fileWeights(type, rows, cols, random(seed), lower);
  const values = native().testUnpack(cpuBackend(), type, rows, cols, made(0));
  const found = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
  return made(Math.max(0, Math.round(Math.log2(found / spread))));
}

/** The model with matrices of these types in turn; what they mean goes into the oracle's weights. */
export function retyped(model: Tiny, types: readonly WeightName[]): Tiny {
  const source = readFileSync(model.loaded.spec.files[0]);
  const parts: Uint8Array[] = [];
  let offset = 0;
  let matrices = 0;
  const tensors = model.loaded.spec.tensors.map((tensor) => {
    const { rows, cols, role, layer } = tensor;
    if (rows === 1) {
      parts.push(source.subarray(tensor.offset, tensor.offset + tensor.bytes));
      offset += tensor.bytes;
      return { ...tensor, offset: offset - tensor.bytes };
    }
    const type = WeightType[types[matrices % types.length]];
    const bytes = weightsNear(role === 'embed' ? 0.1 : 1 / Math.sqrt(cols), type, rows, cols, ++matrices);
    model.weights.get(role)![layer] = native().testUnpack(cpuBackend(), type, rows, cols, bytes);
    parts.push(bytes);
    offset += bytes.length;
    return { ...tensor, type, offset: offset - bytes.length, bytes: bytes.length };
  });
  const file = join(folder, types.join('-'));
  writeFileSync(file, Buffer.concat(parts));
  return { ...model, loaded: { ...model.loaded, spec: { ...model.loaded.spec, tensors, files: [file] } } };
}
