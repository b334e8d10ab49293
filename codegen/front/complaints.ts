/**
 * TypeScript's own complaints, in an author's words: what follows from another complaint is left out, and of a chain the
 * last link, which says it, is enough.
 */
import {
  Node as Ast,
  type CallExpression,
  type Diagnostic,
  type ObjectLiteralExpression,
  type SourceFile,
  type Type,
  ts,
} from 'ts-morph';
import { nearest } from '../../toolchain/words.ts';
import type { Collector } from '../ir/diagnostics.ts';
import type { Span } from '../ir/nodes.ts';
import { declaredIn, definition } from './constant.ts';
import { forVectors } from './forms.ts';
import { adviceOn } from './hints.ts';

/** Codes of TypeScript that are told in other words. */
const UNKNOWN_FIELD = [2353, 2561];
const OPERAND = [2362, 2363, 2365];
const NO_SUCH_NAME = [2339, 2551];
const NOT_ASSIGNABLE = [2322, 2345];
const MISSING_FIELD = [2345, 2739, 2740, 2741];
const NO_MODULE = 2307;
const implicitAny = (code: number): boolean => code >= 7000 && code < 7100;

/** One complaint, with the node it is about. */
interface Complaint {
  readonly code: number;
  readonly node: Ast;
  readonly start: number;
  readonly length: number;
  readonly text: string;
  /** two of one operation have the same */
  readonly operation?: Ast;
}

interface Said {
  readonly message: string;
  readonly hint?: string;
  /** where later stages have nothing to add, when it is larger than the place itself */
  readonly covers?: Ast;
  /** where the caret stands, when it is not the place itself */
  readonly at?: Ast;
}

const isDefinePolicy = (call: CallExpression): boolean =>
  declaredIn('policy.ts', definition(call.getExpression())) === 'definePolicy';

/** Reports a file's complaints as type errors. */
export function complain(source: SourceFile, errors: Collector): void {
  const all = source.getPreEmitDiagnostics().map((diagnostic) => complaint(diagnostic, source));
  const plain = source.getFilePath().match(/\.[cm]?js$/) !== null;
  for (const [i, each] of all.entries()) {
    if (plain && implicitAny(each.code)) continue; // JavaScript has no other way to write it
    if (follows(each, all, i)) {
      errors.leave(placeOf(each));
      continue;
    }
    const { message, hint, covers, at } = said(each);
    const span = at ? place(at) : placeOf(each);
    if (each.code === NO_MODULE) leaveImported(each.node, errors);
    errors.report('type-error', span, `TS${each.code}: ${message}`, hint, covers ? place(covers) : span);
  }
}

function complaint(diagnostic: Diagnostic, source: SourceFile): Complaint {
  const start = diagnostic.getStart() ?? 0;
  const text = diagnostic.getMessageText();
  const node = source.getDescendantAtPos(start) ?? source;
  const code = diagnostic.getCode();
  return {
    code,
    node,
    start,
    length: Math.max(1, diagnostic.getLength() ?? 1),
    text: typeof text === 'string' ? text : lastOf(text.compilerObject),
    operation: OPERAND.includes(code) ? operationAt(node, start) : undefined,
  };
}

/** What an import that found no file would have brought: its uses are no mistakes of their own. */
function leaveImported(at: Ast, errors: Collector): void {
  const declaration = at.getFirstAncestor(Ast.isImportDeclaration);
  const names = declaration?.getDescendants().filter(Ast.isIdentifier) ?? [];
  for (const name of names)
    for (const use of name.findReferencesAsNodes()) {
      const read = use
        .getAncestors()
        .filter((each) => Ast.isElementAccessExpression(each) || Ast.isPropertyAccessExpression(each));
      errors.leave(place(read.at(-1) ?? use));
    }
}

/** The last link of a chained message. */
function lastOf(message: ts.DiagnosticMessageChain): string {
  let link = message;
  while (link.next?.[0]) link = link.next[0];
  return link.messageText;
}

