/**
 * Sliding-window layers: a query sees the keys of its last positions alone, whatever the request's policy. Their slots lie by
 * position; after every step the whole pages leave that the next query does not see. A policy has the other layers.
 */
import { PAGE } from '../contract/records.ts';
import type { ModelSpec } from '../native/index.ts';
import { pagesFor } from './rules.ts';

/** The window of each layer; 0 where it has none, or one that no sequence of so many tokens outgrows. */
export const windowsOf = ({ layer }: Pick<ModelSpec, 'layer'>, maxModelLen: number): number[] =>
  layer.map(({ window }) => (window < maxModelLen ? window : 0));

/** Pages at the front of a window layer that the query at position `pos` does not see, nor any later one. */
export const pagesGone = (window: number, pos: number): number => Math.floor(Math.max(0, pos + 1 - window) / PAGE);

/** Most pages of a head of a window layer while `length` tokens become known, at most `chunk` of them in one step. */
export const windowPages = (window: number, length: number, chunk: number): number =>
  pagesFor(Math.min(length, window + PAGE - 2 + chunk));
