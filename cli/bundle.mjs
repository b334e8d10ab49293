/**
 * The command line as a few JavaScript files: TypeScript translated once, and the packages that `skv serve` starts with
 * beside it. From source the same start costs twice the time. A bundle's folder is named by the hash of everything in it.
 */
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, relative, sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import { buildFolder, root } from '../toolchain/folders.mjs';

const ours = ['cli', 'codegen', 'dsl', 'runtime', 'bench', 'eval', 'toolchain'];
/** Our own sources; skv itself may lie below a node_modules. @param {string} path */
const isOurs = (path) => ours.some((folder) => path.startsWith(join(root, folder) + sep));
/** Packages that go into the bundle; the others are loaded when a command needs them. */
const inlined =
  /^(@fastify\/swagger|@huggingface\/(jinja|tokenizers)|commander|fastify|fastify-type-provider-zod|pino|prom-client|zod)$/;

/** What npm installed, if it says so: the file it leaves beside the packages. */
function installed() {
  const path = createRequire(import.meta.url).resolve('fastify');
  const packages = path.slice(0, path.lastIndexOf('node_modules') + 'node_modules'.length);
  return [join(packages, '.package-lock.json'), join(root, 'package.json')].filter(existsSync);
}

function sources() {
  return ours.flatMap((folder) =>
    /** @type {string[]} */ (readdirSync(join(root, folder), { recursive: true }))
      .filter((name) => /\.(ts|mjs)$/.test(name))
      .sort()
      .map((name) => join(root, folder, name)),
  );
}

/** @param {string[]} files */
function hashOf(files) {
  const hash = createHash('sha256').update(root);
  for (const file of files) hash.update(relative(root, file)).update('\0').update(readFileSync(file)).update('\0');
  return hash.digest('hex').slice(0, 16);
}

/** Where a package is for our sources: a bundle in the cache has none beside it. @param {string} name */
function addressOf(name) {
  try {
    return import.meta.resolve(name);
  } catch {
    return name; // not installed: whoever imports it says so
  }
}

/** Modules keep the address of their source, from which they find templates, policies and sources. */
const sourceAddress = {
  name: 'source-address',
  /** @param {import('esbuild').PluginBuild} build */
  setup(build) {
    build.onLoad({ filter: /\.(ts|mjs)$/ }, ({ path }) => {
      if (!isOurs(path)) return undefined;
      const address = JSON.stringify(pathToFileURL(path).href);
      return {
        contents: readFileSync(path, 'utf8').replaceAll('import.meta.url', address),
        loader: path.endsWith('.ts') ? 'ts' : 'js',
      };
    });
    build.onResolve({ filter: /^[^./]/ }, ({ path, importer, kind }) => {
      if (kind === 'entry-point' || !isOurs(importer) || inlined.test(path)) return undefined;
      return path === 'skv' ? { path: join(root, 'dsl', 'index.ts') } : { path: addressOf(path), external: true };
    });
  },
};

/** @param {string} folder */
async function bundle(folder) {
  const { build } = await import('esbuild');
  const draft = `${folder}.${randomUUID().slice(0, 8)}.tmp`;
  try {
    await build({
      entryPoints: ['cli/main', 'runtime/server/encode-worker', 'runtime/grammar/grammar-worker'].map((path) =>
        join(root, `${path}.ts`),
      ),
      entryNames: '[name]',
      outdir: draft,
      bundle: true,
      splitting: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      tsconfigRaw: {}, // not one that lies in a folder above
      logLevel: 'silent',
      define: { SKV_BUNDLE: JSON.stringify(pathToFileURL(folder).href) },
      plugins: [sourceAddress],
      // CommonJS packages ask for Node's own modules this way
      banner: {
        js: `import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(${JSON.stringify(pathToFileURL(join(root, 'package.json')).href)});`,
      },
    });
    renameSync(draft, folder);
  } catch (error) {
    rmSync(draft, { recursive: true, force: true });
    if (!existsSync(folder)) throw error; // else another process was first
  }
}

/** Address of main.js, bundled first when a source has changed; undefined when it cannot be: source then says why, or runs. */
export async function bundled() {
  try {
    const home = buildFolder('js');
    const folder = join(home, hashOf([...sources(), ...installed()]));
    if (!existsSync(folder)) {
      mkdirSync(home, { recursive: true });
      await bundle(folder);
      for (const older of readdirSync(home).map((name) => join(home, name)))
        if (Date.now() - statSync(older).mtimeMs > 86_400_000) rmSync(older, { recursive: true, force: true }); // a server that old has loaded what it needs
    }
    return pathToFileURL(join(folder, 'main.js')).href;
  } catch {
    return undefined;
  }
}
