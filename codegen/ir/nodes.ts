/**
 * The policy as the compiler sees it: declarations as data, functions as expressions. Every node has a span, so that
 * an error, a caret and a `#line` can point at the author's text. Nodes are immutable; passes return new ones.
 */

/** A place in a source file. Lines and columns count from 1. */
export interface Span {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly length: number;
}

/** Types of values: IEEE f32, boolean, vector of head_dim f32. */
export type Type = 'f32' | 'bool' | 'vec';

/**
 * What a slot offers besides its states; reading one is what makes the compiler produce it. `voter`, which no author can
 * write: which query head of the group is seen where `group` is none, elsewhere 0.
 */
export type SlotField =
  | 'attn'
  | 'pos'
  | 'age'
  | 'seen'
  | 'live'
  | 'length'
  | 'layer'
  | 'layers'
  | 'head'
  | 'heads'
  | 'random'
  | 'voter'
  | 'key'
  | 'value'
  | 'special'
  | 'punctuation';

/** The type of each field that an author can write. */
export const slotTypes: Readonly<Record<Exclude<SlotField, 'voter'>, Type>> = {
  attn: 'f32',
  pos: 'f32',
  age: 'f32',
  seen: 'f32',
  live: 'f32',
  length: 'f32',
  layer: 'f32',
  layers: 'f32',
  head: 'f32',
  heads: 'f32',
  random: 'f32',
  key: 'vec',
  value: 'vec',
  special: 'bool',
  punctuation: 'bool',
};

export const typeOfField = (field: SlotField): Type => (field === 'voter' ? 'f32' : slotTypes[field]);

/** Names that a state cannot take. */
export const slotNames: ReadonlySet<string> = new Set([...Object.keys(slotTypes), 'params']);

export type UnaryOp = 'neg' | 'not';
export type BinaryOp = 'add' | 'sub' | 'mul' | 'div' | 'lt' | 'le' | 'gt' | 'ge' | 'eq' | 'ne' | 'and' | 'or';

interface At {
  readonly span: Span;
}

/** Constants by layer, or by layer and KV head: read at the slot's own. */
export interface Table {
  /** as the author writes it */
  readonly name: string;
  readonly layers: number;
  /** KV heads of a layer; 0: one value a layer */
  readonly heads: number;
  /** [layer] or [layer][head] */
  readonly values: readonly number[];
}

/** Tells tables apart: two files may have one of the same name. */
export const tableKey = ({ name, values }: Table): string => `${name} ${values.join(' ')}`;

export type Node =
  | (At & { readonly op: 'const'; readonly type: 'f32' | 'bool'; readonly value: number | boolean })
  | (At & { readonly op: 'slot'; readonly type: Type; readonly field: SlotField })
  | (At & { readonly op: 'state'; readonly type: 'f32'; readonly name: string })
  | (At & { readonly op: 'param'; readonly type: 'f32'; readonly name: string })
  | (At & { readonly op: 'across'; readonly type: Type; readonly name: string })
  | (At & { readonly op: 'table'; readonly type: 'f32'; readonly table: Table })
  | (At & { readonly op: 'unary'; readonly type: Type; readonly fn: UnaryOp; readonly a: Node })
  | (At & { readonly op: 'binary'; readonly type: Type; readonly fn: BinaryOp; readonly a: Node; readonly b: Node })
  | (At & { readonly op: 'select'; readonly type: Type; readonly cond: Node; readonly then: Node; readonly else: Node })
  | (At & { readonly op: 'call'; readonly type: Type; readonly fn: string; readonly args: readonly Node[] });

/** A number of slots, resolved per sequence: a literal, or the name of a `tokens`/`fraction` parameter. */
export type Size = { readonly tokens: number } | { readonly param: string };

/** A number of tokens, or the `tokens` parameter that says it. */
export type Count = number | { readonly param: string };

export type Param = { readonly name: string; readonly span: Span } & (
  | { readonly kind: 'tokens'; readonly default: number; readonly min: number; readonly max: number }
  | { readonly kind: 'fraction'; readonly default: number; readonly min: number; readonly max: number }
  | { readonly kind: 'number'; readonly default: number; readonly min: number; readonly max: number }
);

/** Which queries' attention is seen: of the prompt none, every, or the last w; and whether each generated token's. */
export interface Observe {
  readonly prompt: 'none' | 'every' | { readonly last: Size };
  readonly decode: boolean;
}

/** What a budget counts: all slots of a head, or those besides the protected ones. */
interface Budget {
  readonly budget: Size;
  readonly besides?: 'protected';
}

/** A class of tokens. */
export type TokenClassName = 'special' | 'punctuation';

/** One rule of a profile: which slots stay besides the window's, the `top` best of those that nothing else keeps. */
export interface Rule {
  readonly classes: readonly TokenClassName[];
  readonly top: Size;
  readonly last: Size;
}

/**
 * profile: at the prompt's end a head takes the first rule that keeps the part `reach` of its slots' `mass`, a state; one
 * more rule than are listed is everything.
 */
