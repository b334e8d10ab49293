/** Where skv keeps what it fetches once. */
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Folder for what is fetched once and kept: models that do not come from the hub, the CUDA toolchain. */
export const cacheFolder = (): string =>
  process.env.SKV_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'skv');
