/** Where a generated source finds what it includes. */
import { join } from 'node:path';
import { root } from '../../../toolchain/folders.mjs';

export const templates = join(root, 'templates');

/** Folders for the compiler's -I: the templates, and the contract with the engine. */
export const includes: readonly string[] = [templates, join(root, 'runtime', 'contract')];
