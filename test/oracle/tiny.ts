/**
 * A random Llama small enough for plain loops: its weights in memory for the oracle, and the same numbers in a raw file
 * for the engine.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { random } from '../../codegen/oracle/random.ts';
import type { LoadedModel } from '../../runtime/model/types.ts';
import { Activation, Norm, type RoleName, TokenClass, WeightType } from '../../runtime/contract/records.ts';
import { countOf, shapeOf } from '../../runtime/contract/roles.ts';
import type { TensorRef } from '../../runtime/native/index.ts';

export interface TinyShape {
  layers: number;
  kvHeads: number;
  group: number;
  headDim: number;
  width: number;
  ffn: number;
  vocab: number;
  ropeInterleaved: boolean;
  /** of a head that are rotated, its first ones; default all */
  ropeDims?: number;
  maxPosition: number;
  /** positions that a query of each layer sees, its own included; 0: all; default of every layer */
  windows?: readonly number[];
  /** base of each layer's RoPE, 0: no RoPE; default 10000 everywhere */
  ropeBases?: readonly number[];
  /** of the products of queries and keys; default 1 / sqrt(headDim) */
  attentionScale?: number;
  /** logits of attention become cap · tanh(logit / cap); default: they stay */
  attentionCap?: number;
}

export const defaultShape: TinyShape = {
  layers: 2,
  kvHeads: 2,
  group: 2,
  headDim: 64,
  width: 48,
  ffn: 64,
  vocab: 192,
  ropeInterleaved: true,
  maxPosition: 4096,
};

export interface Tiny {
  shape: TinyShape;
  /** [layer][headDim / 2], zeros where a layer has no RoPE, and from ropeDims / 2 on */
  invFreq: Float32Array[];
  /** [role][layer] → row-major matrix [rows = outputs][cols = inputs] */
  weights: Map<RoleName, Float32Array[]>;
  /** the same model for the engine; its file lives until `remove` */
  loaded: LoadedModel;
  remove(): void;
}

export function tinyModel(seed: number, overrides: Partial<TinyShape> = {}): Tiny {
  const shape = { ...defaultShape, ...overrides };
  const next = random(seed);
  const gauss = () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
  const { width, ffn, vocab, kvHeads, group, headDim } = shape;
  const heads = kvHeads * group;
  // Queries and keys are drawn large, so that attention is peaked and policies have something to choose.
  const dimensions = { layers: shape.layers, width, heads, kvHeads, headDim, ffn, vocab, positions: 0 };
  const spreads: [RoleName, number][] = [
    ['embed', 0.7],
    ['outputNorm', 0],
    ['attnNorm', 0],
    ['q', 1.6],
    ['k', 1.6],
    ['v', 1],
    ['o', 1.5],
    ['ffnNorm', 0],
    ['gate', 1],
    ['up', 1],
    ['down', 1.5],
  ];
  const weights = new Map<RoleName, Float32Array[]>();
  const tensors: TensorRef[] = [];
  const chunks: Float32Array[] = [];
  let offset = 0;
  for (const [role, spread] of spreads) {
    const [rows, cols] = shapeOf(role, dimensions);
    for (let layer = 0; layer < countOf(role, dimensions); layer++) {
      const scale = spread / Math.sqrt(role === 'embed' ? 1 : cols);
      const matrix = Float32Array.from({ length: rows * cols }, () =>
        spread === 0 ? 1 + 0.1 * gauss() : scale * gauss(),
      );
      weights.set(role, [...(weights.get(role) ?? []), matrix]);
      tensors.push({ role, layer, type: WeightType.F32, rows, cols, file: 0, offset, bytes: matrix.byteLength });
      chunks.push(matrix);
      offset += matrix.byteLength;
    }
  }
  const directory = mkdtempSync(join(tmpdir(), 'skv-tiny-'));
  const file = join(directory, 'weights.bin');
  writeFileSync(file, Buffer.concat(chunks.map((matrix) => Buffer.from(matrix.buffer))));
  const bases = shape.ropeBases ?? Array<number>(shape.layers).fill(10000);
  const ropeDims = shape.ropeDims ?? headDim;
  const tables = [...new Set(bases)].map((base) =>
    Float32Array.from({ length: headDim / 2 }, (_, i) =>
      base && i < ropeDims / 2 ? base ** ((-2 * i) / ropeDims) : 0,
    ),
  );
  const layer = bases.map((base, l) => ({ window: shape.windows?.[l] ?? 0, rope: [...new Set(bases)].indexOf(base) }));
  const spec = {
    ...dimensions,
    normEps: 1e-5,
    attentionScale: shape.attentionScale ?? 1 / Math.sqrt(headDim),
    attentionCap: shape.attentionCap ?? 0,
    logitCap: 0,
    layer,
    embedScale: 1,
    residualScale: 1,
    logitScale: 1,
    ropeScale: 1,
    ropeDims,
    ropeInterleaved: shape.ropeInterleaved,
    norm: Norm.rms,
    activation: Activation.silu,
    invFreq: Float32Array.from(tables.flatMap((table) => [...table])),
    tensors,
    files: [file],
  };
  const unsupported = () => {
    throw new Error('the tiny model has no text');
  };
  const loaded: LoadedModel = {
    source: file,
    name: 'tiny',
    architecture: 'llama',
    spec,
    maxPosition: shape.maxPosition,
    tokenizer: {
      vocab,
      bos: undefined,
      eos: [],
      encode: unsupported,
      decode: unsupported,
      bytes: unsupported,
      classes: Uint8Array.from({ length: vocab }, (_, token) =>
        token % 16 === 5 ? TokenClass.special : token % 6 === 3 ? TokenClass.punctuation : 0,
      ),
    },
    detokenizer: unsupported,
    chat: unsupported,
    hasChatTemplate: false,
    notes: [],
    sampling: {},
  };
  return {
    shape,
    invFreq: layer.map(({ rope }) => tables[rope]),
    weights,
    loaded,
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}
