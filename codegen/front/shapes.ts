/** Which values a declarative field can have: what TypeScript says too, unless a file silences it (`as any`, `@ts-ignore`). */
type Fits = (value: unknown) => boolean;

const word =
  (...words: unknown[]): Fits =>
  (value) =>
    words.includes(value);
const number: Fits = (value) => typeof value === 'number';
const size: Fits = (value) => typeof value === 'number' || typeof value === 'string';
const either =
  (...fits: Fits[]): Fits =>
  (value) =>
    fits.some((each) => each(value));
const list =
  (of: Fits): Fits =>
  (value) =>
    Array.isArray(value) && value.every(of);
const oneOrMore = (of: Fits): Fits => either(of, list(of));
/** An object of these members and no others; those in `more` may be absent. */
const object =
  (members: Readonly<Record<string, Fits>>, more: Readonly<Record<string, Fits>> = {}): Fits =>
  (value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
    const given = value as Record<string, unknown>;
    const known = { ...members, ...more };
    return (
      Object.keys(members).every((name) => Object.hasOwn(given, name)) &&
      Object.entries(given).every(([name, each]) => Object.hasOwn(known, name) && known[name](each))
    );
  };

const classes = list(word('special', 'punctuation'));
const besides = { besides: word('protected') };
const everything = object({ kind: word('all') });
const range = { default: number, min: number, max: number };

/** A parameter, as its helper makes it. */
export const isParam = object({ kind: word('tokens', 'fraction', 'number'), ...range });

/** By field; those that are read member by member are not among them. */
const shapes: Readonly<Record<string, Fits>> = {
  name: (value) => typeof value === 'string',
  observe: oneOrMore(either(word('every', 'decode'), object({ last: size }))),
  group: word('sum', 'mean', 'max', 'none'),
  partitions: object({ size }, { first: size }),
  partition: word('next'),
  pool: object({ kind: word('mean', 'max'), width: number }),
  heads: either(word('own', 'shared'), object({ kind: word('pooled'), alpha: number }, { guaranteed: word(true) })),
  layers: either(word('uniform'), object({ kind: word('pyramid'), beta: number }), list(number)),
  keep: either(
    everything,
    object({ kind: word('topK'), budget: size }, besides),
    object({ kind: word('above'), threshold: size }),
    object({ kind: word('chunks'), size: number, budget: size }, besides),
    object({
      kind: word('profile'),
      reach: size,
      of: (value) => typeof value === 'string',
      rules: list(either(everything, object({}, { classes, top: size, last: size }))),
    }),
  ),
  window: object({}, { first: size, last: size, prompt: word(true, false), classes }),
  when: oneOrMore(
    either(
      object({ kind: word('promptEnd') }),
      object({ kind: word('every'), n: either(number, word('auto')) }),
      object({ kind: word('over'), slack: size }),
      object({ kind: word('promptChunk'), tokens: size }),
    ),
  ),
  positions: word('original', 'cache'),
  store: word('bf16', 'f32'),
  place: word('device', 'host'),
};

/** Fields that are no data. */
const written = ['params', 'accumulate', 'across', 'score'];

export const isField = (name: string): boolean => Object.hasOwn(shapes, name) || written.includes(name);

/** Whether a field can have a value. */
export const fits = (field: string, value: unknown): boolean => shapes[field]?.(value) ?? true;
