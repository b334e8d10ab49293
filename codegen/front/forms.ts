/** TypeScript's operators and forms: what the language makes of them, and what to write instead of those it refuses. */
import { SyntaxKind } from 'ts-morph';
import type { BinaryOp, Type } from '../ir/nodes.ts';

interface Operator {
  readonly fn: BinaryOp;
  readonly from: Type;
  readonly to: Type;
}

export const operators: Partial<Record<SyntaxKind, Operator>> = {
  [SyntaxKind.PlusToken]: { fn: 'add', from: 'f32', to: 'f32' },
  [SyntaxKind.MinusToken]: { fn: 'sub', from: 'f32', to: 'f32' },
  [SyntaxKind.AsteriskToken]: { fn: 'mul', from: 'f32', to: 'f32' },
  [SyntaxKind.SlashToken]: { fn: 'div', from: 'f32', to: 'f32' },
  [SyntaxKind.LessThanToken]: { fn: 'lt', from: 'f32', to: 'bool' },
  [SyntaxKind.LessThanEqualsToken]: { fn: 'le', from: 'f32', to: 'bool' },
  [SyntaxKind.GreaterThanToken]: { fn: 'gt', from: 'f32', to: 'bool' },
  [SyntaxKind.GreaterThanEqualsToken]: { fn: 'ge', from: 'f32', to: 'bool' },
  [SyntaxKind.EqualsEqualsEqualsToken]: { fn: 'eq', from: 'f32', to: 'bool' },
  [SyntaxKind.ExclamationEqualsEqualsToken]: { fn: 'ne', from: 'f32', to: 'bool' },
  [SyntaxKind.AmpersandAmpersandToken]: { fn: 'and', from: 'bool', to: 'bool' },
  [SyntaxKind.BarBarToken]: { fn: 'or', from: 'bool', to: 'bool' },
};

/** Hints for refused operators and forms. */
export const instead: Partial<Record<SyntaxKind, string>> = {
  [SyntaxKind.EqualsEqualsToken]: 'use ===',
  [SyntaxKind.ExclamationEqualsToken]: 'use !==',
  [SyntaxKind.AsteriskAsteriskToken]: 'use pow(x, y)',
  [SyntaxKind.PercentToken]: 'use x - n * floor(x / n): the sign of % differs between languages',
  [SyntaxKind.QuestionQuestionToken]: 'no value of the language can be missing: drop the ??',
  [SyntaxKind.CommaToken]: 'write one expression',
  [SyntaxKind.BarToken]: 'numbers are f32: use floor(x), min, max',
  [SyntaxKind.AmpersandToken]: 'numbers are f32: use floor(x), min, max',
  [SyntaxKind.PlusToken]: 'drop the +',
  [SyntaxKind.ArrowFunction]: 'move the function to the top of the file, as a const or a function',
  [SyntaxKind.FunctionExpression]: 'move the function to the top of the file, as a const or a function',
  [SyntaxKind.FunctionDeclaration]: 'move the function to the top of the file',
  [SyntaxKind.ElementAccessExpression]:
    'write slot.name; vectors are read whole, with dot, norm, cosine; a table is a const list of numbers, or JSON that is imported',
  [SyntaxKind.AsExpression]: 'drop the `as`',
  [SyntaxKind.NonNullExpression]: 'drop the !',
  [SyntaxKind.SwitchStatement]: 'use if with return, or ?:',
  [SyntaxKind.TryStatement]: 'nothing here can throw',
  [SyntaxKind.ArrayLiteralExpression]: 'name each value with a const',
  [SyntaxKind.ObjectLiteralExpression]: 'name each value with a const',
};

/** What to write where an operator meets a vector; `a` and `b` are the operands' texts. */
export function forVectors(operator: string, a: string, b: string, vectors: [boolean, boolean]): string {
  const [vector, other] = vectors[0] ? [a, b] : [b, a];
  const both = vectors[0] && vectors[1];
  switch (operator) {
    case '*':
      return both ? `dot(${a}, ${b}) is a number, mul(${a}, ${b}) a vector` : `scale(${vector}, ${other})`;
    case '/':
      if (both) return `div(${a}, ${b})`;
      return vectors[1] ? 'a number is not divided by a vector' : `scale(${a}, 1 / ${b})`;
    case '+':
    case '-':
      if (both) return `${operator === '+' ? 'add' : 'sub'}(${a}, ${b})`;
      return 'add and sub take two vectors; scale multiplies one by a number';
    default:
      return `norm(${vector}) is a number`;
  }
}

/** Plain words for types. */
export const says: Readonly<Record<Type, string>> = { f32: 'a number', bool: 'a boolean', vec: 'a vector' };

/** How states and statistics are written. */
export const stateForms =
  '{ init: 0, next: (state, slot) => … }, { last: 400, sum: (slot) => … } or { once: (slot) => … }';
export const statisticForms =
  "{ mean: (slot) => … }, or sum, max, min; { nth: 8, of: (slot) => … }; max and min with partition: 'next'; { softmax: (slot, across) => … }, or rank";

/** What a table is. */
export const tableHint =
  'a table is a const list of numbers, or JSON that is imported: [0.5, 1] by layer, [[0.5, 1], [0.2, 0.9]] by layer and KV head';

export const stateHint = 'use const; what must be remembered between queries is a state of accumulate';
