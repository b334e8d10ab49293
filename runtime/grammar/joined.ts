/** Schemas that refer to others, and schemas that hold together: each as one schema. */
import { isDeepStrictEqual } from 'node:util';
import { GrammarError } from './ebnf.ts';
import { type Path, notes } from './keywords.ts';

export type Schema = Readonly<Record<string, unknown>>;

export const isObject = (value: unknown): value is Schema =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export const wrong = (path: Path, what: string): never => {
  throw new GrammarError(what, path);
};

/** The parts of one whole schema. */
export class Schemas {
  constructor(private readonly whole: unknown) {}

  /** What a reference points to. */
  resolve(reference: unknown, path: Path): [schema: unknown, path: Path] {
    if (typeof reference !== 'string' || !reference.startsWith('#'))
      return wrong(path, `must be a place in this schema, such as #/$defs/name; it is ${JSON.stringify(reference)}`);
    const steps = reference
      .slice(1)
      .split('/')
      .slice(1)
      .map((step) => decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~'));
    let schema: unknown = this.whole;
    for (const step of steps) {
      schema = (schema as Record<string, unknown> | undefined)?.[step];
      if (schema === undefined) wrong(path, `${JSON.stringify(reference)} is not in this schema`);
    }
    return [schema, steps];
  }

  /** One schema instead of several that all hold. */
  merged({ allOf, ...own }: Schema, path: Path): Schema {
    if (!Array.isArray(allOf) || allOf.length === 0) return wrong([...path, 'allOf'], 'must list at least one schema');
    const out: Record<string, unknown> = { ...own };
    allOf.forEach((each, i) => {
      const where = [...path, 'allOf', i];
      let schema: unknown = each;
      for (let depth = 0; isObject(schema) && schema.$ref !== undefined; depth++) {
        if (depth > 16) wrong(where, 'refers to itself');
        const { $ref, ...beside } = schema;
        const [target] = this.resolve($ref, where);
        if (!isObject(target)) return wrong(where, 'must be an object to be joined with others');
        schema = Object.keys(beside).length ? this.merged({ allOf: [target, beside] }, where) : target;
      }
      if (schema === true) return;
      if (!isObject(schema)) return wrong(where, 'must be an object to be joined with others');
      const flat = schema.allOf === undefined ? schema : this.merged(schema, where);
      for (const [keyword, value] of Object.entries(flat)) this.join(out, keyword, value, where);
    });
    return out;
  }

  private join(out: Record<string, unknown>, keyword: string, value: unknown, path: Path): void {
    const before = out[keyword];
    if (before === undefined || notes.includes(keyword) || keyword.startsWith('$')) out[keyword] = before ?? value;
    else if (keyword === 'required') out.required = [...new Set([before, value].flat())];
    else if (keyword === 'properties' && isObject(before) && isObject(value)) {
      const both = Object.keys(value).filter((name) => Object.hasOwn(before, name));
      const joined = both.map((name) => [
        name,
        isDeepStrictEqual(before[name], value[name]) ? value[name] : { allOf: [before[name], value[name]] },
      ]);
      out.properties = { ...before, ...value, ...Object.fromEntries(joined) };
    } else if (!isDeepStrictEqual(before, value))
      wrong([...path, keyword], 'says another thing than the schema that it is joined with');
  }
}
