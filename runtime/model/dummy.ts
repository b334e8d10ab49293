/** Models without files (vLLM's --load-format dummy): the shape of a real one, random weights, bytes as tokens. For speed. */
import { Activation, Norm, type RoleName, WeightType } from '../contract/records.ts';
import { type Dimensions, countOf, shapeOf } from '../contract/roles.ts';
import type { TensorRef } from '../native/index.ts';
import { type LoadedModel, ModelError } from './types.ts';

interface Shape extends Omit<Dimensions, 'positions'> {
  ropeBase: number;
  maxPosition: number;
  normEps: number;
  /** roles besides those that every such model has */
  more: readonly RoleName[];
}

/** Numbers of the models' own config.json. */
const shapes: Readonly<Record<string, Shape>> = {
  'llama-3-8b': {
    ...{ layers: 32, width: 4096, heads: 32, kvHeads: 8, headDim: 128, ffn: 14336, vocab: 128256 },
    ...{ ropeBase: 500000, maxPosition: 8192, normEps: 1e-5, more: ['output'] },
  },
  'qwen3-8b': {
    ...{ layers: 36, width: 4096, heads: 32, kvHeads: 8, headDim: 128, ffn: 12288, vocab: 151936 },
    ...{ ropeBase: 1000000, maxPosition: 40960, normEps: 1e-6, more: ['output', 'qNorm', 'kNorm'] },
  },
  'smollm2-135m': {
    ...{ layers: 30, width: 576, heads: 9, kvHeads: 3, headDim: 64, ffn: 1536, vocab: 49152 },
    ...{ ropeBase: 100000, maxPosition: 8192, normEps: 1e-5, more: [] },
  },
};
export const shapeNames = Object.keys(shapes);

const roles: readonly RoleName[] = [
  ...(['embed', 'outputNorm', 'attnNorm', 'q', 'k', 'v', 'o'] as const),
  ...(['ffnNorm', 'gate', 'up', 'down'] as const),
];

/** Bytes are tokens; a vocabulary's others are letters. */
const byteOf = (token: number): number => (token < 256 ? token : 97 + (token % 26));

/** A model of this shape, whose weights the backend makes. */
export function dummyModel(name: string): LoadedModel {
  const shape = Object.hasOwn(shapes, name) ? shapes[name] : undefined;
  if (!shape) throw new ModelError(`There is no shape ${name}: ${shapeNames.join(', ')} are possible.`);
  const { ropeBase, maxPosition, normEps, more, ...sizes } = shape;
  const dimensions = { ...sizes, positions: 0 };
  const { layers, headDim, vocab } = dimensions;
  const tensors: TensorRef[] = [...roles, ...more].flatMap((role) => {
    const [rows, cols] = shapeOf(role, dimensions);
    const tensor = { role, type: WeightType.BF16, rows, cols, file: -1, offset: 0, bytes: 2 * rows * cols };
    return Array.from({ length: countOf(role, dimensions) }, (_, layer) => ({ ...tensor, layer }));
  });
  const decode = (tokens: ArrayLike<number>) => Buffer.from(Array.from(tokens, byteOf)).toString();
  return {
    source: `dummy:${name}`,
    name,
    architecture: 'dummy',
    maxPosition,
    spec: {
      ...dimensions,
      normEps,
      attentionScale: 1 / Math.sqrt(headDim),
      ...{ attentionCap: 0, logitCap: 0, embedScale: 1, residualScale: 1, logitScale: 1, ropeScale: 1 },
      layer: Array.from({ length: layers }, () => ({ window: 0, rope: 0 })),
      ropeDims: headDim,
      ropeInterleaved: false,
      norm: Norm.rms,
      activation: Activation.silu,
      invFreq: Float32Array.from({ length: headDim / 2 }, (_, i) => ropeBase ** ((-2 * i) / headDim)),
      tensors,
      files: [],
    },
    tokenizer: {
      vocab,
      bos: undefined,
      eos: [],
      encode: (text) => Int32Array.from(Buffer.from(text)),
      decode,
      bytes: (token) => Uint8Array.of(byteOf(token)),
      classes: new Uint8Array(vocab),
    },
    detokenizer: () => ({ push: (token) => decode([token]), end: () => '' }),
    chat: () => {
      throw new ModelError(`${name} has random weights and no chat template; use /v1/completions.`);
    },
    hasChatTemplate: false,
    sampling: {},
    notes: [`${name} has random weights: what it says means nothing, how fast it is does.`],
  };
}
