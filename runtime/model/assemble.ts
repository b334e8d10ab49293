/** A family's record, a file's numbers and its tensors → what the dense model needs to know. */
import { Activation, Norm } from '../contract/records.ts';
import { countOf, shapeOf } from '../contract/roles.ts';
import { blockOf, weightBlocks, weightName } from '../contract/weights.ts';
import type { ModelSpec, TensorRef } from '../native/index.ts';
import type { Family, FamilyTensor, Format } from './families/family.ts';
import { type ModelFacts, checkFacts } from './facts.ts';
import type { LayerFacts } from './layers.ts';
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
  const { layers, width, heads, kvHeads, headDim, ffn, vocab, positions, normEps, activation } = facts;
  return {
    layers,
    width,
    heads,
    kvHeads,
    headDim,
    ffn,
    vocab,
    positions,
    norm: Norm[family.norm[origin.format]],
    activation: Activation[activation],
    normEps,
    attentionScale: facts.attentionScale,
    attentionCap: facts.attentionCap,
    logitCap: facts.logitCap,
    embedScale: facts.embedScale,
    residualScale: facts.residualScale,
    logitScale: facts.logitScale,
    ropeScale: facts.rope.scale ?? 1,
    ropeDims: facts.rope.dims,
    ropeInterleaved: family.ropePairs[origin.format] === 'interleaved',
    ...rotations(facts),
    ...tensorsOf(family, facts, origin),
  };
}

/** What to do about a type that cannot be read. */
const wayOut: Readonly<Record<Format, string>> = {
  gguf: `Take the same model as Q4_K_M or Q8_0, or convert its F16 or BF16 file with llama-quantize. Types that it reads: ${Object.keys(weightBlocks).join(', ')}.`,
  stored: 'Take the same model in BF16, F16 or F32, or as a GGUF.',
};
/** The tables of frequencies that layers need, and which of them each has. */
function rotations({ layer, rope, windowRope, window, headDim }: ModelFacts): Pick<ModelSpec, 'layer' | 'invFreq'> {
  const tables: Float32Array[] = [];
  const kinds: string[] = [];
  const tableOf = ({ windowed, rotated }: LayerFacts): number => {
    const kind = !rotated ? 'none' : windowed && windowRope ? 'window' : 'all';
    if (!kinds.includes(kind)) {
      kinds.push(kind);
      tables.push(
        kind === 'none' ? new Float32Array(headDim / 2) : ropeFrequencies(headDim, kind === 'all' ? rope : windowRope!),
      );
    }
    return kinds.indexOf(kind);
  };
  const layers = layer.map((each) => ({ window: each.windowed ? window : 0, rope: tableOf(each) }));
  return { layer: layers, invFreq: Float32Array.from(tables.flatMap((table) => [...table])) };
}

function tensorsOf(family: Family, facts: ModelFacts, origin: Origin): Pick<ModelSpec, 'tensors' | 'files'> {
  const files: string[] = [];
  const tensors: TensorRef[] = [];
  const missing: string[] = [];
  for (const wanted of family.tensors) {
    const name = wanted.names[origin.format]!;
    const { role, flag, tiedTo } = wanted;
    const named = Array.from({ length: countOf(role, facts) }, (_, layer) => name.replace('#', String(layer)));
    const found = named.map((own) => origin.find(own));
    const stated = flag === undefined ? undefined : facts.flags.get(flag);
    const any = found.some((each) => each !== undefined);
    if (any && stated === false)
      throw new ModelError(
        `${origin.where}: states ${flag} = false, and has the tensor ${named[found.findIndex((each) => each)]}. One of them is wrong.`,
      );
    found.forEach((each, layer) => {
      if (each) {
        if (!files.includes(each.file)) files.push(each.file);
        tensors.push({
          ...checked(family, wanted, named[layer], each, facts, origin.format),
          layer,
          file: files.indexOf(each.file),
        });
      } else if (tiedTo && facts.tied === false)
        throw new ModelError(
          `${origin.where}: ${named[layer]} is missing, and the model does not tie it to the embedding.`,
        );
      else if (!tiedTo && (!wanted.optional || any || stated)) missing.push(named[layer]);
    });
    if (missing.length > NAMED) break;
  }
  if (missing.length)
    throw new ModelError(
      `${origin.where}: tensors are missing: ${missing.slice(0, NAMED).join(', ')}${missing.length > NAMED ? ', …' : ''}.`,
    );
  return { tensors, files };
}

/** Rows of the file's tensor before those of this role, of this role, and of all. */
function rowsOf({ role, fused }: FamilyTensor, positionsFrom: number, facts: ModelFacts) {
  const own = shapeOf(role, facts)[0];
  if (role === 'positions') return { before: positionsFrom, own, all: positionsFrom + own };
  const rows = (fused ?? [role]).map((each) => shapeOf(each, facts)[0]);
  const sum = (of: readonly number[]) => of.reduce((a, b) => a + b, 0);
  return { before: sum(rows.slice(0, fused?.indexOf(role) ?? 0)), own, all: sum(rows) };
}

/** The tensor of a role, if it has the family's shape, a type that can be read, and lies in its file. */
function checked(
  family: Family,
  wanted: FamilyTensor,
  name: string,
  found: FoundTensor,
  facts: ModelFacts,
  format: Format,
): Omit<TensorRef, 'layer' | 'file'> {
  const fail = (what: string): never => {
    throw new ModelError(`${found.file}: tensor ${name} ${what}`);
  };
  const { type, typeName, fileSize } = found;
  const { before, own, all } = rowsOf(wanted, family.positionsFrom ?? 0, facts);
  const cols = shapeOf(wanted.role, facts)[1];
  if (found.rows !== all || found.cols !== cols)
    fail(`is ${found.rows} × ${found.cols}, the model's numbers make it ${all} × ${cols}.`);
  if (weightName(type) === undefined) fail(`is stored as ${typeName}, which skv does not read. ${wayOut[format]}`);
  const block = blockOf(type);
  if (cols % block.elements !== 0)
    fail(`has ${cols} columns, which ${typeName} cannot divide into blocks of ${block.elements}.`);
  const rowBytes = (cols / block.elements) * block.bytes;
  if (fileSize !== undefined && found.offset + all * rowBytes > fileSize)
    fail(
      `needs ${all * rowBytes} bytes at ${found.offset}, the file has ${fileSize}. It is cut short; download it again.`,
    );
  const offset = found.offset + before * rowBytes;
  return { role: wanted.role, type, rows: own, cols, offset, bytes: own * rowBytes };
}