export interface Profile {
  readonly kind: 'profile';
  readonly reach: Node;
  readonly mass: string;
  readonly rules: readonly Rule[];
}

export type Keep =
  | { readonly kind: 'all' }
  | Profile
  | ({ readonly kind: 'topK' } & Budget)
  | { readonly kind: 'above'; readonly threshold: Node }
  | ({ readonly kind: 'chunks'; readonly size: number } & Budget);

/**
 * When to compact. promptEnd: after the last prompt token. every(n): at the prompt's end and after each n generated
 * tokens ('auto': n from the ratio). over(slack): at the prompt's end and after a generated token, when live slots
 * exceed budget + slack. promptChunk(n): after each n prompt tokens (logical positions that are multiples of n,
 * whatever chunks the scheduler chose) and at the prompt's end.
 */
export type Trigger =
  | { readonly kind: 'promptEnd' }
  | { readonly kind: 'every'; readonly n: number | 'auto' }
  | { readonly kind: 'over'; readonly slack: Count }
  | { readonly kind: 'promptChunk'; readonly n: Count };

export interface Window {
  readonly first: Size;
  readonly last: Size;
  readonly prompt: boolean;
  readonly classes: readonly TokenClassName[];
}

/**
 * One statistic: `reduce` of an expression of each slot, over the live slots of a head, or of the partition that follows the
 * slot's own. softmax and rank are a number of each slot, among those of its own partition, and may read statistics above.
 */
export interface Across {
  readonly name: string;
  readonly reduce: 'mean' | 'sum' | 'max' | 'min' | 'nth' | 'softmax' | 'rank';
  /** of max and min */
  readonly partition?: 'next';
  /** of nth: a constant or a parameter */
  readonly n?: Node;
  readonly of: Node;
}

/** Whether a statistic is a number of each slot's own. */
export const isPlace = ({ reduce }: Across): boolean => reduce === 'softmax' || reduce === 'rank';

/** Whether it needs partitions. */
export const isOfPartition = (each: Across): boolean => each.partition !== undefined || isPlace(each);

/** Positions are cut into partitions of `size` from `first` on; those before are one. Constants or parameters. */
export interface Partitions {
  readonly first: Node;
  readonly size: Node;
}

/** Sums that a history is kept in: the oldest is dropped for the newest. */
export const BUCKETS = 8;

export interface State {
  readonly name: string;
  /** one of the BUCKETS that together are a history: its name, and how many queries it looks back */
  readonly history?: { readonly of: string; readonly bucket: number; readonly last: Node };
  readonly init: number;
  /** after an observed query; of a `once` state what it is from when its slot is appended, read of `lasting` fields alone */
  readonly next: Node;
  readonly once?: true;
}

/** Fields that never change of a slot. */
export const lasting: ReadonlySet<SlotField> = new Set([
  'pos',
  'layer',
  'layers',
  'head',
  'heads',
  'key',
  'value',
  'special',
  'punctuation',
]);

/** Fields that all slots of a head have alike when a query is observed. */
export const common: ReadonlySet<SlotField> = new Set(['live', 'length', 'layer', 'layers', 'head', 'heads', 'voter']);

/** The name that the author gave a state. */
export const writtenName = ({ name, history }: State): string => history?.of ?? name;

export interface Policy {
  readonly name: string;
  readonly doc: string;
  readonly span: Span;
  readonly params: readonly Param[];
  readonly observe: Observe;
  /** none: `next` runs for each query head of the group, one after the other */
  readonly group: 'sum' | 'mean' | 'max' | 'none';
  readonly states: readonly State[];
  readonly across: readonly Across[];
  readonly partitions?: Partitions;
  /** absent: positional, every candidate scores its position (older leaves first) */
  readonly score?: Node;
  /** all that its text reads, though nothing may come of it */
  readonly tables: readonly Table[];
  readonly pool?: { readonly kind: 'mean' | 'max'; readonly width: number };
  readonly heads:
    | { readonly kind: 'own' }
    | { readonly kind: 'shared' }
    | { readonly kind: 'pooled'; readonly alpha: number; readonly guaranteed?: true };
  readonly layers:
    | { readonly kind: 'uniform' }
    | { readonly kind: 'pyramid'; readonly beta: number }
    | { readonly kind: 'table'; readonly factors: readonly number[] };
  readonly keep: Keep;
  readonly window: Window;
  readonly when: readonly Trigger[];
  readonly positions: 'original' | 'cache';
  /** encoding of keys and values; 'engine': what the server was started with */
  readonly store: 'engine' | 'bf16' | 'f32';
  /** whose memory pages lie in, and who attends; 'engine': as the server was started */
  readonly place: 'engine' | 'device' | 'host';
  /** where each field stands, for mistakes found later */
  readonly at: Readonly<Record<string, Span>>;
}

/** Where a field of a policy stands, or the policy. */
export const place = (policy: Policy, field: string): Span => policy.at[field] ?? policy.span;
