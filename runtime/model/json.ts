/** JSON files of a model folder. */
import { existsSync, readFileSync } from 'node:fs';
import { POINTER, isPointer } from './pointer.ts';
import { ModelError } from './types.ts';

/** The object in a file; an empty one where the file is missing and not needed. Throws a ModelError. */
export function readJson(path: string, needed: boolean): Record<string, unknown> {
  if (!existsSync(path) && !needed) return {};
  try {
    const value = JSON.parse(readFileSync(path, 'utf8'));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  } catch (error) {
    if (isPointer(path)) throw new ModelError(`${path}: ${POINTER}.`);
    throw new ModelError(`${path}: ${existsSync(path) ? `is not JSON (${(error as Error).message})` : 'is missing'}.`);
  }
  throw new ModelError(`${path}: is not a JSON object.`);
}
