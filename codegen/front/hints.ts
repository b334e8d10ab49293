/** What to do about a complaint of TypeScript's, where its message alone does not say it. */
import { Node as Ast, type ObjectLiteralExpression } from 'ts-morph';
import { nearest } from '../../toolchain/words.ts';
import { lasting, slotNames } from '../ir/nodes.ts';
import { listOf, nameOf } from './constant.ts';
import { stateForms, statisticForms, tableHint } from './forms.ts';

export interface Advice {
  /** in place of TypeScript's words, where they are not an author's */
  readonly message?: string;
  readonly hint: string;
}

/** The initializer of a policy's field, as an object. */
const membersOf = (policy: ObjectLiteralExpression | undefined, field: string) => {
  const property = policy?.getProperty(field);
  const value = Ast.isPropertyAssignment(property) ? property.getInitializer() : undefined;
  return Ast.isObjectLiteralExpression(value) ? value.getProperties().filter(Ast.isPropertyAssignment) : [];
};

/** The property assignment around a node that is a member of `accumulate` or `across`, with the field's name. */
function entryOf(node: Ast): [field: string, entry: string] | undefined {
  const found = node.getAncestors().filter(Ast.isPropertyAssignment);
  const i = found.findIndex((each) => ['accumulate', 'across'].includes(nameOf(each)));
  const inner = i > 0 ? found[i - 1] : undefined;
  return inner && [nameOf(found[i]), nameOf(inner)];
}

const forms: Readonly<Record<string, string>> = { accumulate: stateForms, across: statisticForms };

/** Words in quotes that are no parameter's name. */
const others = new Set(['special', 'punctuation', 'protected', 'decode', 'every', 'next']);

/** A name in quotes where it does not fit: of no parameter, or of one that counts something else. */
function misnamed(text: string, node: Ast, policy: ObjectLiteralExpression | undefined): Advice | undefined {
  const wanted = text.match(
    /^Type '(?:string|"[^"]*")' is not assignable to type '((?:(?:number|undefined|"[^"]*")(?: \| )?)+)'\.(?: Did you mean .*)?$/,
  );
  const parts = wanted?.[1].split(' | ').filter((part) => part !== 'undefined') ?? [];
  if (!parts.includes('number') || Ast.isArrayLiteralExpression(node.getParent())) return undefined;
  const fits = parts.filter((part) => part !== 'number').map((part) => part.slice(1, -1));
  const [states, params] = ['accumulate', 'params'].map((field) => membersOf(policy, field));
  const place = Ast.isStringLiteral(node) ? node : node.getParent()!;
  const names = [place, ...place.getDescendants()]
    .filter(Ast.isStringLiteral)
    .filter((each) => each.getFirstAncestor(Ast.isArrowFunction) === undefined)
    .map((each) => each.getLiteralValue())
    .filter((name) => !fits.includes(name) && !others.has(name) && !states.some((each) => nameOf(each) === name));
  const declared = params.find((each) => names.includes(nameOf(each)));
  if (names.length === 0) return undefined;
  const [kind] = declared?.getInitializer()?.getText().match(/^\w+/) ?? [];
  return {
    message: declared
      ? `${nameOf(declared)} is a parameter of ${kind}(…), which does not fit here.`
      : `There is no parameter ${names[0]}.`,
    hint: fits.length
      ? `a number, or one of ${fits.join(', ')}`
      : 'a number, or the name of a parameter that fits: params: { … }',
  };
}

