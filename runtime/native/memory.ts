/** How much memory this process may still have, where the machine has more. Read from /proc and /sys, as processors.ts does. */
import { join } from 'node:path';
import { groupsOf, text } from './processors.ts';

const files = {
  1: { limit: 'memory.limit_in_bytes', usage: 'memory.usage_in_bytes', cache: /^total_(?:in)?active_file (\d+)$/gm },
  2: { limit: 'memory.max', usage: 'memory.current', cache: /^(?:in)?active_file (\d+)$/gm },
};

/** Bytes until the tightest control group is full; Infinity: none has a limit. Cached files count as free: they give way. */
export function allowedMemory(root = '/'): number {
  let allowed = Number.POSITIVE_INFINITY;
  for (const { folder, version } of groupsOf(root, 'memory')) {
    const { limit, usage, cache } = files[version];
    const most = Number(text(join(folder, limit)) ?? 'max');
    if (Number.isNaN(most)) continue; // "max" is none
    const cached = [...(text(join(folder, 'memory.stat')) ?? '').matchAll(cache)].map(([, bytes]) => Number(bytes));
    const used = Number(text(join(folder, usage)) ?? 0) - cached.reduce((sum, bytes) => sum + bytes, 0);
    allowed = Math.min(allowed, Math.max(0, most - Math.max(0, used)));
  }
  return allowed;
}
