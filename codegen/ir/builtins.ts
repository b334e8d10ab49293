/** The builtins of dsl/math.ts as the compiler sees them: signature, host function, and the targets' function. */
import * as math from '../../dsl/math.ts';
import type { Type } from './nodes.ts';

export interface Builtin {
  readonly args: readonly Type[];
  readonly result: Type;
  /** name in templates/shared/scalar.hpp, or vector.hpp, whose functions take head_dim as a last argument */
  readonly target: string;
}

const of = (args: string, result: Type, target: string): Builtin => ({
  args: args.split(' ') as Type[],
  result,
  target,
});

export const builtins = {
  exp: of('f32', 'f32', 'skv_exp'),
  log: of('f32', 'f32', 'skv_log'),
  pow: of('f32 f32', 'f32', 'skv_pow'),
  sigmoid: of('f32', 'f32', 'skv_sigmoid'),
  tanh: of('f32', 'f32', 'skv_tanh'),
  sqrt: of('f32', 'f32', 'skv_sqrt'),
  abs: of('f32', 'f32', 'skv_abs'),
  floor: of('f32', 'f32', 'skv_floor'),
  ceil: of('f32', 'f32', 'skv_ceil'),
  sign: of('f32', 'f32', 'skv_sign'),
  min: of('f32 f32', 'f32', 'skv_min'),
  max: of('f32 f32', 'f32', 'skv_max'),
  clamp: of('f32 f32 f32', 'f32', 'skv_clamp'),
  dot: of('vec vec', 'f32', 'skv_dot'),
  norm: of('vec', 'f32', 'skv_norm'),
  cosine: of('vec vec', 'f32', 'skv_cosine'),
  norm1: of('vec', 'f32', 'skv_norm1'),
  variance: of('vec', 'f32', 'skv_variance'),
  highest: of('vec', 'f32', 'skv_highest'),
  lowest: of('vec', 'f32', 'skv_lowest'),
  scale: of('vec f32', 'vec', 'skv_scale'),
  add: of('vec vec', 'vec', 'skv_add'),
  sub: of('vec vec', 'vec', 'skv_sub'),
  mul: of('vec vec', 'vec', 'skv_mul'),
  div: of('vec vec', 'vec', 'skv_div'),
} as const satisfies Record<keyof typeof math, Builtin>;

export const builtin = (name: string): Builtin | undefined => (builtins as Record<string, Builtin>)[name];

/** The host's implementation: bit for bit what the targets compute. */
export const onHost = (name: string): ((...args: never[]) => unknown) =>
  (math as Record<string, unknown>)[name] as never;
