/** How each weight type lies in a file. */
import { WeightType } from './records.ts';

export type WeightName = keyof typeof WeightType;

/** A matrix is rows of blocks; a row's columns are a multiple of `elements`. */
export interface WeightBlock {
  readonly elements: number;
  readonly bytes: number;
}

export const weightBlocks: Readonly<Record<WeightName, WeightBlock>> = {
  F32: { elements: 1, bytes: 4 },
  F16: { elements: 1, bytes: 2 },
  BF16: { elements: 1, bytes: 2 },
  Q8_0: { elements: 32, bytes: 34 },
  Q4_0: { elements: 32, bytes: 18 },
  Q4_1: { elements: 32, bytes: 20 },
};

const names = new Map<number, WeightName>(Object.entries(WeightType).map(([name, type]) => [type, name as WeightName]));

/** A type's name by its number in GGUF; undefined for one that cannot be read. */
export const weightName = (type: number): WeightName | undefined => names.get(type);

/** Block of a type that can be read. */
export const blockOf = (type: number): WeightBlock => weightBlocks[names.get(type)!];
