/**
 * The worker of matchers.ts: compiles grammars, follows the tokens of each request, and writes what may come next into
 * memory that both sides see. Messages come in order, so an answer is about every token sent before.
 */
import { parentPort, workerData } from 'node:worker_threads';
import type { CompiledGrammar, GrammarCompiler, GrammarMatcher } from '@mlc-ai/web-xgrammar';
import type { FromWorker, ToWorker, Vocabulary } from './matchers.ts';
import { instance } from './xgrammar.ts';

/** Grammars that stay compiled. */
const COMPILED = 64;

let said: string[] = [];
const listen = (line: string): void => void said.push(line);
const send = (message: FromWorker): void => parentPort!.postMessage(message);

const { bytes, ends } = workerData as Vocabulary;
const library = instance(listen);
let compiler: GrammarCompiler | undefined;
const compiled = new Map<string, CompiledGrammar>();
const matchers = new Map<number, { matcher: GrammarMatcher; set: Int32Array }>();

/**
 * Token `ends.length`, which no model has, is the end of the text. It has an entry like every token: those beyond the list
 * are special to xgrammar, which forbids them wherever it notes what may not come instead of what may.
 */
async function compilerOf(): Promise<GrammarCompiler> {
  const texts = Array.from(ends, (end, token) => bytes.subarray(token ? ends[token - 1] : 0, end));
  const end = texts.push(new Uint8Array(0)) - 1;
  const vocabulary = texts as unknown as string[]; // embind takes bytes where it wants a std::string
  const info = await library.TokenizerInfo.createTokenizerInfo(vocabulary, 'raw', false, end + 1, [end]);
  return library.GrammarCompiler.createGrammarCompiler(info, false);
}

/** What the library has printed, as one sentence. */
function reason(error: unknown): string {
  const fatal = said.find((line) => line.includes('[FATAL]')) ?? (error as Error).message;
  return fatal
    .replace(/^.*\.cc:\d+: /, '')
    .replace(/^Check failed: \(.*?\) is false: /, '')
    .trim();
}

/** Throws for a text that is no grammar, in an instance that nobody needs any more. */
async function check(grammar: string): Promise<void> {
  const scratch = instance(listen);
  (await scratch.Grammar.fromEBNF(grammar)).dispose();
}

/** The grammar, from its text; the least used one leaves. */
async function compiledOf(grammar: string): Promise<CompiledGrammar> {
  compiler ??= await compilerOf();
  const found = compiled.get(grammar) ?? (await compiler.compileGrammar(grammar));
  compiled.delete(grammar);
  compiled.set(grammar, found);
  for (const [oldest, each] of compiled) {
    if (compiled.size <= COMPILED) break;
    compiled.delete(oldest);
    each.dispose();
  }
  return found;
}

async function compile({ grammar, foreign }: Extract<ToWorker, { kind: 'compile' }>): Promise<void> {
  said = [];
  try {
    if (foreign && !compiled.has(grammar)) await check(grammar);
  } catch (error) {
    return send({ kind: 'compiled', grammar, wrong: reason(error) });
  }
  await compiledOf(grammar);
  send({ kind: 'compiled', grammar });
}

/** A set with one bit more than there are tokens: the text may end. */
async function write(id: number): Promise<void> {
  const { matcher, set } = matchers.get(id)!;
  set.set(await matcher.getNextTokenBitmask());
  send({ kind: 'known', id });
}

async function obey(message: ToWorker): Promise<void> {
  switch (message.kind) {
    case 'compile':
      return compile(message);
    case 'open': {
      const grammar = await compiledOf(message.grammar);
      const matcher = await library.GrammarMatcher.createGrammarMatcher(grammar, [ends.length]);
      matchers.set(message.id, { matcher, set: message.set });
      return write(message.id);
    }
    case 'accept': {
      const opened = matchers.get(message.id);
      if (!opened) return;
      if (opened.matcher.acceptToken(message.token)) return write(message.id);
      return send({ kind: 'known', id: message.id, failure: `the grammar does not have token ${message.token} here` });
    }
    case 'close': {
      matchers.get(message.id)?.matcher.dispose();
      matchers.delete(message.id);
    }
  }
}

let last: Promise<void> = Promise.resolve();
parentPort!.on('message', (message: ToWorker) => {
  last = last.then(() => obey(message)).catch((error) => send({ kind: 'broken', failure: reason(error) }));
});
