/** The machine that the numbers belong to. */
import { readFileSync } from 'node:fs';
import { loadavg, totalmem } from 'node:os';
import { cpuBackend, native } from '../runtime/native/index.ts';
import { findProcessors } from '../runtime/native/processors.ts';

export interface Machine {
  cpu: string;
  /** processors that are used, one a physical core */
  cores: number[];
  isa: string[];
  memoryBytes: number;
  /** one-minute load when the run began: others' work, if it is above zero */
  load: number;
  node: string;
  date: string;
}

export function machine(): Machine {
  const info = readFileSync('/proc/cpuinfo', 'utf8');
  return {
    cpu: info.match(/model name\s*:\s*(.*)/)?.[1] ?? process.arch,
    cores: findProcessors().physical,
    isa: process.env.SKV_ISA ? [process.env.SKV_ISA] : native().isas(cpuBackend()),
    memoryBytes: totalmem(),
    load: loadavg()[0],
    node: process.version,
    date: new Date().toISOString(),
  };
}

export const machineLine = ({ cpu, cores, isa, memoryBytes, load, date }: Machine): string =>
  `${cpu}, ${cores.length} cores, ${isa[0]}, ${(memoryBytes / 2 ** 30).toFixed(0)} GiB, load ${load.toFixed(1)} at the start, ${date.slice(0, 10)}`;

/** Peak resident bytes of a process. */
export function peakRss(pid: number | 'self' = 'self'): number {
  return Number(readFileSync(`/proc/${pid}/status`, 'utf8').match(/VmHWM:\s*(\d+)/)?.[1] ?? Number.NaN) * 1024;
}

/** The processor's name of one instruction, as bench/native's dot loops report it, for people. */
export const rate = (perSecond: number, unit: string): string => {
  const [scale, prefix] = perSecond >= 1e12 ? [1e12, 'T'] : perSecond >= 1e9 ? [1e9, 'G'] : [1e6, 'M'];
  return `${(perSecond / scale).toFixed(perSecond / scale < 10 ? 2 : 0)} ${prefix}${unit}/s`;
};
