/** A policy author's mistakes as data: what, where, what to do. docs/errors.md has an entry for each slug, which `skv errors` prints. */
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import type { Span } from './nodes.ts';
import { UserError } from '../../toolchain/errors.ts';

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
  'param-never-read': 'A parameter is declared and nothing reads it.',
  'state-never-read': 'A state is accumulated and nothing reads it.',
  'state-never-observed': 'Attention is read, but no query is observed.',
  'attention-outside-next': 'slot.attn belongs to one query: only `next` sees it.',
  'window-exceeds-budget': 'The protected window alone is larger than the budget.',
  'param-out-of-range': 'A default lies outside its own range.',
  'duplicate-name': 'A name is taken.',
  'bad-name': 'A name has characters that files and flags cannot carry.',
  'history-length': 'A history looks back a whole number of queries, eight at least.',
  'once-reads': 'What is computed once reads nothing that changes.',
  'table-shape': 'A table has one number for each layer, or for each layer and KV head.',
  'table-index': 'A table is read at the layer and the head of the slot.',
  'statistic-order': 'A statistic reads those above it.',
  'no-partitions': 'A statistic of a partition needs partitions.',
  'partition-size': 'A partition has a whole number of positions, one at least.',
  'partitions-unused': 'A sequence is cut into partitions and no statistic is of one.',
  'pool-even': 'Pooling needs an odd width, to have a middle.',
  'no-budget': 'There is no budget to keep.',
  'profile-rules': 'Rules of a profile go from the cheapest to everything.',
  'profile-prompt': 'A profile is chosen at the end of the prompt, by what its queries saw.',
  'observe-unused': 'Queries are observed and nothing uses what is seen.',
  'field-unused': 'A field means nothing beside the others.',
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
export class PolicyErrors extends UserError {
  override name = 'PolicyErrors';

  constructor(readonly diagnostics: readonly Diagnostic[]) {
    super(diagnostics.map((diagnostic) => format(diagnostic)).join('\n\n'));
  }

  /** Each begins with its own place. */
  override get told(): string {
    return this.message;
  }
}

/** A broken promise of the compiler itself. */
export class InternalError extends Error {
  override name = 'InternalError';
  constructor(message: string) {
    super(`internal: ${message}`);
  }
}

/** The lines of a file, or none when it cannot be read. */
function linesOf(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n');
  } catch {
    return [];
  }
}

/** The offending lines with a caret under the mistake. */
function codeFrame(span: Span): string[] {
  const lines = linesOf(span.file);
  const first = Math.max(1, span.line - 1);
  const last = Math.min(lines.length, span.line + 1);
  const width = String(last).length;
  const out: string[] = [];
  for (let line = first; line <= last; line++) {
    const text = lines[line - 1].trimEnd();
    if (line !== span.line && text === '') continue;
    out.push(`  ${String(line).padStart(width)} │ ${text}`.trimEnd());
    if (line !== span.line) continue;
    const room = Math.max(1, text.length - span.column + 1);
    const indent = text.slice(0, span.column - 1).replace(/[^\t]/g, ' '); // a tab stays as wide as it is above
    out.push(`  ${' '.repeat(width)} │ ${indent}${'^'.repeat(Math.max(1, Math.min(span.length, room)))}`);
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
  out.push(`  more: skv errors ${slug}`);
  return out.join('\n');
}

/** First and last character of a span in its file. */
function extent(span: Span): [number, number] {
  const before = linesOf(span.file).slice(0, span.line - 1);
  const start = before.reduce((sum, line) => sum + line.length + 1, span.column - 1);
  return [start, start + span.length];
}

function overlap(a: Span, b: Span): boolean {
  if (a.file !== b.file) return false;
  const [[a0, a1], [b0, b1]] = [extent(a), extent(b)];
  return a0 < b1 && b0 < a1;
}

/**
 * Gathers the mistakes of a file over the stages read, lower and verify. A place that an earlier stage has complained
 * about is not complained about again: what later stages see there follows from the first mistake.
 */
export class Collector {
  readonly list: Diagnostic[] = [];
  private taken: Span[] = [];
  private fresh: Span[] = [];

  /** `covers` is the place later stages leave alone, when it is larger than the span. */
  report(slug: Slug, span: Span, message: string, hint?: string, covers = span): void {
    if (this.taken.some((place) => overlap(place, span))) return;
    if (this.list.some((known) => known.slug === slug && known.message === message && overlap(known.span, span)))
      return;
    this.list.push({ slug, span, message, hint });
    this.fresh.push(covers);
  }

  /** Later stages leave this place alone: what is wrong there has been told elsewhere. */
  leave(span: Span): void {
    this.fresh.push(span);
  }

  get any(): boolean {
    return this.list.length > 0;
  }

  nextStage(): void {
    this.taken.push(...this.fresh);
    this.fresh = [];
  }

  done(): void {
    if (!this.any) return;
    throw new PolicyErrors([...this.list].sort((a, b) => a.span.line - b.span.line || a.span.column - b.span.column));
  }
}

/** Runs a stage with the collector of a longer run, or with its own, thrown at its end. */
export function stage<T>(gather: Collector | undefined, run: (errors: Collector) => T): T {
  const errors = gather ?? new Collector();
  errors.nextStage();
  const result = run(errors);
  if (!gather) errors.done();
  return result;
}
