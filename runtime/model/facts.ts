/** The numbers of a model as its file states them, before its tensors are looked at. */
import type { Dimensions } from '../contract/roles.ts';
import type { Rope } from './rope.ts';
import { ModelError } from './types.ts';

export interface ModelFacts extends Dimensions {
  readonly normEps: number;
  /** most tokens of a sequence that the model was made for */
  readonly maxPosition: number;
  readonly rope: Rope;
  /** false: an output that is missing is a mistake; undefined: the file does not say */
  readonly tied?: boolean;
}

const limits: readonly [name: Exclude<keyof ModelFacts, 'rope' | 'tied'>, low: number, high: number][] = [
  ['layers', 1, 1024],
  ['width', 1, 1 << 17],
  ['heads', 1, 1024],
  ['kvHeads', 1, 1024],
  ['headDim', 16, 256],
  ['ffn', 1, 1 << 20],
  ['vocab', 1, 1 << 21],
  ['maxPosition', 1, 1 << 24],
];

/** Throws a ModelError for numbers that make no sense, would let later arithmetic overflow, or cannot be run. */
export function checkFacts(facts: ModelFacts, where: string): void {
  const { heads, kvHeads, headDim, normEps, rope } = facts;
  const fail = (what: string): never => {
    throw new ModelError(`${where}: ${what}.`);
  };
  for (const [name, low, high] of limits) {
    const value = facts[name];
    if (!Number.isInteger(value) || value < low || value > high) fail(`${name} is ${value}, outside ${low} … ${high}`);
  }
  if (heads % kvHeads !== 0) fail(`${heads} query heads do not divide into ${kvHeads} KV heads`);
  if (headDim % 16 !== 0) fail(`a head size of ${headDim} is not supported: it must be a multiple of 16`);
  if (rope.dims !== headDim) fail(`RoPE on ${rope.dims} of ${headDim} dimensions is not supported`);
  if (!(normEps > 0 && normEps < 1)) fail(`the norm's epsilon is ${normEps}`);
  if (!(rope.base > 1 && Number.isFinite(rope.base))) fail(`RoPE's base is ${rope.base}`);
}
