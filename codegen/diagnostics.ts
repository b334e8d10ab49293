/** A policy author's mistakes as data: what, where, what to do. docs/errors.md has an entry for each slug. */
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import type { Span } from './ir.ts';

/** Every mistake the compiler can report. A test holds this list against docs/errors.md and the must-fail cases. */
export const catalogue = {
  'no-policy': 'The file defines no policy.',
  'type-error': 'TypeScript itself refuses the file.',
  'loop-in-score': 'A score is one expression per slot; a loop has no bound the kernel can know.',
  mutation: 'Nothing may change inside a policy function.',
  'unknown-call': 'This function is not part of the language.',
  'impure-call': 'A policy must give the same answer every time.',
  'non-constant-capture': 'A value from outside the function must be a constant.',
  'unsupported-syntax': 'This form is not part of the language.',
  'wrong-type': 'The types do not fit.',
  'state-never-read': 'A state is accumulated and nothing reads it.',
  'state-never-observed': 'Attention is read, but no query is observed.',
  'attention-outside-next': 'slot.attn belongs to one query: only `next` sees it.',
  'window-exceeds-budget': 'The protected window alone is larger than the budget.',
  'param-out-of-range': 'A default lies outside its own range.',
  'duplicate-name': 'A name is taken.',
  'bad-name': 'A name has characters that files and flags cannot carry.',
  'pool-even': 'Pooling needs an odd width, to have a middle.',
  'no-budget': 'There is no budget to keep.',
  'observe-unused': 'Queries are observed and nothing uses what is seen.',
  'unsupported-on-target': 'The target cannot do this yet.',
} as const;

export type Slug = keyof typeof catalogue;

export interface Diagnostic {
  readonly slug: Slug;
  readonly message: string;
  readonly hint?: string;
  readonly span: Span;
}

/** All mistakes of a file, thrown together; nothing has been written. */
export class PolicyErrors extends Error {
  override name = 'PolicyErrors';
  constructor(readonly diagnostics: readonly Diagnostic[]) {
    super(diagnostics.map((diagnostic) => format(diagnostic)).join('\n\n'));
  }
}

/** A broken promise of the compiler itself. */
export class InternalError extends Error {
  override name = 'InternalError';
  constructor(message: string) {
    super(`internal: ${message}`);
  }
}

/** The offending lines with a caret under the mistake. */
function codeFrame(span: Span): string[] {
  let lines: string[];
  try {
    lines = readFileSync(span.file, 'utf8').split('\n');
  } catch {
    return [];
  }
  const first = Math.max(1, span.line - 1);
  const last = Math.min(lines.length, span.line + 1);
  const width = String(last).length;
  const out: string[] = [];
  for (let line = first; line <= last; line++) {
    if (line > span.line && lines[line - 1].trim() === '') break;
    out.push(`  ${String(line).padStart(width)} │ ${lines[line - 1]}`.trimEnd());
    if (line !== span.line) continue;
    const room = Math.max(1, lines[line - 1].length - span.column + 1);
    out.push(
      `  ${' '.repeat(width)} │ ${' '.repeat(span.column - 1)}${'^'.repeat(Math.max(1, Math.min(span.length, room)))}`,
    );
  }
  return out;
}

/** The printed form; paths are relative to `base`. */
export function format(diagnostic: Diagnostic, base = process.cwd()): string {
  const { slug, message, hint, span } = diagnostic;
  const path = relative(base, span.file);
  const out = [`✘ ${path.startsWith('..') ? span.file : path}:${span.line}:${span.column}  ${slug}`];
  out.push(...message.split('\n').map((line) => `  ${line}`), '');
  const frame = codeFrame(span);
  if (frame.length) out.push(...frame, '');
  if (hint) out.push(`  hint: ${hint}`);
  out.push(`  docs/errors.md#${slug}`);
  return out.join('\n');
}

/** Gathers diagnostics; a stage that gathered any ends by throwing them all. */
export class Collector {
  readonly list: Diagnostic[] = [];
  report(slug: Slug, span: Span, message: string, hint?: string): void {
    this.list.push({ slug, span, message, hint });
  }
  done(): void {
    if (this.list.length)
      throw new PolicyErrors([...this.list].sort((a, b) => a.span.line - b.span.line || a.span.column - b.span.column));
  }
}
