/** The kernels of a CUDA build as a table: what each needs, and how full a multiprocessor gets. */
import { occupancy } from '../codegen/back/cuda/occupancy.ts';
import type { KernelUsage } from '../codegen/back/cuda/usage.ts';

export interface KernelReport extends KernelUsage {
  /** resident blocks and warps of a multiprocessor, warps of the most possible, and what limits them */
  occupancy?: { blocks: number; warps: number; fraction: number; limit: string };
}

export const report = (usage: readonly KernelUsage[]): KernelReport[] =>
  usage.map((kernel) => ({ ...kernel, occupancy: kernel.threads ? occupancy(kernel.arch, kernel) : undefined }));

/** Lines of text, columns aligned. `times`: with what ptxas took. */
export function table(kernels: readonly KernelReport[], times = false): string[] {
  const rows = kernels.map(({ kernel, arch, threads, registers, shared, stack, spillStores, spillLoads, ...rest }) => {
    const full = rest.occupancy;
    return [
      kernel,
      `sm_${arch}`,
      `${threads}`,
      `${registers}`,
      `${shared}`,
      `${stack}`,
      `${spillStores + spillLoads}`,
      full ? `${full.blocks} blocks, ${full.warps} warps (${Math.round(100 * full.fraction)} %), ${full.limit}` : '–',
      ...(times ? [`${rest.milliseconds.toFixed(0)}`] : []),
    ];
  });
  const head = ['kernel', 'arch', 'threads', 'registers', 'shared B', 'stack B', 'spilled B', 'on a multiprocessor'];
  if (times) head.push('ptxas ms');
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i].length)));
  const words = new Set([0, 1, 7]); // the others are numbers, and stand to the right
  return [head, ...rows].map((row) =>
    row
      .map((cell, i) => (words.has(i) ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
      .join('  ')
      .trimEnd(),
  );
}
