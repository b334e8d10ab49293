/**
 * The language's mathematics, runnable on the host. Every operation rounds to f32, and `templates/shared` has the same operations
 * in the same order (`scalar.hpp`, `vector.hpp`): a policy gives the same bits in JavaScript, in the interpreter and in generated code.
 */
import type { Vec } from './slot.js';
/**
 * e^x within 2 ulp; 0 below -87, infinity above 88.7228.
 * @example
 * score: (slot) => slot.mass * exp(-slot.age / 256)
 */
export declare function exp(x: number): number;
/**
 * Natural logarithm within 2 ulp, for x above 0; 0 and subnormal numbers give -infinity, negative ones NaN.
 * @example
 * score: (slot) => log(slot.mass + 1)
 */
export declare function log(x: number): number;
/**
 * x^y for x >= 0 as exp(y log x); x^0 is 1, a negative x gives NaN. The relative error grows with the exponent it takes:
 * about (2 + 2 |y log x|) · 2^-23.
 * @example
 * score: (slot) => slot.mass * pow(0.98, slot.age)
 */
export declare function pow(x: number, y: number): number;
/**
 * Logistic function 1 / (1 + e^-x) within 4 ulp: 0 … 1.
 * @example
 * score: (slot) => sigmoid(slot.mass - 1)
 */
export declare const sigmoid: (x: number) => number;
/**
 * Hyperbolic tangent, -1 … 1, within 2e-7 of the true value; relative to it, the error grows towards 0.
 * @example
 * score: (slot) => tanh(slot.mass)
 */
export declare function tanh(x: number): number;
/**
 * Square root, rounded correctly; a negative x gives NaN.
 * @example
 * score: (slot) => sqrt(slot.mass)
 */
export declare const sqrt: (x: number) => number;
/**
 * The number without its sign.
 * @example
 * score: (slot) => -abs(slot.age - 512)
 */
export declare const abs: (x: number) => number;
/**
 * The largest whole number that is not above x.
 * @example
 * score: (slot) => floor(slot.pos / 16)
 */
export declare const floor: (x: number) => number;
/**
 * The smallest whole number that is not below x.
 * @example
 * score: (slot) => ceil(slot.mass * 100)
 */
export declare const ceil: (x: number) => number;
/**
 * 1, -1, or x itself when it is 0 or NaN.
 * @example
 * score: (slot) => sign(slot.mass - 0.5)
 */
export declare const sign: (x: number) => number;
/**
 * The smaller number: the first unless the second is smaller. NaN in the second is ignored, in the first it stays.
 * @example
 * score: (slot) => min(slot.mass, 1)
 */
export declare const min: (a: number, b: number) => number;
/**
 * The larger number: the first unless the second is larger. NaN in the second is ignored, in the first it stays.
 * @example
 * score: (slot) => slot.mass / max(slot.seen, 1)
 */
export declare const max: (a: number, b: number) => number;
/**
 * x, but no less than `low` and no more than `high`; NaN stays NaN.
 * @example
 * score: (slot) => clamp(slot.mass, 0, 1)
 */
export declare const clamp: (x: number, low: number, high: number) => number;
/**
 * Sum of the products of two vectors' elements: 16 interleaved partial sums in index order, then a tree.
 * @example
 * score: (slot) => dot(slot.key, slot.value)
 */
export declare function dot(a: Vec, b: Vec): number;
/**
 * Euclidean length of a vector, from 0.
 * @example
 * score: (slot) => -norm(slot.key)
 */
export declare const norm: (a: Vec) => number;
/**
 * Sum of a vector's elements without their signs, from 0: in the order of `dot`.
 * @example
 * score: (slot) => slot.mass * norm1(slot.value)
 */
export declare const norm1: (a: Vec) => number;
/**
 * Variance of a vector's elements, from 0: the squares of their distances from their mean, summed in the order of `dot`, over
 * head_dim - 1.
 * @example
 * score: (slot) => sqrt(variance(slot.key))
 */
export declare function variance(a: Vec): number;
/**
 * The largest element of a vector; NaN is left out.
 * @example
 * score: (slot) => highest(slot.value) - lowest(slot.value)
 */
export declare const highest: (a: Vec) => number;
/**
 * The smallest element of a vector; NaN is left out.
 * @example
 * score: (slot) => highest(slot.value) - lowest(slot.value)
 */
export declare const lowest: (a: Vec) => number;
/**
 * Cosine of the angle between two vectors, -1 … 1; NaN when one is zero.
 * @example
 * across: { anchor: { mean: (slot) => slot.key } },
 * score: (slot, across) => -cosine(slot.key, across.anchor)
 */
export declare const cosine: (a: Vec, b: Vec) => number;
/**
 * A vector times a number: every element.
 * @example
 * across: { anchor: { mean: (slot) => scale(slot.key, 1 / norm(slot.key)) } },
 * score: (slot, across) => -dot(slot.key, across.anchor)
 */
export declare const scale: (a: Vec, s: number) => Vec;
/**
 * Two vectors' sum, element by element.
 * @example
 * score: (slot) => norm(add(slot.key, slot.value))
 */
export declare const add: (a: Vec, b: Vec) => Vec;
/**
 * Two vectors' difference, element by element.
 * @example
 * across: { middle: { mean: (slot) => slot.key } },
 * score: (slot, across) => norm(sub(slot.key, across.middle))
 */
export declare const sub: (a: Vec, b: Vec) => Vec;
/**
 * Two vectors' product, element by element; `dot` is its sum, `scale` the product with a number.
 * @example
 * score: (slot) => norm(mul(slot.key, slot.value))
 */
export declare const mul: (a: Vec, b: Vec) => Vec;
/**
 * Two vectors' quotient, element by element; what is divided by 0 is infinite, or NaN when it is 0 itself.
 * @example
 * across: { top: { max: (slot) => slot.key } },
 * score: (slot, across) => norm(div(slot.key, across.top))
 */
export declare const div: (a: Vec, b: Vec) => Vec;
