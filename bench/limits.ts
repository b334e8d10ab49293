/** What the machine can do at most, from bench/native/limits.cpp. */
import type { Child } from './child.ts';
import type { Answer } from './helper.ts';
import { rate } from './machine.ts';
import { median, spread } from './measure.ts';
import { type Cell, figure } from './report.ts';

const limitNames = ['read', 'pages', 'int8', 'bf16', 'f32', 'handover', 'section', 'wake'] as const;
type Name = (typeof limitNames)[number];

/** Once a repetition, in the limit's unit; empty when the machine has no such instruction, or one core. */
export type Limits = Record<Name, number[]>;

/** What each is called and measured in: bytes or operations a second, or seconds. */
const kinds: Record<Name, { title: string; unit: 'B' | 'op' | 's' }> = {
  read: { title: 'read, 1 GiB in order', unit: 'B' },
  pages: { title: 'read, 1 GiB in scattered 4 KiB pages', unit: 'B' },
  int8: {
    title: 'int8 dot products (tdpbsud; without AMX vpdpbusd; with AVX2 vpmaddubsw, vpmaddwd and vpaddd)',
    unit: 'op',
  },
  bf16: { title: 'bf16 dot products (tdpbf16ps; without AMX vdpbf16ps)', unit: 'op' },
  f32: { title: 'f32 multiply-add', unit: 'op' },
  handover: { title: 'a line from core to core', unit: 's' },
  section: { title: 'an empty parallel section', unit: 's' },
  wake: { title: 'the same after 2 ms of sleep', unit: 's' },
};

/** Measures one limit once more. */
export async function readLimit(helper: Child, name: Name, seen: Limits): Promise<void> {
  const { seconds, bytes, ops } = await helper.ask<Answer>(`limit ${name}`);
  if (seconds > 0) seen[name].push(kinds[name].unit === 's' ? seconds : (bytes || ops) / seconds);
}

export async function readLimits(helper: Child, runs: number): Promise<Limits> {
  const seen = Object.fromEntries(limitNames.map((name) => [name, []])) as unknown as Limits;
  for (let i = 0; i < runs; i++) for (const name of limitNames) await readLimit(helper, name, seen);
  return seen;
}

/** The medians; a dot product that the machine has no instruction for runs at the rate of f32. */
export function limitsOf(seen: Limits): { read: number; int8: number; bf16: number; f32: number } {
  const f32 = median(seen.f32);
  const or = (values: number[]) => (values.length ? median(values) : f32);
  return { read: median(seen.read), int8: or(seen.int8), bf16: or(seen.bf16), f32 };
}

export const limitRows = (seen: Limits): Cell[][] =>
  limitNames
    .filter((name) => seen[name].length)
    .map((name) => {
      const { median: middle, min, max, n } = spread(seen[name]);
      const { title, unit } = kinds[name];
      const shown = (value: number) => (unit === 's' ? `${figure(value * 1e9)} ns` : rate(value, unit));
      return [title, shown(middle), `${shown(min)}–${shown(max)}`, n];
    });

/** Dot products that this machine has no instruction for. */
export const missingDots = (seen: Limits): Name[] =>
  limitNames.filter((name) => kinds[name].unit === 'op' && seen[name].length === 0);