/** The binary operation one of whose operands begins there. */
const operationAt = (node: Ast, start: number): Ast | undefined =>
  node.getAncestors().find((each) => {
    if (!Ast.isBinaryExpression(each)) return false;
    return each.getStart() === start || each.getRight().getStart() === start;
  });

/** The member of an object literal whose name a complaint is about. */
const memberOf = ({ node, start }: Complaint) => {
  const member = node.getParent();
  return (Ast.isPropertyAssignment(member) || Ast.isShorthandPropertyAssignment(member)) && member.getStart() === start
    ? member
    : undefined;
};

/** The policy that a place is in. */
const policyOf = (node: Ast) =>
  node.getAncestors().find((each) => {
    const call = each.getParent();
    return Ast.isObjectLiteralExpression(each) && Ast.isCallExpression(call) && isDefinePolicy(call);
  }) as ObjectLiteralExpression | undefined;

/** Whether a complaint of a policy comes of types that TypeScript could not infer, because of what another one says. */
function uninferred(each: Complaint, cause: Complaint): boolean {
  if (implicitAny(cause.code)) return false;
  const policy = policyOf(each.node);
  if (!policy || policyOf(cause.node) !== policy) return false;
  if (implicitAny(each.code)) return true;
  const within = (field: string, { start }: Complaint) => {
    const member = policy.getProperty(field);
    return member !== undefined && start >= member.getStart() && start < member.getEnd();
  };
  if (!within('score', each) || within('score', cause)) return false;
  if (/on type 'Record<never, never>'/.test(each.text)) return policy.getProperty('across') !== undefined;
  return (
    within('across', cause) &&
    NOT_ASSIGNABLE.includes(each.code) &&
    /^Type 'Vec'|^Argument of type 'Vec'/.test(each.text)
  );
}

/** Whether a complaint is there only because of another one. */
function follows(each: Complaint, all: readonly Complaint[], index: number): boolean {
  return all.some((cause, i) => {
    if (cause === each) return false;
    if (uninferred(each, cause)) return true;
    const within = each.start <= cause.start && cause.start + cause.length <= each.start + each.length;
    if (cause.operation) {
      if (each.operation === cause.operation) return i < index;
      return NOT_ASSIGNABLE.includes(each.code) && within;
    }
    const member = UNKNOWN_FIELD.includes(cause.code) ? memberOf(cause) : undefined;
    if (!member) return false;
    if (implicitAny(each.code)) return each.start > member.getStart() && each.start < member.getEnd();
    return NO_SUCH_NAME.includes(each.code) && namesIn(member).includes(each.node.getText());
  });
}

/** What a mistaken field would have declared: the names of its members. */
function namesIn(member: Ast): string[] {
  const value = Ast.isPropertyAssignment(member) ? member.getInitializer() : undefined;
  if (!Ast.isObjectLiteralExpression(value)) return [];
  return value.getProperties().flatMap((each) => (Ast.isPropertyNamed(each) ? [each.getName()] : []));
}

