const f = Math.fround;
const cell = new Float32Array(1);
const bitsOf = new Int32Array(cell.buffer);
const bits = (x) => {
    cell[0] = x;
    return bitsOf[0];
};
const fromBits = (b) => {
    bitsOf[0] = b;
    return cell[0];
};
/** p(x) = c[0] x^n + … + c[n], rounded after each product and sum. */
function polynomial(x, coefficients) {
    let p = f(coefficients[0]);
    for (let i = 1; i < coefficients.length; i++)
        p = f(f(p * x) + f(coefficients[i]));
    return p;
}
const EXP = [1.98756915e-4, 1.39819995e-3, 8.33345191e-3, 4.16657962e-2, 1.66666657e-1, 0.5];
const LOG = [
    7.03768358e-2, -1.15146101e-1, 1.16769984e-1, -1.2420141e-1, 1.42493233e-1, -1.66680574e-1, 2.00007141e-1,
    -2.4999994e-1, 3.33333313e-1,
];
const LN2_HIGH = f(0.693359375);
const LN2_LOW = f(-2.1219444e-4);
/** Adding and taking off rounds to the nearest integer. */
const ROUND = f(12582912);
/**
 * e^x within 2 ulp; 0 below -87, infinity above 88.7228.
 * @example
 * score: (slot) => slot.mass * exp(-slot.age / 256)
 */
export function exp(x) {
    if (Number.isNaN(x))
        return x;
    if (x > f(88.7228))
        return Infinity;
    if (x < -87)
        return 0;
    const k = f(f(f(x * f(Math.LOG2E)) + ROUND) - ROUND);
    const r = f(f(x - f(k * LN2_HIGH)) - f(k * LN2_LOW));
    const y = f(f(f(polynomial(r, EXP) * f(r * r)) + r) + 1);
    return fromBits(bits(y) + k * (1 << 23));
}
/**
 * Natural logarithm within 2 ulp, for x above 0; 0 and subnormal numbers give -infinity, negative ones NaN.
 * @example
 * score: (slot) => log(slot.mass + 1)
 */
export function log(x) {
    if (Number.isNaN(x) || x === Infinity)
        return x;
    if (x < 0)
        return NaN;
    if (x < f(1.17549435e-38))
        return -Infinity;
    const b = bits(x);
    const m0 = fromBits((b & 0x007fffff) | 0x3f000000);
    const low = m0 < f(0.707106769);
    const e = (b >> 23) - 126 - (low ? 1 : 0);
    const m = low ? f(f(m0 + m0) - 1) : f(m0 - 1);
    const z = f(m * m);
    let y = f(f(polynomial(m, LOG) * m) * z);
    y = f(y + f(e * LN2_LOW));
    y = f(y - f(0.5 * z));
    return f(f(m + y) + f(e * LN2_HIGH));
}
/**
 * x^y for x >= 0 as exp(y log x); x^0 is 1, a negative x gives NaN. The relative error grows with the exponent it takes:
 * about (2 + 2 |y log x|) · 2^-23.
 * @example
 * score: (slot) => slot.mass * pow(0.98, slot.age)
 */
export function pow(x, y) {
    if (y === 0)
        return 1;
    if (x < 0)
        return NaN;
    return exp(f(y * log(x)));
}
/**
 * Logistic function 1 / (1 + e^-x) within 4 ulp: 0 … 1.
 * @example
 * score: (slot) => sigmoid(slot.mass - 1)
 */
export const sigmoid = (x) => f(1 / f(1 + exp(-x)));
/**
 * Hyperbolic tangent, -1 … 1, within 2e-7 of the true value; relative to it, the error grows towards 0.
 * @example
 * score: (slot) => tanh(slot.mass)
 */
export function tanh(x) {
    if (Number.isNaN(x))
        return x;
    const a = x < 0 ? -x : x;
    const t = f(1 - f(2 / f(exp(f(a + a)) + 1)));
    return x < 0 ? -t : t;
}
/**
 * Square root, rounded correctly; a negative x gives NaN.
 * @example
 * score: (slot) => sqrt(slot.mass)
 */
export const sqrt = (x) => f(Math.sqrt(x));
/**
 * The number without its sign.
 * @example
 * score: (slot) => -abs(slot.age - 512)
 */
export const abs = (x) => Math.abs(x);
/**
 * The largest whole number that is not above x.
 * @example
 * score: (slot) => floor(slot.pos / 16)
 */
export const floor = (x) => Math.floor(x);
/**
 * The smallest whole number that is not below x.
 * @example
 * score: (slot) => ceil(slot.mass * 100)
 */
export const ceil = (x) => Math.ceil(x);
/**
 * 1, -1, or x itself when it is 0 or NaN.
 * @example
 * score: (slot) => sign(slot.mass - 0.5)
 */
export const sign = (x) => (x > 0 ? 1 : x < 0 ? -1 : x);
/**
 * The smaller number: the first unless the second is smaller. NaN in the second is ignored, in the first it stays.
 * @example
 * score: (slot) => min(slot.mass, 1)
 */