/** A table that is none, where one of its numbers is needed. */
function ofTable(node: Ast): Advice | undefined {
  const around = Ast.isPropertyAssignment(node.getParent()) ? node.getParent()! : node;
  const read =
    node.getAncestors().findLast(Ast.isElementAccessExpression) ??
    [around, ...around.getDescendants()].find(Ast.isElementAccessExpression);
  if (!read) return undefined;
  let base: Ast = read;
  let depth = 0;
  for (; Ast.isElementAccessExpression(base); base = base.getExpression()) depth++;
  const list = listOf(base);
  const rows = list?.getElements() ?? [];
  const numbers = rows.flatMap((row) => (Ast.isArrayLiteralExpression(row) ? row.getElements() : [row]));
  const odd = numbers.find((each) => !each.getType().isNumber() && !each.getType().isNumberLiteral());
  const text = base.getText();
  if (!list) return { message: `${text} is no table.`, hint: tableHint };
  if (odd)
    return {
      message: `${text} has an element that is no number${odd.getText() && `: ${odd.getText()}`}.`,
      hint: tableHint,
    };
  const deep = rows.some(Ast.isArrayLiteralExpression) ? 2 : 1;
  if (depth === deep && rows.every((row) => Ast.isArrayLiteralExpression(row) === (deep === 2))) return undefined;
  return {
    message: `${text} is not read as it is written.`,
    hint: `by layer: ${text}[slot.layer]; by layer and KV head, a list of lists of one length: ${text}[slot.layer][slot.head]`,
  };
}

/** Types that meet often where they do not fit. */
const plain: readonly [RegExp, string][] = [
  [/^Cannot find module '\./, "a path begins at this file's folder and has its ending: './mine.json', './helpers.ts'"],
  [/is not assignable to type 'Param'\.$/, 'tokens(512), fraction(0.25) or number(1)'],
  [/^Type 'Vec' is not assignable to type 'number'/, 'norm(v), dot(v, w) and highest(v) are numbers'],
  [/^Type 'boolean' is not assignable to type 'number/, 'condition ? 1 : 0'],
  [
    /^Type 'PoolRule' is not/,
    'mean and peak are for pool; a mean over slots is a statistic: across: { level: { mean: (slot) => … } }',
  ],
];

/** Advice for a complaint at a node of this policy; undefined where TypeScript's words do. */
export function adviceOn(text: string, node: Ast, policy: ObjectLiteralExpression | undefined): Advice | undefined {
  const [, missing] = text.match(/^Property '(\w+)' does not exist on type 'NewSlot'/) ?? [];
  if (missing)
    return {
      message: `slot.${missing} may be another number later: what is computed once reads what never changes.`,
      hint: `read ${[...lasting].join(', ')}, or read slot.${missing} in the score`,
    };
  const [, unknown] = text.match(/^Property '(\w+)' does not exist on type 'Record<never, never>'/) ?? [];
  if (unknown && policy?.getProperty('across'))
    return { message: `No statistic ${unknown} is known yet.`, hint: 'write across above score' };
  if (unknown)
    return { message: `There is no statistic ${unknown}.`, hint: `across: { ${unknown}: { mean: (slot) => … } }` };
  const [, takes, given] = text.match(/too few arguments\. Expected (\d+) or more, but got (\d+)/) ?? [];
  if (takes)
    return {
      message: `This function takes ${takes} values; it is given ${given}.`,
      hint: 'score, softmax and rank are given (slot, across), next (state, slot), all others (slot)',
    };
  const [, field] = text.match(/^Property '(\w+)' does not exist on type 'PolicySlot</) ?? [];
  if (field) {
    const known = [...slotNames, ...membersOf(policy, 'accumulate').map(nameOf)];
    const near = nearest(field, known);
    return {
      message: `slot has no ${field}.`,
      hint: near ? `did you mean ${near}?` : `it has ${known.join(', ')}`,
    };
  }
  const entry = entryOf(node);
  const [, absent] = text.match(/^Property '(\w+)' is missing in type/) ?? [];
  if (entry && absent) return { message: `${entry[1]} has no ${absent}.`, hint: forms[entry[0]] };
  if (entry && /^Object literal may only specify known properties|is not assignable to type '\(slot/.test(text))
    return { message: `${entry[1]} is written in no way that is known.`, hint: forms[entry[0]] };
  const particular =
    misnamed(text, node, policy) ?? (/^Type '|^No index signature/.test(text) ? ofTable(node) : undefined);
  const [, hint] = plain.find(([pattern]) => pattern.test(text)) ?? [];
  return particular ?? (hint === undefined ? undefined : { hint });
}
