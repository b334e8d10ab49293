/**
 * The language's mathematics, runnable on the host. Every operation rounds to f32, and `templates/shared/scalar.hpp` has the same
 * operations in the same order: a policy gives the same bits in JavaScript, in the interpreter and in generated code.
 */
import type { Vec } from './slot.js';
/** e^x within 2 ulp; 0 below -87, infinity above 88.7228. */
export declare function exp(x: number): number;
/** Natural logarithm within 2 ulp; subnormal numbers count as 0, negative ones give NaN. */
export declare function log(x: number): number;
/**
 * x^y for x >= 0 as exp(y log x); x^0 is 1, a negative x gives NaN. The relative error grows with the exponent it takes:
 * about (2 + 2 |y log x|) · 2^-23.
 */
export declare function pow(x: number, y: number): number;
/** Logistic function within 4 ulp. */
export declare const sigmoid: (x: number) => number;
/** Within 2e-7 of the true value; relative to it, the error grows towards 0. */
export declare function tanh(x: number): number;
export declare const sqrt: (x: number) => number;
export declare const abs: (x: number) => number;
export declare const floor: (x: number) => number;
export declare const ceil: (x: number) => number;
/** 1, -1, or x itself when it is 0 or NaN. */
export declare const sign: (x: number) => number;
/** The first argument unless the second is smaller: NaN in the second is ignored, in the first it stays. */
export declare const min: (a: number, b: number) => number;
/** The first argument unless the second is larger. */
export declare const max: (a: number, b: number) => number;
export declare const clamp: (x: number, low: number, high: number) => number;
/** Sum of products: 16 interleaved partial sums in index order, then a tree. */
export declare function dot(a: Vec, b: Vec): number;
/** Euclidean length. */
export declare const norm: (a: Vec) => number;
/** Cosine of the angle between two vectors; NaN when one is zero. */
export declare const cosine: (a: Vec, b: Vec) => number;
export declare const scale: (a: Vec, s: number) => Vec;
export declare const add: (a: Vec, b: Vec) => Vec;
export declare const sub: (a: Vec, b: Vec) => Vec;
/** Element by element. */
export declare const mul: (a: Vec, b: Vec) => Vec;
