/** What the machine can do at most, from bench/native/limits.cpp. */
import type { Child } from './child.ts';
import type { Answer } from './helper.ts';
import { rate } from './machine.ts';
import { median, spread } from './measure.ts';
import { type Cell, figure } from './report.ts';

export const limitNames = ['read', 'pages', 'int8', 'bf16', 'f32', 'handover'] as const;
type Name = (typeof limitNames)[number];

/** Bytes or operations a second (handover: seconds), once a repetition; empty where the machine has no such thing. */
export type Limits = Record<Name, number[]>;

const titles: Record<Name, string> = {
  read: 'read, 1 GiB in order',
  pages: 'read, 1 GiB in scattered 4 KiB pages',
  int8: 'int8 dot products (vpdpbusd)',
  bf16: 'bf16 dot products (vdpbf16ps)',
  f32: 'f32 multiply-add',
  handover: 'a line from core to core',
};

/** Measures one limit once more. */
export async function readLimit(helper: Child, name: Name, seen: Limits): Promise<void> {
  const { seconds, bytes, ops } = await helper.ask<Answer>(`limit ${name}`);
  if (seconds > 0) seen[name].push(name === 'handover' ? seconds : (bytes || ops) / seconds);
}

export async function readLimits(helper: Child, runs: number): Promise<Limits> {
  const seen: Limits = { read: [], pages: [], int8: [], bf16: [], f32: [], handover: [] };
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
      const shown = (value: number) =>
        name === 'handover'
          ? `${figure(value * 1e9)} ns`
          : rate(value, name === 'read' || name === 'pages' ? 'B' : 'op');
      return [titles[name], shown(middle), `${shown(min)}–${shown(max)}`, n];
    });
