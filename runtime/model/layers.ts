/** Which layers of a model have a window and which are rotated: by the family's rule, or as a file lists them. */
import type { Family } from './families/family.ts';

export interface LayerFacts {
  /** sees a window of positions alone, and is rotated as layers with windows are */
  readonly windowed: boolean;
  readonly rotated: boolean;
}

/** What a file lists in place of the family's rule. */
export interface Listed {
  /** [layers] */
  readonly windowed?: readonly boolean[];
  /** [layers] */
  readonly rotated?: readonly boolean[];
  /** every n-th layer has no window; 0: no rule */
  readonly fullEvery?: number;
  readonly unrotatedEvery?: number;
  /** of windows that are counted: the first layer that has one */
  readonly firstWindowed?: number;
}

export function layersOf(family: Family, layers: number, window: number, listed: Listed): LayerFacts[] {
  const { windows } = family;
  const everyFull = listed.fullEvery || (typeof windows === 'object' ? windows.fullEvery : 0);
  const unrotatedEvery = listed.unrotatedEvery ?? family.unrotatedEvery ?? 0;
  const first = windows === 'counted' ? (listed.firstWindowed ?? layers) : 0;
  return Array.from({ length: layers }, (_, layer) => {
    const ruled = windows !== undefined && layer >= first && (everyFull === 0 || (layer + 1) % everyFull !== 0);
    const rotated = unrotatedEvery === 0 || (layer + 1) % unrotatedEvery !== 0;
    return {
      windowed: window > 0 && (listed.windowed?.[layer] ?? ruled),
      rotated: family.positionsFrom === undefined && (listed.rotated?.[layer] ?? rotated),
    };
  });
}