export const min = (a, b) => (b < a ? b : a);
/**
 * The larger number: the first unless the second is larger. NaN in the second is ignored, in the first it stays.
 * @example
 * score: (slot) => slot.mass / max(slot.seen, 1)
 */
export const max = (a, b) => (b > a ? b : a);
/**
 * x, but no less than `low` and no more than `high`; NaN stays NaN.
 * @example
 * score: (slot) => clamp(slot.mass, 0, 1)
 */
export const clamp = (x, low, high) => min(max(x, low), high);
const numbers = (v) => v;
const vec = (v) => v;
/** 16 partial sums to one: lane i += lane i + 8, then + 4, + 2, + 1. */
function tree(lanes) {
    for (let width = 8; width >= 1; width /= 2)
        for (let l = 0; l < width; l++)
            lanes[l] += lanes[l + width];
    return lanes[0];
}
/**
 * Sum of the products of two vectors' elements: 16 interleaved partial sums in index order, then a tree.
 * @example
 * score: (slot) => dot(slot.key, slot.value)
 */
export function dot(a, b) {
    const [x, y] = [numbers(a), numbers(b)];
    const lanes = new Float32Array(16);
    for (let i = 0; i < x.length; i++)
        lanes[i % 16] += f(x[i] * y[i]);
    return tree(lanes);
}
/**
 * Euclidean length of a vector, from 0.
 * @example
 * score: (slot) => -norm(slot.key)
 */
export const norm = (a) => sqrt(dot(a, a));
/**
 * Sum of a vector's elements without their signs, from 0: in the order of `dot`.
 * @example
 * score: (slot) => slot.mass * norm1(slot.value)
 */
export const norm1 = (a) => total(numbers(a).map(Math.abs));
/** Sum of numbers in the order of `dot`. */
function total(x) {
    const lanes = new Float32Array(16);
    for (let i = 0; i < x.length; i++)
        lanes[i % 16] += x[i];
    return tree(lanes);
}
/**
 * Variance of a vector's elements, from 0: the squares of their distances from their mean, summed in the order of `dot`, over
 * head_dim - 1.
 * @example
 * score: (slot) => sqrt(variance(slot.key))
 */
export function variance(a) {
    const x = numbers(a);
    const middle = f(total(x) / x.length);
    return f(total(x.map((each) => f(each - middle) * f(each - middle))) / (x.length - 1));
}
/** The extreme of a vector's elements: sixteen interleaved ones in index order, then a tree; 0 for -0. */
function extreme(a, none, of) {
    const lanes = new Float32Array(16).fill(none);
    numbers(a).forEach((x, i) => {
        lanes[i % 16] = of(lanes[i % 16], x);
    });
    for (let width = 8; width >= 1; width /= 2)
        for (let l = 0; l < width; l++)
            lanes[l] = of(lanes[l], lanes[l + width]);
    return f(lanes[0] + 0);
}
/**
 * The largest element of a vector; NaN is left out.
 * @example
 * score: (slot) => highest(slot.value) - lowest(slot.value)
 */
export const highest = (a) => extreme(a, -Infinity, max);
/**
 * The smallest element of a vector; NaN is left out.
 * @example
 * score: (slot) => highest(slot.value) - lowest(slot.value)
 */
export const lowest = (a) => extreme(a, Infinity, min);
/**
 * Cosine of the angle between two vectors, -1 … 1; NaN when one is zero.
 * @example
 * across: { anchor: { mean: (slot) => slot.key } },
 * score: (slot, across) => -cosine(slot.key, across.anchor)
 */
export const cosine = (a, b) => f(dot(a, b) / f(norm(a) * norm(b)));
/**
 * A vector times a number: every element.
 * @example
 * across: { anchor: { mean: (slot) => scale(slot.key, 1 / norm(slot.key)) } },
 * score: (slot, across) => -dot(slot.key, across.anchor)
 */
export const scale = (a, s) => vec(numbers(a).map((x) => x * s));
/**
 * Two vectors' sum, element by element.
 * @example
 * score: (slot) => norm(add(slot.key, slot.value))
 */
export const add = (a, b) => vec(numbers(a).map((x, i) => x + numbers(b)[i]));
/**
 * Two vectors' difference, element by element.
 * @example
 * across: { middle: { mean: (slot) => slot.key } },
 * score: (slot, across) => norm(sub(slot.key, across.middle))
 */
export const sub = (a, b) => vec(numbers(a).map((x, i) => x - numbers(b)[i]));
/**
 * Two vectors' product, element by element; `dot` is its sum, `scale` the product with a number.
 * @example
 * score: (slot) => norm(mul(slot.key, slot.value))
 */
export const mul = (a, b) => vec(numbers(a).map((x, i) => x * numbers(b)[i]));
/**
 * Two vectors' quotient, element by element; what is divided by 0 is infinite, or NaN when it is 0 itself.
 * @example
 * across: { top: { max: (slot) => slot.key } },
 * score: (slot, across) => norm(div(slot.key, across.top))
 */
export const div = (a, b) => vec(numbers(a).map((x, i) => x / numbers(b)[i]));
