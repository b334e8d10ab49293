/**
 * Identifiers obey docs/glossary.md: a word of its last column is not the name of what the row means. Many of those words
 * are good English elsewhere, so each has a rule here: where it must not be, and which names mean something else.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../../toolchain/folders.mjs';
import { withoutComments } from './cpp.ts';

/** Kernels, native code and what drives them; in TypeScript the rooms that speak of slots and pages. */
const kernels = ['templates', 'runtime/native', 'runtime/contract', 'bench/native', 'test/gpu/driver', 'test/kernels'];
const rooms = ['codegen/plan', 'codegen/back', 'codegen/oracle', 'runtime/engine', 'dsl', 'policies'];

interface Rule {
  /** `path name` of what means something else, as a pattern */
  allow?: RegExp;
  /** why the word cannot be found by its letters */
  sense?: string;
}

const rules: Record<string, Rule> = {
  // an entry point of a library, an entry of a table, of a cache, of a folder
  entry: {
    allow:
      /_entry|_ENTRY|((runtime\/native|test\/gpu).*|rotate\.hpp|\.ts) (entry|entry_of|Entry|entries|fromEntries|throwIfNoEntry)$/,
  },
  cell: { allow: /dsl\/math\.ts cell$/ },
  block: { sense: 'CUDA has blocks, quantised weights too, and vLLM’s block table keeps its name' },
  chunk: { sense: 'prompts come in chunks, `chunks()` keeps some' },
  segment: { sense: 'attention is evaluated by segments' },
  // memory that JavaScript and native code share
  share: { allow: /addon\/engine\.cpp share$/ },
  shares: {},
  // whose turn it is
  turn: { allow: /bench\/native\/\w+\.cpp k?[Tt]urns?$/ },
  turned: {},
  rotate: { sense: 'RoPE rotates' },
  // a function, or a tool that is called
  call: { allow: /(threads\.h|addon\/engine\.cpp|harness\.(cpp|h)|driver\.cpp) (call|Call|BlockingCall)$|\.ts / },
  'call ahead': {},
  prefetch: { sense: 'the cache hierarchy prefetches' },
  shielded: {},
  wins: {},
  left: { allow: /\.ts |driver\/bench\.cpp left_out$/ },
  // of a cache, or of a text
  line: { allow: /(native|contract|\.ts|cuda|test\/kernels).* \w*([lL]ines?|LINE)\w*$/ },
  // slots that stay: a request asks for them, kernels count them; logits that stay for a second look
  kept: { allow: /KEPT_LOGITS|kept_logits|\.ts |addon\/engine\.cpp kept$|cuda\/(move|select)\.cuh kept$/ },
  // query heads that one block computes; part of a product, of a joined matrix, of a message
  part: { allow: /(templates\/cuda|cuda\/(weights|dense_model)|\.ts|matmul_\w+\.(cpp|h)|crash\.cpp).* / },
  choice: { allow: /runtime\/engine\/\w+\.ts / },
  way: {},
  deal: {},
};

/** Words of the last column, by row; what stands in brackets explains. */
const forbidden = readFileSync(join(root, 'docs/glossary.md'), 'utf8')
  .split('\n')
  .flatMap((line) => line.match(/^\| (?!word \|)[^|]+\|[^|]+\| ([^|]+) \|$/)?.[1].replace(/\(.*?\)/g, '') ?? [])
  .flatMap((cell) => cell.split(','))
  .map((word) => word.trim())
  .filter(Boolean);

const filesIn = (folders: readonly string[], names: RegExp): string[] =>
  folders.flatMap((folder) =>
    (readdirSync(join(root, folder), { recursive: true }) as string[])
      .map((name) => join(folder, name))
      .filter((name) => names.test(name) && !name.includes('/golden/')),
  );

/** Words of an identifier: snake_case, camelCase and kConstant alike. */
const wordsOf = (name: string): string[] =>
  (name.match(/[A-Z]?[a-z]+|[A-Z]+(?![a-z])/g) ?? []).map((word) => word.toLowerCase());

/** Whether the words of a name have these next to each other; a plural is the same word. */
export function names(identifier: string, phrase: string): boolean {
  const parts = wordsOf(identifier);
  const wanted = phrase.split(' ');
  const same = (part: string, word: string) => part === word || part === `${word}s`;
  return parts.some((_, at) => wanted.every((word, i) => at + i < parts.length && same(parts[at + i], word)));
}

const identifiers = new Map(
  [...filesIn(kernels, /\.(h|hpp|cuh|cpp|hbs)$/), ...filesIn(rooms, /\.ts$/)].map((file) => {
    const code = withoutComments(readFileSync(join(root, file), 'utf8'));
    return [file, [...new Set(code.match(/[A-Za-z_]\w*/g))]] as const;
  }),
);

test('a phrase is found in names of every style', () => {
  for (const name of ['call_ahead', 'callAhead', 'kCallAhead', 'CALL_AHEAD'])
    assert.ok(names(name, 'call ahead'), name);
  for (const name of ['shares', 'row_share', 'ShareSize']) assert.ok(names(name, 'share'), name);
  for (const name of ['shared', '__shared__', 'return', 'recall']) {
    assert.not(names(name, 'share'), name);
    assert.not(names(name, 'turn'), name);
    assert.not(names(name, 'call'), name);
  }
});

test('every word of the last column has a rule, and every rule a word', () => {
  assert.ok(forbidden.length > 10, 'the table is found');
  assert.equal([...new Set(forbidden)].sort(), Object.keys(rules).sort());
});

for (const [word, { allow, sense }] of Object.entries(rules))
  if (!sense)
    test(`no name says “${word}”`, () => {
      const found = [...identifiers].flatMap(([file, list]) =>
        list.filter((name) => names(name, word) && !allow?.test(`${file} ${name}`)).map((name) => `${file}: ${name}`),
      );
      assert.equal(found, []);
    });

test('every exception is needed', () => {
  for (const [word, { allow }] of Object.entries(rules)) {
    if (!allow) continue;
    const used = [...identifiers].some(([file, list]) =>
      list.some((name) => names(name, word) && allow.test(`${file} ${name}`)),
    );
    assert.ok(used, word);
  }
});

test.run();
