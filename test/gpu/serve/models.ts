/**
 * The tiny models that a server is asked with. Random weights do not pack, so that they are drawn where they are needed: the
 * same Node draws the same numbers, which a digest shows.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type FileType,
  familyModel,
  sizes,
  tinyFamilies,
  wideFamilies,
  widened,
  writeFamilyFolder,
  writeFamilyGguf,
} from '../../oracle/families.ts';

export interface ModelFile {
  /** a folder with safetensors, or a GGUF file */
  name: string;
  family: string;
  seed: number;
  /** of the matrices of a GGUF file */
  type?: Exclude<FileType, 'F32'>;
}

/** Writes the model into a folder, unless it is there; gives a digest of its weights. */
export function writeModel(folder: string, { name, family, seed, type }: ModelFile): string {
  const path = join(folder, name);
  const tiny = [...tinyFamilies, ...wideFamilies].find((each) => each.name === family)!;
  if (!existsSync(path)) {
    if (type) writeFamilyGguf(familyModel(tiny, seed), path, type);
    else {
      writeFamilyFolder(familyModel(widened(tiny), seed), path);
      giveWords(path);
    }
  }
  const weights = readFileSync(type ? path : join(path, 'model.safetensors'));
  return createHash('sha256').update(weights).digest('hex');
}

/** Words for all of a model's tokens: answers are read as text. */
function giveWords(folder: string): void {
  const path = join(folder, 'tokenizer.json');
  const tokenizer = JSON.parse(readFileSync(path, 'utf8')) as { model: { vocab: Record<string, number> } };
  const { vocab } = tokenizer.model;
  for (let token = Object.keys(vocab).length; token < sizes.vocab; token++) vocab[`t${token}`] = token;
  writeFileSync(path, JSON.stringify(tokenizer));
}
