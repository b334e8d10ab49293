/** skv table: a policy and its table of constants for a model, measured on a text. */
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { build, shipped } from '../../codegen/build.ts';
import { far, ranked } from '../../eval/far.ts';
import { mobyDick } from '../../eval/text.ts';
import type { LoadedModel } from '../../runtime/model/types.ts';
import { UserError } from '../../toolchain/errors.ts';
import { root, version } from '../../toolchain/folders.mjs';
import { whole } from '../flags.ts';
import { longText, openModel } from '../model.ts';
import { note, say } from '../output.ts';

interface TableFlags {
  model: string;
  text?: string;
  tokens: string;
  sinks: string;
  recent: string;
  out: string;
}

/** Writes NAME.json, which says how it was made, and beside it the policy that reads it. */
export async function makeTable(name: string, flags: TableFlags): Promise<void> {
  if (name !== 'duo') throw new UserError(`${name} has no table that can be measured; duo has.`);
  const [count, sinks, recent] = [
    whole('tokens', flags.tokens, 1),
    whole('sinks', flags.sinks, 0),
    whole('recent', flags.recent, 1),
  ];
  if (count <= sinks + recent)
    throw new UserError(
      `--tokens ${count}: a window of ${sinks + recent} slots sees them all. Take more tokens, or a smaller window.`,
    );
  const measuring = await build(join(root, 'eval', 'far-policy.ts'));
  const model = await openModel(flags.model);
  const tokens = textOf(model, flags.text, count);
  const measured = await far(model, measuring, { tokens, sinks, recent, note: (line) => note(`skv: ${line}`) });
  const made = {
    by: `skv ${version} table duo`,
    model: model.name,
    text: flags.text === undefined ? 'Moby Dick' : basename(flags.text),
    tokens: count,
    sinks,
    recent,
    measure: 'rank, 0 … 1, among all KV heads, of the attention that lies outside sinks and recent',
  };
  mkdirSync(flags.out, { recursive: true });
  const [policy, table] = [join(flags.out, 'duo.ts'), join(flags.out, 'duo.json')];
  writeFileSync(table, printed(made, ranked(measured)));
  if (resolve(policy) !== shipped('duo')) copyFileSync(shipped('duo')!, policy);
  say(
    `wrote ${table} and ${policy}: ${measured.length} layers of ${measured[0].length} KV heads\nnext: skv serve --model ${flags.model} --sparse-kv-cache-type ${policy}`,
  );
}

function textOf(model: LoadedModel, file: string | undefined, count: number): Int32Array {
  if (file !== undefined) return longText(model, file, count, true).subarray(0, count);
  const tokens = model.tokenizer.encode(mobyDick().slice(0, 16 * count), { addBos: true });
  return Int32Array.from(tokens.slice(0, count));
}

/** A layer a line. */
const printed = (made: object, gates: readonly (readonly number[])[]): string =>
  `${JSON.stringify({ made }, null, 2).slice(0, -2)},\n  "gates": [\n${gates.map((row) => `    [${row.join(', ')}]`).join(',\n')}\n  ]\n}\n`;
