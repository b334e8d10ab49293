/**
 * Which processors the engine's threads may have: the affinity mask, one of each physical core before the cores' siblings,
 * and the control group's quota. Read from /proc and /sys; `root` stands in for / in tests.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { UserError } from '../../toolchain/errors.ts';

export interface Processors {
  /** one of each physical core, ascending */
  readonly physical: number[];
  /** those, then the cores' other threads */
  readonly all: number[];
  /** processors' worth of time that the control group allows, such as 1.5 */
  readonly quota?: number;
}

export function text(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** The kernel's lists: 0-3,8,10-11. Undefined for what is none. */
export function parseList(list: string): number[] | undefined {
  const out: number[] = [];
  for (const part of list.split(',')) {
    const [, first, last = first] = part.match(/^\s*(\d+)(?:-(\d+))?\s*$/) ?? [];
    if (first === undefined || Number(last) < Number(first) || Number(last) > 65_535) return undefined;
    for (let cpu = Number(first); cpu <= Number(last); cpu++) out.push(cpu);
  }
  return out;
}

interface Mount {
  /** what part of the hierarchy is mounted, and where */
  from: string;
  at: string;
  type: string;
  options: string[];
}

function mounts(root: string): Mount[] {
  return (text(join(root, 'proc/self/mountinfo')) ?? '').split('\n').flatMap((line) => {
    const [before, after] = line.split(' - ');
    const [, , , from, at] = before.split(' ');
    const [type, , options = ''] = after?.split(' ') ?? [];
    return type?.startsWith('cgroup') ? [{ from, at, type, options: options.split(',') }] : [];
  });
}

/** Processors that one group's files allow; undefined: no limit. */
function limitOf(folder: string, version: 1 | 2): number | undefined {
  const [quota, period] =
    version === 2
      ? (text(join(folder, 'cpu.max')) ?? '').split(' ')
      : [text(join(folder, 'cpu.cfs_quota_us')), text(join(folder, 'cpu.cfs_period_us'))];
  const limit = Number(quota) / Number(period);
  return limit > 0 && Number.isFinite(limit) ? limit : undefined; // "max" and -1 are none
}

/** Folders of the group that a controller puts this process in, and of the groups around it. */
export function* groupsOf(root: string, controller: string): Generator<{ folder: string; version: 1 | 2 }> {
  for (const line of (text(join(root, 'proc/self/cgroup')) ?? '').split('\n')) {
    const [, controllers = '', path = ''] = line.match(/^\d+:([^:]*):(.*)$/) ?? [];
    const version = controllers === '' ? 2 : 1;
    if (version === 1 && !controllers.split(',').includes(controller)) continue;
    const mount = mounts(root).find(({ type, options }) =>
      version === 2 ? type === 'cgroup2' : type === 'cgroup' && options.includes(controller),
    );
    if (!mount) continue;
    // inside a container the group's path may be named from outside: then the mount itself is the group
    const below = relative(mount.from, path);
    const top = resolve(join(root, mount.at));
    for (let folder = below.startsWith('..') ? top : join(top, below); ; folder = dirname(folder)) {
      yield { folder, version };
      if (folder === top) break;
    }
  }
}

/** The tightest quota of this process's group and of the groups around it. */
function quotaOf(root: string): number | undefined {
  const limits: number[] = [];
  for (const { folder, version } of groupsOf(root, 'cpu')) {
    const limit = limitOf(folder, version);
    if (limit !== undefined) limits.push(limit);
  }
  return limits.length ? Math.min(...limits) : undefined;
}

export function findProcessors(root = '/'): Processors {
  const mask = text(join(root, 'proc/self/status'))?.match(/^Cpus_allowed_list:\s*(\S+)$/m)?.[1];
  const online = text(join(root, 'sys/devices/system/cpu/online'));
  const isOnline = new Set(online === undefined ? undefined : parseList(online));
  const allowed = (parseList(mask ?? '0') ?? [0]).filter((cpu) => isOnline.size === 0 || isOnline.has(cpu));
  const physical: number[] = [];
  const siblings: number[] = [];
  const seen = new Set<string>();
  for (const cpu of allowed) {
    const topology = join(root, `sys/devices/system/cpu/cpu${cpu}/topology`);
    const core = existsSync(topology) ? text(join(topology, 'thread_siblings_list')) : undefined;
    if (core !== undefined && seen.has(core)) siblings.push(cpu);
    else physical.push(cpu);
    if (core !== undefined) seen.add(core);
  }
  return { physical, all: [...physical, ...siblings], quota: quotaOf(root) };
}

export interface ThreadsChoice {
  threads: number;
  /** what to pin them to; empty: unpinned */
  cpus: number[];
  /** what the user should know */
  note?: string;
}

/**
 * Threads and their processors. Nothing asked: one per physical core, no more than the quota lasts for. `cpus` are taken as
 * they are; fewer processors than threads asked for means fewer threads, unless they are unpinned and may share. Throws a
 * UserError for processors that are not ours.
 */
export function chooseThreads(
  found: Processors,
  asked: { threads?: number; cpus?: readonly number[]; pin?: boolean } = {},
): ThreadsChoice {
  const { physical, all, quota } = found;
  const foreign = asked.cpus?.find((cpu) => !all.includes(cpu));
  if (foreign !== undefined)
    throw new UserError(
      `Processor ${foreign} is not one that this process may use; those are ${[...all].sort((a, b) => a - b).join(', ')}.`,
    );
  if (asked.cpus && new Set(asked.cpus).size !== asked.cpus.length)
    throw new UserError(`Processors ${asked.cpus.join(', ')}: one is named twice.`);
  const most = asked.cpus ?? all;
  const free = Math.max(1, Math.min(physical.length, Math.ceil(quota ?? Number.POSITIVE_INFINITY)));
  const room = asked.pin === false ? Number.POSITIVE_INFINITY : most.length;
  const threads = Math.min(asked.threads ?? asked.cpus?.length ?? free, room, 256);
  const notes: string[] = [];
  if (asked.threads !== undefined && threads < asked.threads)
    notes.push(`${asked.threads} threads were asked for, ${threads} processor${threads === 1 ? ' is' : 's are'} free.`);
  if (quota !== undefined && threads > Math.ceil(quota))
    notes.push(`The control group allows ${quota} processors: ${threads} threads will be slowed down.`);
  if (asked.cpus === undefined && threads > physical.length)
    notes.push(`${threads} threads share ${physical.length} physical cores, which is seldom faster.`);
  const cpus = asked.pin === false ? [] : most.slice(0, threads);
  return { threads, cpus, note: notes.length ? notes.join(' ') : undefined };
}
