/** The numbers of a model as its file states them, before its tensors are looked at. */
import type { Activation } from '../contract/records.ts';
import type { Dimensions } from '../contract/roles.ts';
import type { LayerFacts } from './layers.ts';
import type { Rope } from './rope.ts';
import { ModelError } from './types.ts';

export interface ModelFacts extends Dimensions {
  readonly normEps: number;
  /** most tokens of a sequence that the model was made for */
  readonly maxPosition: number;
  readonly rope: Rope;
  /** of layers with a window, where it is another one */
  readonly windowRope?: Rope;
  /** positions that a query of a layer with a window sees */
  readonly window: number;
  /** [layers] */
  readonly layer: readonly LayerFacts[];
  readonly activation: keyof typeof Activation;
  readonly attentionScale: number;
  /** caps of logits in attention, and of tokens; 0: none */
  readonly attentionCap: number;
  readonly logitCap: number;
  readonly embedScale: number;
  readonly residualScale: number;
  readonly logitScale: number;
  /** names of optional tensors' flags that the file states */
  readonly flags: ReadonlyMap<string, boolean>;
  /** false: an output that is missing is a mistake; undefined: the file does not say */
  readonly tied?: boolean;
}

const limits = [
  ['layers', 1, 1024],
  ['width', 1, 1 << 17],
  ['heads', 1, 1024],
  ['kvHeads', 1, 1024],
  ['headDim', 16, 256],
  ['ffn', 1, 1 << 20],
  ['vocab', 1, 1 << 21],
  ['maxPosition', 1, 1 << 24],
  ['positions', 0, 1 << 24],
  ['window', 0, 2 ** 31 - 1],
] as const satisfies readonly [name: keyof ModelFacts, low: number, high: number][];

/** Where 0 is not sense, and where 0 says that there is none. */
const positive = ['attentionScale', 'embedScale', 'residualScale', 'logitScale'] as const;
const caps = ['attentionCap', 'logitCap'] as const;

/** Throws a ModelError for numbers that make no sense, would let later arithmetic overflow, or cannot be run. */
export function checkFacts(facts: ModelFacts, where: string): void {
  const { heads, kvHeads, headDim, normEps, rope, windowRope } = facts;
  const fail = (what: string): never => {
    throw new ModelError(`${where}: ${what}.`);
  };
  for (const [name, low, high] of limits) {
    const value = facts[name];
    if (!Number.isInteger(value) || value < low || value > high) fail(`${name} is ${value}, outside ${low} … ${high}`);
  }
  if (heads % kvHeads !== 0) fail(`${heads} query heads do not divide into ${kvHeads} KV heads`);
  if (headDim % 16 !== 0) fail(`a head size of ${headDim} is not supported: it must be a multiple of 16`);
  if (!(normEps > 0 && normEps < 1)) fail(`the norm's epsilon is ${normEps}`);
  for (const { dims, base } of [rope, windowRope ?? rope]) {
    if (!(dims >= 2 && dims <= headDim && dims % 2 === 0))
      fail(`RoPE on ${dims} of ${headDim} dimensions makes no sense`);
    if (dims !== rope.dims)
      fail(`RoPE on ${dims} dimensions in layers with a window, ${rope.dims} in others, is not supported`);
    if (!(base > 1 && Number.isFinite(base))) fail(`RoPE's base is ${base}`);
  }
  for (const name of [...positive, ...caps]) {
    const value = facts[name];
    const fits = value > 0 || (value === 0 && (caps as readonly string[]).includes(name));
    if (!fits || !Number.isFinite(value)) fail(`${name} is ${value}`);
  }
}
