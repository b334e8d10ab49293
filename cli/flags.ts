/** Values of flags: numbers, sizes, parameters. Each says what it needs. */
import type { Command } from 'commander';
import { UserError } from '../toolchain/errors.ts';

/** A flag that may be given several times. */
export const collect = (value: string, list: string[] = []): string[] => [...list, value];

/** Refuses a second value for every flag that takes one: the first would do nothing. */
export function refuseRepeats(command: Command): void {
  for (const option of command.options) {
    if (option.variadic || option.parseArg || !(option.required || option.optional)) continue;
    let values = 0;
    command.on(`option:${option.name()}`, () => {
      values++;
      if (values > 1) command.error(`error: ${option.long} is given twice, and takes one value`);
    });
  }
  command.commands.forEach(refuseRepeats);
}

/** A whole number from `least` on; what is absent stays so. */
export function whole(flag: string, text: string, least?: number): number;
export function whole(flag: string, text: string | undefined, least?: number): number | undefined;
export function whole(flag: string, text: string | undefined, least = 1): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!text.trim() || !Number.isInteger(value) || value < least)
    throw new UserError(`--${flag} ${text}: a whole number from ${least} is needed.`);
  return value;
}

/** A number above 0, up to `most`. */
export function positive(flag: string, text: string, most = Number.POSITIVE_INFINITY): number {
  const value = Number(text);
  if (!(value > 0 && value <= most))
    throw new UserError(
      `--${flag} ${text}: a number above 0${Number.isFinite(most) ? `, up to ${most},` : ''} is needed.`,
    );
  return value;
}

/** 2GiB, 512MiB, 1000000 … */
export function parseBytes(flag: string, text: string): number;
export function parseBytes(flag: string, text: string | undefined): number | undefined;
export function parseBytes(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const [, number, unit = ''] = text.match(/^(\d+(?:\.\d+)?)\s*([KMG]i?B?|B)?$/i) ?? [];
  if (number === undefined) throw new UserError(`--${flag} ${text}: write a size such as 512MiB or 2GiB.`);
  const power = { K: 1, M: 2, G: 3 }[unit[0]?.toUpperCase() as 'K'] ?? 0;
  return Math.floor(Number(number) * 1024 ** power);
}

/** The part of a sequence to keep. */
export function parseRatio(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ratio = Number(text);
  if (!(ratio > 0 && ratio <= 1))
    throw new UserError(`--${flag} ${text}: a number above 0, up to 1, is needed (0.2 keeps 20 %).`);
  return ratio;
}

/** name=value pairs as numbers. */
export function parseParams(pairs: readonly string[]): Record<string, number> {
  const params: Record<string, number> = {};
  for (const pair of pairs) {
    const [, name, text] = pair.match(/^([A-Za-z][A-Za-z0-9_]*)=(.+)$/) ?? [];
    if (!name || Number.isNaN(Number(text)))
      throw new UserError(`--param ${pair}: write name=number, for example --param budget=512.`);
    if (Object.hasOwn(params, name)) throw new UserError(`--param ${pair}: ${name} is given twice.`);
    params[name] = Number(text);
  }
  return params;
}
