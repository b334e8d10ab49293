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
}

export interface RoleShape {
  /** outputs, as a product of these; of a norm, which has one row, none */
  readonly rows: readonly (keyof Dimensions)[];
  /** inputs, or the size of a norm */
  readonly cols: readonly (keyof Dimensions)[];
  readonly perLayer: boolean;
}

const model = (rows: RoleShape['rows'], cols: RoleShape['cols']): RoleShape => ({ rows, cols, perLayer: false });
const layer = (rows: RoleShape['rows'], cols: RoleShape['cols']): RoleShape => ({ rows, cols, perLayer: true });

export const roleShapes: Readonly<Record<RoleName, RoleShape>> = {
  embed: model(['vocab'], ['width']),
  outputNorm: model([], ['width']),
  output: model(['vocab'], ['width']),
  attnNorm: layer([], ['width']),
  q: layer(['heads', 'headDim'], ['width']),
  k: layer(['kvHeads', 'headDim'], ['width']),
  v: layer(['kvHeads', 'headDim'], ['width']),
  o: layer(['width'], ['heads', 'headDim']),
  ffnNorm: layer([], ['width']),
  gate: layer(['ffn'], ['width']),
  up: layer(['ffn'], ['width']),
  down: layer(['width'], ['ffn']),
};

/** Rows and columns that a role's tensor has in a model of these numbers. */
export function shapeOf(role: RoleName, d: Dimensions): readonly [rows: number, cols: number] {
  const product = (of: readonly (keyof Dimensions)[]) => of.reduce((size, name) => size * d[name], 1);
  const { rows, cols } = roleShapes[role];
  return [product(rows), product(cols)];
}

/** How many tensors of a role a model has. */
export const countOf = (role: RoleName, d: Dimensions): number => (roleShapes[role].perLayer ? d.layers : 1);
