/** Which processors are chosen, and how much memory is left, on machines made of files. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { allowedMemory } from '../../runtime/native/memory.ts';
import { chooseThreads, findProcessors, parseList } from '../../runtime/native/processors.ts';

const home = mkdtempSync(join(tmpdir(), 'skv-machine-'));
process.on('exit', () => rmSync(home, { recursive: true, force: true }));
let machines = 0;

/** A root folder with these files. */
function machine(files: Record<string, string>): string {
  const root = join(home, String(machines++));
  mkdirSync(root);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), `${text}\n`);
  }
  return root;
}

/** Affinity mask and each processor's siblings. */
const cores = (mask: string, siblings: string[]): Record<string, string> => ({
  'proc/self/status': `Name:\tnode\nCpus_allowed:\tff\nCpus_allowed_list:\t${mask}\nMems_allowed_list:\t0`,
  ...Object.fromEntries(
    siblings.map((list, cpu) => [`sys/devices/system/cpu/cpu${cpu}/topology/thread_siblings_list`, list]),
  ),
});
const v2 = (path: string, mounted = '/') => ({
  'proc/self/cgroup': `0::${path}`,
  'proc/self/mountinfo': `30 23 0:26 ${mounted} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate`,
});

test('lists of processors', () => {
  assert.equal(parseList('0-3,8,10-11'), [0, 1, 2, 3, 8, 10, 11]);
  for (const wrong of ['', '3-1', 'a', '1,,2', '-1', '99999999']) assert.is(parseList(wrong), undefined, wrong);
});

test('siblings come last, however they are numbered', () => {
  const neighbours = ['0-1', '0-1', '2-3', '2-3'];
  assert.equal(findProcessors(machine(cores('0-3', neighbours))), {
    physical: [0, 2],
    all: [0, 2, 1, 3],
    quota: undefined,
  });
  const halves = ['0,2', '1,3', '0,2', '1,3'];
  assert.equal(findProcessors(machine(cores('0-3', halves))).all, [0, 1, 2, 3]);
  assert.equal(chooseThreads(findProcessors(machine(cores('0-3', neighbours)))), {
    threads: 2,
    cpus: [0, 2],
    note: undefined,
  });
});

test('a mask with holes: the first allowed thread stands for its core', () => {
  const found = findProcessors(machine(cores('1,3,6-7', ['0-1', '0-1', '2-3', '2-3', '4-5', '4-5', '6-7', '6-7'])));
  assert.equal(found.physical, [1, 3, 6]);
  assert.equal(found.all, [1, 3, 6, 7]);
});

test('one core; processors without topology; offline ones', () => {
  assert.equal(findProcessors(machine(cores('0', ['0']))).physical, [0]);
  assert.equal(findProcessors(machine(cores('0-2', []))).physical, [0, 1, 2], 'each counts as a core');
  assert.equal(
    findProcessors(machine({ ...cores('0-3', []), 'sys/devices/system/cpu/online': '0,2-3' })).all,
    [0, 2, 3],
  );
  assert.equal(findProcessors(machine({})).all, [0], 'nothing is known: one');
});

