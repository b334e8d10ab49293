/** How a record is described, and what TypeScript has from the description: names of words, and types. */

/** C types: i32, f32 and i64 are int32_t, float and int64_t; a flag is an int32_t of 0 or 1, and a boolean here. */
export type Scalar = 'i32' | 'f32' | 'i64' | 'flag';

/** One field: numbers, which TypeScript writes or reads, or what only C knows, with its C type. C has it in snake_case. */
export interface Field {
  readonly name: string;
  readonly type: Scalar | { readonly c: string };
  /** an array of so many */
  readonly count?: number;
  /** the addon fills it in: not a number that TypeScript gives */
  readonly filled?: true;
  readonly doc: string;
}

/** A struct of the contract, skv_… in C. */
export interface RecordOf<F extends readonly Field[] = readonly Field[]> {
  readonly c: string;
  readonly doc: string;
  readonly fields: F;
}

export const record = <const F extends readonly Field[]>(c: string, doc: string, fields: F): RecordOf<F> => ({
  c,
  doc,
  fields,
});

/** Names of a record's fields of these types. */
type NamesOf<F extends readonly Field[], T extends Scalar> = Exclude<
  Extract<F[number], { readonly type: T }>,
  { readonly filled: true }
>['name'];

/** An object with a record's numbers, as the addon reads it by name. */
export type NumbersOf<R extends RecordOf> = {
  [K in NamesOf<R['fields'], 'i32' | 'f32' | 'i64'>]: number;
} & { [K in NamesOf<R['fields'], 'flag'>]: boolean };

/** Where the fields of a record of 32-bit words begin, in words, and how many words it has. */
export type WordsOf<R extends RecordOf> = { readonly [K in R['fields'][number]['name']]: number } & {
  readonly words: number;
};

/** For `array[i * Row.words + Row.field]`. Throws for a record that holds more than 32-bit words. */
export function wordsOf<R extends RecordOf>(described: R): WordsOf<R> {
  const words: Record<string, number> = {};
  let at = 0;
  for (const { name, type, count = 1 } of described.fields) {
    if (type !== 'i32' && type !== 'f32') throw new TypeError(`${described.c}.${name} is no 32-bit word`);
    words[name] = at;
    at += count;
  }
  return { ...words, words: at } as unknown as WordsOf<R>;
}

/** seedLo → seed_lo, K → K */
export const snake = (name: string): string =>
  name.replace(/(?<=[a-z0-9])[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** Numbers with names, SKV_… in C; each with what it means, where its name does not say it. */
export interface Enumeration<E extends Entries = Entries> {
  /** of the names in C */
  readonly prefix: string;
  readonly doc: string;
  readonly entries: E;
}
type Entries = Readonly<Record<string, readonly [value: number, doc?: string]>>;

export const enumeration = <const E extends Entries>(prefix: string, doc: string, entries: E): Enumeration<E> => ({
  prefix,
  doc,
  entries,
});

export type ValuesOf<D extends Enumeration> = { readonly [K in keyof D['entries']]: D['entries'][K][0] };

export const valuesOf = <D extends Enumeration>(described: D): ValuesOf<D> =>
  Object.fromEntries(Object.entries(described.entries).map(([name, [value]]) => [name, value])) as ValuesOf<D>;
