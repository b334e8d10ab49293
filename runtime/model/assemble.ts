/** A family's record, a file's numbers and its tensors → what the dense model needs to know. */
import { Activation, Norm } from '../contract/records.ts';
import { countOf, shapeOf } from '../contract/roles.ts';
import { blockOf, weightBlocks, weightName } from '../contract/weights.ts';
import type { ModelSpec, TensorRef } from '../native/index.ts';
import type { Family, FamilyTensor, Format } from './families/family.ts';
import { type ModelFacts, checkFacts } from './facts.ts';
import { ropeFrequencies } from './rope.ts';
import { ModelError } from './types.ts';

/** A tensor as a file has it. */
export interface FoundTensor {
  /** as GGUF numbers it */
  readonly type: number;
  /** as the file calls it */
  readonly typeName: string;
  readonly rows: number;
  readonly cols: number;
  readonly file: string;
  readonly fileSize?: number;
  readonly offset: number;
}

/** Where a model's numbers and tensors were read. */
export interface Origin {
  readonly format: Format;
  /** file or folder, for errors */
  readonly where: string;
  find(name: string): FoundTensor | undefined;
}

export interface AssembledModel {
  readonly spec: ModelSpec;
  readonly maxPosition: number;
  readonly architecture: string;
  /** what a user should know of the file */
  readonly notes?: readonly string[];
}

/** Missing tensors that an error names. */
const NAMED = 8;

/** Checks every tensor of the family against the numbers. Throws a ModelError that names what is missing or wrong. */
export function assemble(family: Family, facts: ModelFacts, origin: Origin): ModelSpec {
  checkFacts(facts, origin.where);
  const files: string[] = [];
  const tensors: TensorRef[] = [];
  const missing: string[] = [];
  for (const wanted of family.tensors) {
    const name = wanted.names[origin.format];
    for (let layer = 0; layer < countOf(wanted.role, facts); layer++) {
      const own = name.replace('#', String(layer));
      const found = origin.find(own);
      if (found) {
        if (!files.includes(found.file)) files.push(found.file);
        tensors.push({ ...checked(wanted, own, found, facts, origin.format), layer, file: files.indexOf(found.file) });
      } else if (!wanted.tiedTo) missing.push(own);
      else if (facts.tied === false)
        throw new ModelError(`${origin.where}: ${own} is missing, and the model does not tie it to the embedding.`);
    }
    if (missing.length > NAMED) break;
  }
  if (missing.length)
    throw new ModelError(
      `${origin.where}: tensors are missing: ${missing.slice(0, NAMED).join(', ')}${missing.length > NAMED ? ', …' : ''}.`,
    );
  const { layers, width, heads, kvHeads, headDim, ffn, vocab, normEps, rope } = facts;
  return {
    layers,
    width,
    heads,
    kvHeads,
    headDim,
    ffn,
    vocab,
    norm: Norm[family.norm],
    activation: Activation[family.activation],
    normEps,
    attentionScale: 1 / Math.sqrt(headDim),
    attentionCap: 0,
    logitCap: 0,
    layer: Array.from({ length: layers }, () => ({ window: 0, rope: 0 })),
    ropeInterleaved: family.ropePairs[origin.format] === 'interleaved',
    invFreq: ropeFrequencies(headDim, rope),
    tensors,
    files,
  };
}

/** What to do about a type that cannot be read. */
const wayOut: Readonly<Record<Format, string>> = {
  gguf: `Take the same model as Q4_K_M or Q8_0, or convert its F16 or BF16 file with llama-quantize. Types that it reads: ${Object.keys(weightBlocks).join(', ')}.`,
  stored: 'Take the same model in BF16, F16 or F32, or as a GGUF.',
};

/** The tensor of a role, if it has the family's shape, a type that can be read, and lies in its file. */
function checked(
  { role }: FamilyTensor,
  name: string,
  found: FoundTensor,
  facts: ModelFacts,
  format: Format,
): Omit<TensorRef, 'layer' | 'file'> {
  const fail = (what: string): never => {
    throw new ModelError(`${found.file}: tensor ${name} ${what}`);
  };
  const { type, typeName, offset, fileSize } = found;
  const [rows, cols] = shapeOf(role, facts);
  if (found.rows !== rows || found.cols !== cols)
    fail(`is ${found.rows} × ${found.cols}, the model's numbers make it ${rows} × ${cols}.`);
  if (weightName(type) === undefined) fail(`is stored as ${typeName}, which skv does not read. ${wayOut[format]}`);
  const block = blockOf(type);
  if (cols % block.elements !== 0)
    fail(`has ${cols} columns, which ${typeName} cannot divide into blocks of ${block.elements}.`);
  const bytes = ((rows * cols) / block.elements) * block.bytes;
  if (fileSize !== undefined && offset + bytes > fileSize)
    fail(`needs ${bytes} bytes at ${offset}, the file has ${fileSize}. It is cut short; download it again.`);
  return { role, type, rows, cols, offset, bytes };
}
