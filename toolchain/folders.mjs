/**
 * Where skv lies, and where it may write. JavaScript, since the command reads it before anything can run TypeScript.
 */
import { accessSync, constants, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of skv itself, absolute, beside package.json: templates, policies and native sources are found from here. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Of skv. @type {string} */
export const version = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version;

/** What is fetched or built once and kept for this user: models that do not come from the hub, the CUDA toolchain. */
export const cacheFolder = () =>
  process.env.SKV_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'skv');

/** An installed package belongs to the package manager, which replaces it as a whole, and may be read-only. */
const keepsItsBuilds = !root.split(sep).includes('node_modules') && writable(root);

/** @param {string} folder */
function writable(folder) {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * Bundles and bench programs, each under a name that tells its sources' state.
 * @param {'js' | 'bench'} part
 */
export const buildFolder = (part) => join(keepsItsBuilds ? join(root, 'build') : cacheFolder(), part);

/**
 * The native build: one in a clone, one for each state of the sources in the cache, where installations share it.
 * @param {string} hash of the sources
 */
export const nativeFolder = (hash) =>
  keepsItsBuilds ? join(root, 'build') : join(cacheFolder(), `native-${hash.slice(0, 16)}`);

/** Builds of policies. */
export const policyFolder = () => process.env.SKV_GENERATED ?? join(keepsItsBuilds ? root : cacheFolder(), 'generated');