test('quotas of control groups, the tightest above counts', () => {
  const base = cores('0-7', []);
  const quota = (files: Record<string, string>) => findProcessors(machine({ ...base, ...files })).quota;
  assert.is(quota({ ...v2('/a/b'), 'sys/fs/cgroup/a/b/cpu.max': '150000 100000' }), 1.5);
  assert.is(
    quota({
      ...v2('/a/b'),
      'sys/fs/cgroup/a/b/cpu.max': 'max 100000',
      'sys/fs/cgroup/a/cpu.max': '300000 100000',
    }),
    3,
  );
  assert.is(quota({ ...v2('/a'), 'sys/fs/cgroup/a/cpu.max': 'max 100000' }), undefined);
  assert.is(quota({ ...v2('/'), 'sys/fs/cgroup/cpu.max': '50000 100000' }), 0.5, 'inside a container');
  assert.is(
    quota({ ...v2('/../other'), 'sys/fs/cgroup/cpu.max': '200000 100000' }),
    2,
    'a path from outside the mount',
  );
  const v1 = {
    'proc/self/cgroup': '5:cpuset:/x\n4:cpu,cpuacct:/docker/one\n0::/',
    'proc/self/mountinfo':
      '33 31 0:29 /docker/one /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n34 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset',
    'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000',
  };
  assert.is(quota({ ...v1, 'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '150000' }), 1.5);
  assert.is(quota({ ...v1, 'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '-1' }), undefined);
});

test('a quota of 1.5 gets two threads, more on request and with a word', () => {
  const found = { physical: [0, 1, 2, 3], all: [0, 1, 2, 3], quota: 1.5 };
  assert.equal(chooseThreads(found), { threads: 2, cpus: [0, 1], note: undefined });
  const asked = chooseThreads(found, { threads: 4 });
  assert.equal(asked.cpus, [0, 1, 2, 3]);
  assert.match(asked.note!, /allows 1\.5 processors/);
  assert.is(chooseThreads({ ...found, quota: 0.2 }).threads, 1);
});

test('more threads than processors: fewer, and it says so', () => {
  const found = { physical: [0, 1], all: [0, 1] };
  const { threads, cpus, note } = chooseThreads(found, { threads: 8 });
  assert.equal([threads, cpus], [2, [0, 1]]);
  assert.match(note!, /8 threads were asked for, 2 processors are free/);
  assert.match(chooseThreads({ physical: [0], all: [0, 1] }, { threads: 2 }).note!, /2 threads share 1 physical core/);
  assert.equal(chooseThreads(found, { threads: 2, pin: false }).cpus, []);
  const shared = chooseThreads(found, { threads: 8, pin: false });
  assert.equal([shared.threads, shared.cpus], [8, []]);
  assert.match(shared.note!, /8 threads share 2 physical cores/);
});

test('named processors are taken as they are, foreign ones refused', () => {
  const found = { physical: [0, 2], all: [0, 2, 1, 3] };
  assert.equal(chooseThreads(found, { cpus: [3, 1] }), { threads: 2, cpus: [3, 1], note: undefined });
  assert.equal(chooseThreads(found, { cpus: [3, 1], threads: 1 }).cpus, [3]);
  assert.throws(() => chooseThreads(found, { cpus: [1, 9] }), /Processor 9 is not one .* 0, 1, 2, 3/);
  assert.throws(() => chooseThreads(found, { cpus: [1, 1] }), /named twice/);
});

test('memory: what the tightest control group still allows, cached files given back', () => {
  const allowed = (files: Record<string, string>) => allowedMemory(machine(files));
  const group = (path: string, max: string, current: string, stat = '') => ({
    [`sys/fs/cgroup${path}/memory.max`]: max,
    [`sys/fs/cgroup${path}/memory.current`]: current,
    [`sys/fs/cgroup${path}/memory.stat`]: stat,
  });
  const stat = 'anon 500\nfile 250\nshmem 100\ninactive_file 100\nactive_file 50\nworkingset_nodes 0';
  assert.is(allowed({ ...v2('/a/b'), ...group('/a/b', '1000', '700', stat) }), 450);
  assert.is(allowed({ ...v2('/a/b'), ...group('/a/b', 'max', '700'), ...group('/a', '800', '700') }), 100);
  assert.is(allowed({ ...v2('/'), ...group('', '700', '900') }), 0, 'inside a container, and over the limit');
  assert.is(allowed({ ...v2('/a'), ...group('/a', 'max', '700') }), Number.POSITIVE_INFINITY);
  assert.is(allowed({}), Number.POSITIVE_INFINITY);
  const v1 = {
    'proc/self/cgroup': '5:cpu:/x\n4:memory:/docker/one\n0::/',
    'proc/self/mountinfo': '33 31 0:29 /docker/one /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory',
    'sys/fs/cgroup/memory/memory.usage_in_bytes': '700',
    'sys/fs/cgroup/memory/memory.stat': 'inactive_file 1\nactive_file 1\ntotal_inactive_file 100\ntotal_active_file 50',
  };
  assert.is(allowed({ ...v1, 'sys/fs/cgroup/memory/memory.limit_in_bytes': '1000' }), 450);
  assert.ok(allowed({ ...v1, 'sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712' }) > 2 ** 60);
});

test('this machine', () => {
  const { physical, all } = findProcessors();
  assert.ok(physical.length >= 1 && all.length >= physical.length);
  assert.ok(allowedMemory() > 0);
});

test.run();
