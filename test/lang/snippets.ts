/** Policies from text: small files in a temporary folder, all given to TypeScript at once. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { check } from '../../codegen/front/check.ts';
import { type Diagnostic, PolicyErrors } from '../../codegen/ir/diagnostics.ts';
import type { Policy } from '../../codegen/ir/nodes.ts';
import { irText } from '../../codegen/ir/text.ts';
import { preload } from '../../codegen/front/read.ts';

const folder = mkdtempSync(join(tmpdir(), 'skv-lang-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

/** Everything 'skv' exports that a snippet may want. */
export const IMPORTS = `import * as skv from 'skv';
import {
  abs, above, add, ceil, chunks, clamp, cosine, definePolicy, div, dot, every, everything, exp, floor, fraction, highest, log, lowest, max, mean, min, norm1,
  mul, norm, number, over, peak, pooled, pow, profile, promptChunk, promptEnd, pyramid, scale, sigmoid, sign, sqrt, sub, tanh,
  tokens, topK, variance, type Vec,
} from 'skv';
`;

/** Writes files by name; returns their paths in order. */
export function files(texts: Readonly<Record<string, string>>): string[] {
  const paths = Object.keys(texts).map((name) => join(folder, name));
  Object.values(texts).forEach((text, i) => {
    mkdirSync(dirname(paths[i]), { recursive: true });
    writeFileSync(paths[i], text);
  });
  preload(paths);
  return paths;
}

let count = 0;

/** One policy of these fields, with `before` in front of it; a budget of 64 when `keep` is not among them. */
export function policyFile(fields: string, before = ''): string {
  const all = [`name: 'mine'`, fields, ...(/\bkeep:/.test(fields) ? [] : ['keep: topK(64)'])].filter((field) => field);
  const text = `${IMPORTS}${before}\nexport default definePolicy({ ${all.join(', ')} });\n`;
  return files({ [`p${count++}.ts`]: text })[0];
}

export const policyOf = (fields: string, before = ''): Policy => check(policyFile(fields, before)).policy;

/** The mistakes of a file; none is a failure of the test. */
export function mistakesIn(path: string): readonly Diagnostic[] {
  try {
    check(path);
  } catch (error) {
    if (error instanceof PolicyErrors) return error.diagnostics;
    throw error;
  }
  throw new Error(`${path} was accepted`);
}

export const mistakes = (fields: string, before = ''): readonly Diagnostic[] => mistakesIn(policyFile(fields, before));
export const slugs = (fields: string, before = ''): string[] => mistakes(fields, before).map(({ slug }) => slug);

/** The score of a policy as text, the parts it shares included. */
export function scoreText(policy: Policy): string {
  const lines = irText({ ...policy, states: [], across: [], params: [] }).split('\n');
  return lines
    .filter((line) => /^(score| {2}%)/.test(line))
    .map((line) => line.replace(/^score /, '').trim())
    .join('; ');
}

/** The lowered score of a function's text. */
export const lowered = (score: string, before = '', more = ''): string =>
  scoreText(policyOf(`${more}score: ${score}`, before));
