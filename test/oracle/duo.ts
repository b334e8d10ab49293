/** The shipped duo with another table: its own is of one real model. */
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { random } from '../../codegen/oracle/random.ts';
import { shipped } from '../../codegen/build.ts';

const home = mkdtempSync(join(tmpdir(), 'skv-duo-'));
process.on('exit', () => rmSync(home, { recursive: true, force: true }));

/** [layer][KV head]: about half of them above 0.5, none near it. */
export function randomGates(seed: number, { layers, kvHeads }: { layers: number; kvHeads: number }): number[][] {
  const next = random(seed);
  const gate = () => (next() < 0.5 ? 0.25 : 0.75);
  return Array.from({ length: layers }, () => Array.from({ length: kvHeads }, gate));
}

/** The path of duo.ts beside a duo.json of these gates. */
export function duoWith(gates: readonly (readonly number[])[]): string {
  const folder = mkdtempSync(join(home, 'duo-'));
  writeFileSync(join(folder, 'duo.json'), JSON.stringify({ gates }));
  copyFileSync(shipped('duo')!, join(folder, 'duo.ts'));
  return join(folder, 'duo.ts');
}

/** The source of a shipped policy for a model of a shape: duo's with a table of that shape, every other head far-sighted. */
export const sourceFor = (policy: string, { layers, kvHeads }: { layers: number; kvHeads: number }): string =>
  policy === 'duo'
    ? duoWith(
        Array.from({ length: layers }, (_, l) => Array.from({ length: kvHeads }, (_, h) => 0.25 + ((l + h) % 2) / 2)),
      )
    : shipped(policy)!;
