/** Calls without the marks of their format, as Qwen2.5-Coder writes them: where an answer begins, and one after another. */
import type { ToolFormat } from './tool-formats.ts';

/** Where text ends and a call begins; `may`: more must come first. */
export type Found = 'text' | 'may' | { readonly at: number };

export class UnmarkedCalls {
  /** without blanks: how a call begins, and what stands after it */
  private readonly openings: readonly { readonly begin: string; readonly end: string }[];
  private end = '';

  /** Calls of these tools alone: other JSON is text. */
  constructor({ instead = [], argumentsKey }: ToolFormat, tools: readonly string[]) {
    this.openings = instead.flatMap(([begin, end]) =>
      tools.map((name) => ({ begin: `${begin}{"name":"${name}","${argumentsKey}":`, end })),
    );
  }

  /** What a text begins with. */
  look(text: string): Found {
    const compact = text.replace(/\s+/g, '');
    const whole = this.openings.find(({ begin }) => compact.startsWith(begin));
    if (whole) {
      this.end = whole.end;
      return { at: text.indexOf('{') };
    }
    return this.openings.some(({ begin }) => begin.startsWith(compact)) ? 'may' : 'text';
  }

  /** What follows a call, without what ends it; undefined: more must come first. */
  after(text: string): string | undefined {
    if (text.startsWith(this.end)) return text.slice(this.end.length);
    return this.end.startsWith(text) ? undefined : text;
  }
}