function said(each: Complaint): Said {
  const particular =
    (UNKNOWN_FIELD.includes(each.code) && unknownField(each)) ||
    (MISSING_FIELD.includes(each.code) && missingField(each)) ||
    (each.operation && onVectors(each.operation)) ||
    (NOT_ASSIGNABLE.includes(each.code) && negated(each));
  if (particular) return particular;
  const message = each.text.replace(/import\("[^"]*"\)\./g, '');
  return { message, ...adviceOn(each.text, each.node, policyOf(each.node)), covers: memberOf(each) };
}

/** A field that there is not. */
function unknownField(each: Complaint): Said | undefined {
  const member = memberOf(each);
  const literal = member?.getParent();
  if (!member || !Ast.isObjectLiteralExpression(literal)) return undefined;
  const type = literal.getContextualType();
  const fields = fieldsOf(type);
  const owner = literal.getParent();
  if (fields.length === 0 && type && partsOf(type).some(isList))
    return { message: 'This is a list.', hint: '[ … ]', covers: literal, at: literal };
  if (fields.length === 0) return undefined;
  const where = Ast.isPropertyAssignment(owner) ? `${owner.getName()} has` : 'There is';
  const near = nearest(member.getName(), fields);
  return {
    message: `${where} no field ${member.getName()}.`,
    hint: near ? `did you mean ${near}?` : `the fields are ${fields.join(', ')}`,
    covers: member,
  };
}

const partsOf = (type: Type): Type[] => (type.isUnion() ? type.getUnionTypes() : [type]);
const isList = (type: Type): boolean => type.isArray() || type.isReadonlyArray() || type.isTuple();

/** Names of the fields that objects of a type have. */
const fieldsOf = (type: Type | undefined): string[] => {
  const objects = type ? partsOf(type).filter((part) => part.isObject() && !isList(part)) : [];
  return [...new Set(objects.flatMap((part) => part.getProperties().map((property) => property.getName())))];
};

const examples: Readonly<Record<string, [what: string, hint: string]>> = {
  keep: ['which slots stay', 'keep: topK(512), above(0.001), chunks(16, 512), profile(0.95, …) or everything'],
  name: ['what flags and requests call it', "name: 'mine'"],
};

/** A policy without a field that it must have. */
function missingField({ node, start }: Complaint): Said | undefined {
  const literal = node.getParentWhile(
    (_, child) => child.getStart() === start && !Ast.isObjectLiteralExpression(child),
  );
  const object = Ast.isObjectLiteralExpression(literal) ? literal : literal?.getParent();
  const call = object?.getParent();
  if (!Ast.isObjectLiteralExpression(object) || !Ast.isCallExpression(call)) return undefined;
  if (!isDefinePolicy(call)) return undefined;
  const missing = Object.keys(examples).filter((name) => !object.getProperty(name));
  if (missing.length === 0) return undefined;
  return {
    message: missing.map((name) => `The policy has no ${name}: ${examples[name][0]}.`).join(' '),
    hint: missing.map((name) => examples[name][1]).join('; '),
    at: call.getExpression(),
  };
}

const isVector = (node: Ast | undefined): boolean => node?.getType().getSymbol()?.getName() === 'Vec';

/** Arithmetic with a vector. */
function onVectors(operation: Ast): Said | undefined {
  if (!Ast.isBinaryExpression(operation)) return undefined;
  const [a, b] = [operation.getLeft(), operation.getRight()];
  const vectors: [boolean, boolean] = [isVector(a), isVector(b)];
  if (!vectors[0] && !vectors[1]) return undefined;
  const operator = operation.getOperatorToken().getText();
  return {
    message: `${(vectors[0] ? a : b).getText()} is a vector; ${operator} works on numbers.`,
    hint: forVectors(operator, a.getText(), b.getText(), vectors),
    covers: operation,
  };
}

/** A vector with a minus, which TypeScript takes for a number. */
function negated({ node }: Complaint): Said | undefined {
  const minus = node.getParentIfKind(ts.SyntaxKind.PrefixUnaryExpression);
  const operand = minus?.getOperand();
  if (!minus || !isVector(operand)) return undefined;
  return {
    message: `${operand!.getText()} is a vector; - works on numbers.`,
    hint: `scale(${operand!.getText()}, -1)`,
    covers: minus,
  };
}

const place = (node: Ast): Span => spanAt(node.getSourceFile(), node.getStart(), node.getEnd() - node.getStart());
const placeOf = ({ node, start, length }: Complaint): Span => spanAt(node.getSourceFile(), start, length);

function spanAt(source: SourceFile, start: number, length: number): Span {
  const { line, column } = source.getLineAndColumnAtPos(start);
  return { file: source.getFilePath(), line, column, length: Math.max(1, length) };
}
