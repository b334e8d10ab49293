/** What the tensor of each role is to the forward pass: its shape, and whether every layer has one. Printed for C too. */
import type { RoleName } from './records.ts';

/** Numbers of a model that shapes are made of; fields of skv_model. */
export interface Dimensions {
  readonly layers: number;
  /** elements of the residual stream */
  readonly width: number;
  /** query heads */
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** rows of the MLP's first matrices */
  readonly ffn: number;
  readonly vocab: number;
  /** rows of learned positions */
  readonly positions: number;
}

/** Matrices have rows; what is in one row is the weight of a norm, or a bias of a norm or a matrix. */
export type RoleKind = 'matrix' | 'norm' | 'bias';

export interface RoleShape {
  readonly kind: RoleKind;
  /** outputs, as a product of these; of what is in one row, none */
  readonly rows: readonly (keyof Dimensions)[];
  /** inputs, or the size of a norm or bias */
  readonly cols: readonly (keyof Dimensions)[];
  readonly perLayer: boolean;
  /** the forward pass does without it where a model has none */
  readonly optional: boolean;
}

type Names = RoleShape['rows'];
const model = { perLayer: false, optional: false };
const layer = { perLayer: true, optional: false };
const some = { optional: true };
const matrix = (rows: Names, cols: Names) => ({ kind: 'matrix', rows, cols }) as const;
const norm = (cols: Names) => ({ kind: 'norm', rows: [], cols }) as const;
const bias = (cols: Names) => ({ kind: 'bias', rows: [], cols }) as const;

export const roleShapes: Readonly<Record<RoleName, RoleShape>> = {
  embed: { ...model, ...matrix(['vocab'], ['width']) },
  outputNorm: { ...model, ...norm(['width']) },
  output: { ...model, ...matrix(['vocab'], ['width']), ...some },
  attnNorm: { ...layer, ...norm(['width']) },
  q: { ...layer, ...matrix(['heads', 'headDim'], ['width']) },
  k: { ...layer, ...matrix(['kvHeads', 'headDim'], ['width']) },
  v: { ...layer, ...matrix(['kvHeads', 'headDim'], ['width']) },
  o: { ...layer, ...matrix(['width'], ['heads', 'headDim']) },
  ffnNorm: { ...layer, ...norm(['width']) },
  gate: { ...layer, ...matrix(['ffn'], ['width']), ...some },
  up: { ...layer, ...matrix(['ffn'], ['width']) },
  down: { ...layer, ...matrix(['width'], ['ffn']) },
  qBias: { ...layer, ...bias(['heads', 'headDim']), ...some },
  kBias: { ...layer, ...bias(['kvHeads', 'headDim']), ...some },
  vBias: { ...layer, ...bias(['kvHeads', 'headDim']), ...some },
  oBias: { ...layer, ...bias(['width']), ...some },
  gateBias: { ...layer, ...bias(['ffn']), ...some },
  upBias: { ...layer, ...bias(['ffn']), ...some },
  downBias: { ...layer, ...bias(['width']), ...some },
  qNorm: { ...layer, ...norm(['headDim']), ...some },
  kNorm: { ...layer, ...norm(['headDim']), ...some },
  attnPostNorm: { ...layer, ...norm(['width']), ...some },
  ffnPostNorm: { ...layer, ...norm(['width']), ...some },
  attnNormBias: { ...layer, ...bias(['width']), ...some },
  ffnNormBias: { ...layer, ...bias(['width']), ...some },
  outputNormBias: { ...model, ...bias(['width']), ...some },
  positions: { ...model, ...matrix(['positions'], ['width']), ...some },
};

/** Rows and columns that a role's tensor has in a model of these numbers. */
export function shapeOf(role: RoleName, d: Dimensions): readonly [rows: number, cols: number] {
  const product = (of: readonly (keyof Dimensions)[]) => of.reduce((size, name) => size * d[name], 1);
  const { rows, cols } = roleShapes[role];
  return [product(rows), product(cols)];
}

/** How many tensors of a role a model has. */
export const countOf = (role: RoleName, d: Dimensions): number => (roleShapes[role].perLayer ? d.layers : 1);
