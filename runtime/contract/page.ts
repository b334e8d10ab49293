/**
 * What a page holds, as a list of fields, and the one formula for where they lie. `npm run contract` prints the same for C
 * (layout.h). A codec is another list: scales beside packed keys, residuals and state of a head are further fields.
 *
 * Fields follow each other without gaps, and a page is padded to whole cache lines. Head sizes are multiples of 16, so every
 * field begins on a cache line. The order within a field is the target's affair (templates/cpu/layout.hpp,
 * templates/cuda/layout.cuh). What an engine decides at run time, the lanes, comes last: where the others lie follows from
 * the head size and the type alone, which CUDA kernels know when they are compiled.
 */
import { KvType, PAGE, kvBytes } from './records.ts';

/** One field: for each slot of the page `perSlot` elements. */
interface PageField {
  readonly name: string;
  /** kv: of the pages' type; word: 32 bits */
  readonly element: 'kv' | 'word';
  readonly perSlot: 'headDim' | 'lanes';
  readonly doc: string;
}

export const pageFields = [
  { name: 'keys', element: 'kv', perSlot: 'headDim', doc: 'rotated keys' },
  { name: 'values', element: 'kv', perSlot: 'headDim', doc: 'values' },
  { name: 'lanes', element: 'word', perSlot: 'lanes', doc: '[lane][slot]: position, then what the plan lists' },
] as const satisfies readonly PageField[];

/** bytes of a cache line: pages begin and end on one */
export const LINE = 64;

/** What decides a page's size. */
export interface PageShape {
  headDim: number;
  /** of KvType */
  kvType: number;
  lanes: number;
}

/** Where each field begins, and how long a page is; in bytes. */
export type PageLayout = { readonly [F in (typeof pageFields)[number] as F['name']]: number } & {
  readonly bytes: number;
};

const elementBytes = ({ element }: PageField, kvType: number): number => (element === 'word' ? 4 : bytesOf(kvType));

/** Bytes of an element of keys and values. */
function bytesOf(kvType: number): number {
  const name = (Object.keys(KvType) as (keyof typeof KvType)[]).find((each) => KvType[each] === kvType);
  if (name === undefined) throw new RangeError(`there is no type ${kvType} of keys and values`);
  return kvBytes[name];
}

/** Bytes that one slot takes of a page. */
export const slotBytes = (shape: PageShape): number =>
  pageFields.reduce((sum, field) => sum + shape[field.perSlot] * elementBytes(field, shape.kvType), 0);

export function pageLayout(shape: PageShape): PageLayout {
  const at: Record<string, number> = {};
  let end = 0;
  for (const field of pageFields) {
    at[field.name] = end;
    end += PAGE * shape[field.perSlot] * elementBytes(field, shape.kvType);
  }
  return { ...at, bytes: Math.ceil(end / LINE) * LINE } as PageLayout;
}
