/** Source text. */
import { readFileSync } from 'node:fs';

/** A file's text as TypeScript reads it: without a byte order mark. Throws what Node throws. */
export const textOf = (file: string): string => readFileSync(file, 'utf8').replace(/^\uFEFF/, '');
