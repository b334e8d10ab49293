/** Every path in a template exists in its context, and every value of the context is used. Strict mode alone misses blocks. */
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import Handlebars from 'handlebars';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { lower } from '../../codegen/front/lower.ts';
import { plan } from '../../codegen/plan/plan.ts';
import { read } from '../../codegen/front/read.ts';
import type { Target } from '../../codegen/plan/types.ts';
import { context, partials } from '../../codegen/back/render.ts';
import { templates } from '../../codegen/back/shared/includes.ts';
import type { TargetBack } from '../../codegen/back/shared/target.ts';
import { targets } from '../../codegen/back/targets.ts';
import { shipped } from '../../codegen/build.ts';

/** Contexts of a target that between them have every list filled. */
const contexts = (target: Target) =>
  ['keydiff', 'h2o', 'vase', 'duo', 'fastgen', 'lagkv', 'vatp', 'scissorhands'].map((name) => {
    const policy = lower(read(shipped(name)!));
    return context(policy, plan(policy, target, '0')) as Record<string, unknown>;
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
    if (node.type === 'PartialStatement') {
      const name = ((node as hbs.AST.PartialStatement).name as hbs.AST.PathExpression).original;
      wrong.push(...unknown(Handlebars.parse(text(partials[name])), scopes, used));
    }
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

const text = (file: string) => readFileSync(join(templates, file), 'utf8');

for (const [target, { text: own }] of Object.entries(targets) as [Target, TargetBack][]) {
  const scopes = contexts(target);
  const files = [own, ...own.common].map(({ template }) => template);
  for (const template of files)
    test(`${template}: every path exists`, () => {
      assert.equal(unknown(Handlebars.parse(text(template)), scopes, new Set()), []);
    });
  test(`${target}: every value is used`, () => {
    const used = new Set<string>();
    for (const template of files) unknown(Handlebars.parse(text(template)), scopes, used);
    assert.equal(
      Object.keys(scopes[0]).filter((name) => !used.has(name)),
      [],
    );
  });
  test(`${target}: the lint finds a misspelt block`, () => {
    const block = text('shared/across.hbs');
    const broken = block.replace('{{#each across}}', '{{#each acros}}');
    assert.is.not(broken, block);
    assert.is(
      unknown(Handlebars.parse(broken), scopes, new Set()).some((path) => path.startsWith('acros in line')),
      true,
    );
  });
}

test('every template belongs to a target or is shared', () => {
  const known = [
    ...Object.values(targets).flatMap(({ text }) => [text, ...text.common].map(({ template }) => template)),
    ...Object.values(partials),
  ];
  const found = (readdirSync(templates, { recursive: true }) as string[]).filter((file) => file.endsWith('.hbs'));
  assert.equal(found.sort(), known.sort());
});

test('templates/README.md lists every file, column by column', () => {
  const rows = text('README.md')
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| what |'));
  ['shared', 'cpu', 'cuda'].forEach((folder, i) => {
    const listed = rows.flatMap((row) => [...row.split('|')[2 + i].matchAll(/`([^`]+)`/g)].map(([, name]) => name));
    const found = readdirSync(join(templates, folder)).filter((file) => /\.(hbs|hpp|cuh)$/.test(file));
    assert.equal([...new Set(listed)].sort(), found.sort(), folder);
  });
});

test('no template names a policy', () => {
  const policies = readdirSync(dirname(shipped('none')!)).map((file) => file.replace('.ts', ''));
  const names = new RegExp(`\\b(${policies.filter((name) => name !== 'none').join('|')})\\b`, 'i');
  for (const file of readdirSync(templates, { recursive: true }) as string[])
    if (/\.(hbs|hpp|cuh)$/.test(file)) assert.not.match(text(file), names, file);
});

test.run();
