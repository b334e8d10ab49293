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
  Q5_0: { elements: 32, bytes: 22 },
  Q5_1: { elements: 32, bytes: 24 },
  Q2_K: { elements: 256, bytes: 84 },
  Q3_K: { elements: 256, bytes: 110 },
  Q4_K: { elements: 256, bytes: 144 },
  Q5_K: { elements: 256, bytes: 176 },
  Q6_K: { elements: 256, bytes: 210 },
  IQ4_NL: { elements: 32, bytes: 18 },
  IQ4_XS: { elements: 256, bytes: 136 },
};

/** Types of GGUF that cannot be read, so that an error can call them by the name their users know. */
const otherNames: Readonly<Record<number, string>> = {
  4: 'Q4_2',
  5: 'Q4_3',
  9: 'Q8_1',
  15: 'Q8_K',
  16: 'IQ2_XXS',
  17: 'IQ2_XS',
  18: 'IQ3_XXS',
  19: 'IQ1_S',
  21: 'IQ3_S',
  22: 'IQ2_S',
  24: 'I8',
  25: 'I16',
  26: 'I32',
  27: 'I64',
  28: 'F64',
  29: 'IQ1_M',
  31: 'Q4_0_4_4',
  32: 'Q4_0_4_8',
  33: 'Q4_0_8_8',
  34: 'TQ1_0',
  35: 'TQ2_0',
  36: 'IQ4_NL_4_4',
  37: 'IQ4_NL_4_8',
  38: 'IQ4_NL_8_8',
  39: 'MXFP4',
  40: 'NVFP4',
  41: 'Q1_0',
};

const names = new Map<number, WeightName>(Object.entries(WeightType).map(([name, type]) => [type, name as WeightName]));

/** A type's name by its number in GGUF; undefined for one that cannot be read. */
export const weightName = (type: number): WeightName | undefined => names.get(type);

/** What users call any type of GGUF. */
export const typeName = (type: number): string =>
  weightName(type) ?? otherNames[type] ?? `a type newer than this skv (number ${type})`;

/** Block of a type that can be read. */
export const blockOf = (type: number): WeightBlock => weightBlocks[names.get(type)!];
