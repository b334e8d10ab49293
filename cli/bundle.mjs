/**
 * The command line as a few JavaScript files: TypeScript translated once, and the packages that `skv serve` starts with
 * beside it. From source the same start costs twice the time. Bundles live in build/js/<hash of everything in them>/.
 */
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const ours = ['cli', 'codegen', 'dsl', 'runtime', 'bench', 'eval', 'toolchain'];
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
    readdirSync(join(root, folder), { recursive: true })
      .filter((name) => /\.m?ts$|\.mjs$/.test(name))
      .sort()
      .map((name) => join(root, folder, name)),
  );
}

function hashOf(files) {
  const hash = createHash('sha256').update(root);
  for (const file of files) hash.update(relative(root, file)).update('\0').update(readFileSync(file)).update('\0');
  return hash.digest('hex').slice(0, 16);
}

/** Modules keep the address of their source, from which they find templates, policies and sources. */
const sourceAddress = {
  name: 'source-address',
  setup(build) {
    build.onLoad({ filter: /\.ts$/ }, ({ path }) =>
      path.includes('node_modules')
        ? undefined
        : {
            contents: readFileSync(path, 'utf8').replaceAll(
              'import.meta.url',
              JSON.stringify(pathToFileURL(path).href),
            ),
            loader: 'ts',
          },
    );
    build.onResolve({ filter: /^[^./]/ }, ({ path, importer, kind }) => {
      if (kind === 'entry-point' || importer.includes('node_modules') || inlined.test(path)) return undefined;
      return path === 'skv' ? { path: join(root, 'dsl', 'index.ts') } : { path, external: true };
    });
  },
};

async function bundle(folder) {
  const { build } = await import('esbuild');
  const draft = `${folder}.${randomUUID().slice(0, 8)}.tmp`;
  try {
    await build({
      entryPoints: [join(root, 'cli', 'main.ts'), join(root, 'runtime', 'server', 'encode-worker.ts')],
      entryNames: '[name]',
      outdir: draft,
      bundle: true,
      splitting: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
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
    const home = join(root, 'build', 'js');
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
