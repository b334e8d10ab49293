/** Every path in a template exists in its context, and every value of the context is used. Strict mode alone misses blocks. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import Handlebars from 'handlebars';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { lower } from '../../codegen/lower.ts';
import { plan } from '../../codegen/plan.ts';
import { read } from '../../codegen/read.ts';
import { context, templates } from '../../codegen/render.ts';
import { shipped } from '../../codegen/build.ts';

/** Contexts that between them have every list filled. */
const contexts = ['keydiff', 'h2o'].map((name) => {
  const policy = lower(read(shipped(name)!));
  return context(policy, plan(policy, 'cpu', '0')) as Record<string, unknown>;
});

/** `{{#each list}}` looks into an element: the first one that any context has. */
function element(scopes: Record<string, unknown>[], list: string): Record<string, unknown>[] {
  return scopes.flatMap((scope) => (scope[list] as unknown[]) ?? []).slice(0, 1) as Record<string, unknown>[];
}

/** Paths that no scope has, with where they stand; used names are collected. */
function unknown(program: hbs.AST.Program, scopes: Record<string, unknown>[], used: Set<string>): string[] {
  const wrong: string[] = [];
  const check = (path: hbs.AST.PathExpression) => {
    if (path.original === 'this') return;
    used.add(path.original);
    if (!scopes.some((scope) => typeof scope === 'object' && path.original in scope))
      wrong.push(`${path.original} in line ${path.loc.start.line}`);
  };
  for (const node of program.body) {
    if (node.type === 'MustacheStatement') check((node as hbs.AST.MustacheStatement).path as hbs.AST.PathExpression);
    if (node.type !== 'BlockStatement') continue;
    const { path, params, program: body, inverse } = node as hbs.AST.BlockStatement;
    const list = params[0] as hbs.AST.PathExpression;
    check(list);
    const inner = path.original === 'each' ? element(scopes, list.original) : scopes;
    for (const part of [body, inverse]) if (part) wrong.push(...unknown(part, inner, used));
  }
  return wrong;
}

for (const file of readdirSync(templates, { recursive: true }) as string[]) {
  if (!file.endsWith('.hbs')) continue;
  const text = readFileSync(join(templates, file), 'utf8');
  test(`${file}: every path exists`, () => {
    assert.equal(unknown(Handlebars.parse(text), contexts, new Set()), []);
  });
  test(`${file}: every value is used`, () => {
    const used = new Set<string>();
    unknown(Handlebars.parse(text), contexts, used);
    assert.equal(
      Object.keys(contexts[0]).filter((name) => !used.has(name)),
      [],
    );
  });
  test(`${file}: the lint finds a misspelt block`, () => {
    const broken = text.replace('{{#each states}}', '{{#each statess}}');
    assert.is.not(broken, text);
    assert.is(
      unknown(Handlebars.parse(broken), contexts, new Set()).some((path) => path.startsWith('statess in line')),
      true,
    );
  });
}

test.run();
