/**
 * The command line as a few JavaScript files: TypeScript translated once, and the packages that `skv serve` starts with
 * beside it. From source the same start costs twice the time. A bundle's folder is named by the hash of everything in it.
 */
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, relative, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
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

/**
 * Modules keep the address of their source, from which they find templates, policies and sources.
 * @param {(path: string) => string} addressIn an expression for it
 * @param {(name: string) => boolean} inside whether a package goes into the bundle
 */
const sourceAddress = (addressIn, inside) => ({
  name: 'source-address',
  /** @param {import('esbuild').PluginBuild} build */
  setup(build) {
    build.onLoad({ filter: /\.(ts|mjs)$/ }, ({ path }) => {
      if (!isOurs(path)) return undefined;
      const address = addressIn(path);
      return {
        contents: readFileSync(path, 'utf8').replaceAll('import.meta.url', address),
        loader: path.endsWith('.ts') ? 'ts' : 'js',
      };
    });
    build.onResolve({ filter: /^[^./]/ }, ({ path, importer, kind }) => {
      if (kind === 'entry-point' || !isOurs(importer)) return undefined;
      if (path === 'skv') return { path: join(root, 'dsl', 'index.ts') };
      if (inside(path)) return undefined;
      const address = addressOf(path);
      return path === 'ts-morph' && address !== path
        ? { path: fileURLToPath(address), namespace: 'required' }
        : { path: address, external: true };
    });
    // `import` would search all of TypeScript for the names that it exports, which takes as long as to load it
    build.onResolve({ filter: /./, namespace: 'required' }, ({ path }) => ({ path, external: true }));
    build.onLoad({ filter: /./, namespace: 'required' }, ({ path }) => ({
      contents: `module.exports = require(${JSON.stringify(path)});`,
    }));
  },
});

/** What runs by itself: the command line, and its threads. */
const entries = ['cli/main', 'runtime/server/encode-worker', 'runtime/grammar/grammar-worker'];

/**
 * Writes entries and what they import as JavaScript. CommonJS packages ask for Node's own modules by `require`, and for
 * their own address.
 * @param {readonly string[]} files
 * @param {{ outdir: string, here: string, require: string, plugin: import('esbuild').Plugin, external?: string[] }} how
 *   `here`, `require`: expressions for the bundle's address, and for one from which packages are found
 */
async function translate(files, { outdir, here, require, plugin, external }) {
  const { build } = await import('esbuild');
  await build({
    entryPoints: files.map((path) => join(root, `${path}.ts`)),
    entryNames: '[name]',
    outdir,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    tsconfigRaw: {}, // not one that lies in a folder above
    logLevel: 'silent',
    define: { SKV_BUNDLE: 'skvBundle', __filename: 'skvFile', __dirname: 'skvFolder' },
    external,
    plugins: [plugin],
    banner: {
      js: [
        "import { createRequire as requireFrom } from 'node:module'; import { fileURLToPath as pathFrom } from 'node:url';",
        `const require = requireFrom(${require}), skvBundle = ${here};`,
        "const skvFile = pathFrom(import.meta.url), skvFolder = pathFrom(new URL('.', import.meta.url));",
      ].join(' '),
    },
  });
}

/** Packages that only find themselves where npm has put them: what needs one of these is not in a bundle that moves. */
const apart = ['cmake-js', 'esbuild', '@mlc-ai/web-xgrammar', '@stdlib/*', 'node-llama-cpp', 'tsx'];

/**
 * A bundle of the command line and `more` that runs without a node_modules folder, in `js` of any folder that has skv's
 * own files as this one has them.
 * @param {string} folder
 * @param {readonly string[]} more
 */
export async function standalone(folder, more) {
  const address = (/** @type {string} */ path) =>
    `new URL(${JSON.stringify(`../${relative(root, path)}`)}, import.meta.url).href`;
  await translate([...entries, ...more], {
    outdir: folder,
    here: "new URL('.', import.meta.url).href.slice(0, -1)",
    require: 'import.meta.url',
    plugin: sourceAddress(address, () => true),
    external: apart,
  });
}

/** @param {string} folder */
async function bundle(folder) {
  const draft = `${folder}.${randomUUID().slice(0, 8)}.tmp`;
  const quoted = (/** @type {string} */ path) => JSON.stringify(pathToFileURL(path).href);
  try {
    await translate(entries, {
      outdir: draft,
      here: quoted(folder),
      require: quoted(join(root, 'package.json')),
      plugin: sourceAddress(quoted, (name) => inlined.test(name)),
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
