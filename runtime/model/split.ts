/** A GGUF model in several files (split.count): read whole from any of them, or the part that is missing is named. */
import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { type Gguf, type GgufTensor, readGguf } from './gguf.ts';
import { ModelError, listed } from './types.ts';

/** Most parts that are believed; llama.cpp numbers them with five digits. */
const MAX_PARTS = 99_999;

const ending = /-(\d{5})-of-(\d{5})\.gguf$/;
const five = (n: number): string => String(n).padStart(5, '0');

/** Names of all parts of the model that a file name belongs to, first to last; one name where it is no part. */
export function partsOf(file: string): string[] {
  const [, , of] = file.match(ending) ?? [];
  if (of === undefined) return [file];
  return Array.from({ length: Number(of) }, (_, i) => file.replace(ending, `-${five(i + 1)}-of-${of}.gguf`));
}

/** What a model is called: its file's name without ending and number. */
export const nameOf = (file: string): string =>
  basename(file)
    .replace(ending, '')
    .replace(/\.gguf$/, '');

/** A whole number that a key of the part says; undefined where it does not. */
function counted(part: Gguf, key: string, most: number): number | undefined {
  const given = part.metadata.get(key);
  if (given === undefined) return undefined;
  const value = Number(given);
  if (!Number.isInteger(value) || value < 0 || value > most)
    throw new ModelError(`${part.file}: metadata ${key} is ${String(given)}, outside 0 … ${most}.`);
  return value;
}

/** Reads a model's headers: of its file, or of all parts, whose metadata the first one has. Throws ModelError. */
export function readGgufModel(file: string): Gguf {
  const asked = readGguf(file);
  const count = counted(asked, 'split.count', MAX_PARTS) ?? 1;
  if (count <= 1) return asked;
  const files = partsOf(file);
  if (files.length !== count)
    throw new ModelError(
      `${file}: is one of ${count} parts of a model, whose names must end in -${five(1)}-of-${five(count)}.gguf and so on. Give them the names they were published with.`,
    );
  const missing = files.filter((each) => !existsSync(each));
  if (missing.length)
    throw new ModelError(
      `${file}: is one of ${count} parts of a model; missing beside it: ${listed(missing.map((each) => basename(each)))}. Download them into the same folder.`,
    );
  return joined(files.map((each) => (each === file ? asked : readGguf(each))));
}

/** One model of its parts, each checked to be the one that its name says. */
function joined(parts: readonly Gguf[]): Gguf {
  const tensors = new Map<string, GgufTensor>();
  for (const [i, part] of parts.entries()) {
    const [no, count] = [counted(part, 'split.no', MAX_PARTS), counted(part, 'split.count', MAX_PARTS)];
    if (no !== i || count !== parts.length)
      throw new ModelError(
        `${part.file}: says that it is part ${(no ?? -1) + 1} of ${count}, its name says ${i + 1} of ${parts.length}. Download it again.`,
      );
    for (const tensor of part.tensors) {
      const other = tensors.get(tensor.name);
      if (other) throw new ModelError(`${part.file}: tensor ${tensor.name} is in ${other.file}, too.`);
      tensors.set(tensor.name, tensor);
    }
  }
  const [first] = parts;
  const promised = counted(first, 'split.tensors.count', 2 ** 31);
  if (promised !== undefined && promised !== tensors.size)
    throw new ModelError(
      `${first.file}: its ${parts.length} parts have ${tensors.size} tensors, not ${promised}. They are not of one model; download them again.`,
    );
  return { ...first, tensors: [...tensors.values()] };
}
