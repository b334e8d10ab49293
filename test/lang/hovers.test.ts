/**
 * What an editor shows: every name and field of the dsl has a text at its hover, what an author writes an example that
 * compiles, what may be left out its default.
 */
import { readFileSync } from 'node:fs';
import ts from 'typescript';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { check } from '../../codegen/front/check.ts';
import { builtins } from '../../codegen/ir/builtins.ts';
import { PolicyErrors } from '../../codegen/ir/diagnostics.ts';
import { slotTypes } from '../../codegen/ir/nodes.ts';
import { author, dsl, edit, service } from './editor.ts';
import { policyFile, policyOf } from './snippets.ts';

const program = service.getProgram()!;
const checker = program.getTypeChecker();

interface Hover {
  readonly name: string;
  readonly text: string;
  readonly tags: Readonly<Record<string, string>>;
}

function hover(file: string, position: number, name: string): Hover {
  const info = service.getQuickInfoAtPosition(file, position);
  const parts = (display: readonly ts.SymbolDisplayPart[] | undefined) =>
    (display ?? []).map((part) => part.text).join('');
  const tags = (info?.tags ?? []).map((tag): [string, string] => [tag.name, parts(tag.text)]);
  return { name, text: parts(info?.documentation), tags: Object.fromEntries(tags) };
}

const exported = checker
  .getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(dsl[0])!)!)
  .map((symbol) => (symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol));

/** A declaration's own hover, and those of every property written in it. */
function hoversIn(symbol: ts.Symbol): Hover[] {
  return symbol.declarations!.flatMap((declaration) => {
    const file = declaration.getSourceFile().fileName;
    const found: Hover[] = [];
    const at = (node: ts.Node, name: string) => found.push(hover(file, node.getStart(), name));
    at((declaration as ts.NamedDeclaration).name!, symbol.name);
    const visit = (node: ts.Node): void => {
      const field = ts.isPropertySignature(node) || (ts.isPropertyAssignment(node) && !ts.isArrowFunction(declaration));
      if (field && ts.isIdentifier(node.name) && !plumbing(node)) at(node.name, `${symbol.name}.${node.name.text}`);
      ts.forEachChild(node, visit);
    };
    visit(declaration);
    const { heritageClauses } = declaration as ts.InterfaceDeclaration;
    for (const type of heritageClauses?.flatMap((clause) => [...clause.types]) ?? [])
      for (const property of checker.getTypeAtLocation(type).getProperties()) {
        const [own] = property.declarations!;
        found.push(hover(own.getSourceFile().fileName, (own as ts.NamedDeclaration).name!.getStart(), property.name));
      }
    return found;
  });
}

/** Values that a helper returns or that a default is written as: their types' fields have the text. */
const plumbing = (node: ts.Node): boolean =>
  ts.isPropertyAssignment(node) &&
  ts.getJSDocCommentsAndTags(node).length === 0 &&
  ts.findAncestor(node, typed) !== undefined;
const typed = (node: ts.Node): boolean =>
  (ts.isArrowFunction(node) || ts.isVariableDeclaration(node)) && node.type !== undefined;

const hovers = exported.flatMap(hoversIn);
const named = (name: string): Hover => {
  const found = hovers.find((each) => each.name === name);
  assert.ok(found, name);
  return found!;
};

test('every exported name and field has a text', () => {
  assert.ok(hovers.length > 120, `${hovers.length} hovers`);
  for (const name of ['topK', 'TopK.budget', 'PolicySpec.keep', 'WindowRule.prompt', 'Slot.attn', 'everything.kind'])
    named(name);
  assert.equal(
    hovers.filter((each) => each.text.trim().length < 10).map((each) => each.name),
    [],
  );
});

const fields = hovers.filter(({ name }) => /^(PolicySpec|Slot)\.\w+$/.test(name));
const optional = new Set(
  exported
    .filter(({ name }) => ['PolicySpec', 'WindowRule', 'ProfileRule', 'Counting'].includes(name))
    .flatMap((symbol) =>
      checker
        .getDeclaredTypeOfSymbol(symbol)
        .getProperties()
        .map((field) => ({ symbol, field })),
    )
    .filter(({ field }) => field.flags & ts.SymbolFlags.Optional)
    .map(({ symbol, field }) => `${symbol.name}.${field.name}`),
);

test('what may be left out says its default', () => {
  assert.ok(optional.size > 15);
  assert.equal(
    [...optional].filter((name) => !named(name).tags.default),
    [],
  );
});

test('whatever an author writes has an example that compiles', () => {
  const functions = exported.filter(({ flags }) => flags & (ts.SymbolFlags.Function | ts.SymbolFlags.Variable));
  const wanted = [...fields, ...functions.map(({ name }) => named(name))];
  assert.ok(fields.length > Object.keys(slotTypes).length + 12 && functions.length > Object.keys(builtins).length + 14);
  assert.equal(
    wanted.filter(({ tags }) => !tags.example).map(({ name }) => name),
    [],
  );
  for (const { name, tags } of hovers.filter((each) => each.tags.example && each.name !== 'definePolicy')) {
    const { example } = tags;
    const has = (field: string) => new RegExp(`(^|\\s)${field}:`).test(example);
    const rest = [
      ...(has('params') ? [] : ['params: { budget: tokens(64), recent: tokens(8), gain: number(1) }']),
      ...(has('accumulate') ? [] : ['accumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn } }']),
      ...(has('observe') ? [] : ["observe: 'every'"]),
      ...(has('across') ? [] : ['across: { level: { mean: (slot) => slot.mass } }']),
      ...(has('score') ? [] : ['score: (slot, { level }) => slot.mass - level']),
      ...(has('keep') ? [] : ["keep: topK('budget')"]),
    ];
    // an example's own score need not read the state that is added here
    if (has('score')) rest.push('pool: mean(3)');
    const source = policyFile([example, ...rest].join(',\n').replace(/^name: 'mine',/, ''));
    const wrong = compiled(source);
    assert.equal(wrong, [], `${name}: ${example}`);
  }
});

/** Mistakes of a file, but for what nothing uses. */
function compiled(file: string): string[] {
  try {
    check(file);
    return [];
  } catch (error) {
    if (!(error instanceof PolicyErrors)) throw error;
    return error.diagnostics
      .filter(({ slug }) => !['param-never-read', 'state-never-read', 'observe-unused', 'field-unused'].includes(slug))
      .map(({ message }) => message);
  }
}

test("definePolicy's example is a policy", () => {
  const { example } = named('definePolicy').tags;
  const [, fields] = example.match(/definePolicy\(\{\n {2}name: [^\n]*\n([\s\S]*)\}\);/)!;
  assert.is(policyOf(fields.trim().replace(/,$/, '')).keep.kind, 'topK');
});

test('the texts reach the file of an author', () => {
  const source = readFileSync(author, 'utf8');
  for (const [before, wanted] of [
    ['keep: topK', /Which candidates stay/],
    ['topK(', /Keep the highest scores/],
    ['attn', /Softmax probability/],
    ['last: ', /The most recent positions/],
    ['every(1)', /after every n generated tokens/],
  ] as const) {
    const place = edit(source) + source.indexOf(before) + 1;
    assert.match(hover(author, place, before).text, wanted, before);
  }
});

test.run();
