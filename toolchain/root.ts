/** The folder of skv itself: templates, policies and native sources are found from here. */
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Absolute; beside package.json. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));
