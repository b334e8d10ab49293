/** An editor with one file open, in a folder as `skv init` leaves it: what it knows of the dsl. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ts from 'typescript';
import { root } from '../../toolchain/folders.mjs';
import { skv } from '../cli/skv.ts';

const folder = mkdtempSync(join(tmpdir(), 'skv-editor-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
export const author = join(folder, 'mine.ts');
await skv('init', author);
const config = ts.getParsedCommandLineOfConfigFile(join(folder, 'tsconfig.json'), {}, {
  ...ts.sys,
  onUnRecoverableConfigFileDiagnostic: () => {},
} as ts.ParseConfigFileHost)!;

/** The first one exports the others. */
export const dsl = readdirSync(join(root, 'dsl'))
  .filter((name) => name.endsWith('.ts'))
  .sort((a, b) => Number(b === 'index.ts') - Number(a === 'index.ts'))
  .map((name) => join(root, 'dsl', name));
let text = readFileSync(author, 'utf8');
let version = 0;
export const service = ts.createLanguageService({
  getCompilationSettings: () => config.options,
  getScriptFileNames: () => [author, ...dsl],
  getScriptVersion: (file) => (file === author ? String(version) : '0'),
  getScriptSnapshot: (file) => {
    const content = file === author ? text : ts.sys.readFile(file);
    return content === undefined ? undefined : ts.ScriptSnapshot.fromString(content);
  },
  getCurrentDirectory: () => folder,
  getDefaultLibFileName: ts.getDefaultLibFilePath,
  fileExists: ts.sys.fileExists,
  readFile: ts.sys.readFile,
  directoryExists: ts.sys.directoryExists,
});

/** Replaces the author's text and returns the place of its mark. */
export function edit(source: string): number {
  const place = source.indexOf('█');
  text = source.replace('█', '');
  version++;
  return place;
}

/** What completion offers at the mark. */
export const offered = (source: string): string[] =>
  (service.getCompletionsAtPosition(author, edit(source), {})?.entries ?? []).map(({ name }) => name);
