/**
 * Grammars and who follows them: worker threads compile a grammar once and follow each request's tokens, so that neither
 * holds up the event loop. A mask comes within a fraction of a millisecond; a grammar may take seconds to compile.
 */
import type { Worker } from 'node:worker_threads';
import { maskWords } from '../contract/records.ts';
import { addToken, dropToken, hasToken } from '../engine/drawable.ts';
import type { LogitMask } from '../engine/types.ts';
import { startWorker } from '../../toolchain/worker.ts';
import { GrammarError } from './ebnf.ts';

/** What a worker needs of a model: the bytes of its tokens one after another, and where each ends. No bytes: never drawn. */
export interface Vocabulary {
  readonly bytes: Uint8Array;
  /** [tokens] */
  readonly ends: Int32Array;
}

export type ToWorker =
  | { kind: 'compile'; grammar: string; foreign: boolean }
  | { kind: 'open'; id: number; grammar: string; set: Int32Array }
  | { kind: 'accept'; id: number; token: number }
  | { kind: 'close'; id: number };

export type FromWorker =
  | { kind: 'compiled'; grammar: string; wrong?: string }
  | { kind: 'known'; id: number; failure?: string }
  | { kind: 'broken'; failure: string };

/** A grammar of xgrammar's EBNF. */
export interface Grammar {
  readonly text: string;
  /** a client wrote it: it may be no grammar */
  readonly foreign?: boolean;
}

/** What a request asks besides its grammar. */
export interface Follow {
  /** tokens that end the text */
  readonly stops: readonly number[];
  /** tokens that have bytes for the grammar's sake, and that this request's text would not show */
  readonly hidden?: readonly number[];
}

/** Workers that run at most: a grammar that takes long to compile does not hold up the masks of others while there is one more. */
const WORKERS = 3;
/** Seconds that a grammar may take to compile. */
const PATIENCE = 60;
/** Seconds after which a worker that follows nobody ends: it holds some tens of megabytes. */
const IDLE = 60;

/** One request's way through a grammar. */
class Matcher implements LogitMask {
  readonly allowed: Int32Array;
  /** what the worker writes: one bit more, for the end */
  readonly set: Int32Array;
  pending: Promise<void> | undefined;
  complete = false;
  failure: Error | undefined;
  private settle: () => void = () => {};

  constructor(
    private readonly id: number,
    private readonly thread: Thread,
    private readonly vocab: number,
    private readonly follow: Follow,
  ) {
    this.allowed = new Int32Array(maskWords(vocab));
    this.set = new Int32Array(new SharedArrayBuffer(4 * maskWords(vocab + 1)));
    this.wait();
  }

  private wait(): void {
    this.pending = new Promise((resolve) => (this.settle = resolve));
  }

  /** The worker has written the set, or says why it never will. */
  known(failure?: string): void {
    const { allowed, set, vocab, follow } = this;
    if (failure) this.failure = new Error(failure);
    const mayEnd = hasToken(set, vocab);
    allowed.set(set.subarray(0, allowed.length));
    if (vocab % 32) dropToken(allowed, vocab); // the last word has the end's bit
    for (const token of follow.hidden ?? []) dropToken(allowed, token);
    const asText = follow.stops.filter((token) => hasToken(allowed, token));
    for (const token of asText) dropToken(allowed, token);
    const goesOn = allowed.some((word) => word !== 0);
    this.complete = mayEnd && !goesOn;
    // a stop token that the grammar cannot do without ends the text early: its client has said so
    for (const token of mayEnd ? follow.stops : goesOn ? [] : asText) addToken(allowed, token);
    if (!mayEnd && !goesOn && asText.length === 0)
      this.failure ??= new Error('no token of this model goes on with the grammar here');
    this.pending = undefined;
    this.settle();
  }

  accept(token: number): void {
    if (this.failure) return;
    this.wait();
    this.thread.send({ kind: 'accept', id: this.id, token });
  }

  close(): void {
    this.thread.close(this.id);
  }
}

/** A worker, the grammars it has compiled and the matchers it follows. */
class Thread {
  private readonly worker: Worker;
  private readonly compiling = new Map<string, { resolve: () => void; reject: (error: Error) => void }>();
  private readonly matchers = new Map<number, Matcher>();
  private idle?: NodeJS.Timeout;
  /** grammars that it has compiled, some of which it may have forgotten */
  readonly knows = new Set<string>();
  gone = false;

  constructor(
    vocabulary: Vocabulary,
    private readonly idleSeconds: number,
    private readonly left: (thread: Thread) => void,
  ) {
    this.worker = startWorker(new URL('./grammar-worker.ts', import.meta.url), { workerData: vocabulary });
    this.worker.unref();
    this.worker.on('message', (message: FromWorker) => this.heard(message));
    this.worker.on('exit', () => this.end('the worker that follows grammars has ended'));
    this.worker.on('error', (error) => this.end(`the worker that follows grammars has failed: ${error.message}`));
  }

  get busy(): boolean {
    return this.compiling.size > 0;
  }

  get load(): number {
    return this.matchers.size + this.compiling.size;
  }

  send(message: ToWorker): void {
    if (!this.gone) this.worker.postMessage(message);
  }

  private heard(message: FromWorker): void {
    if (message.kind === 'broken') return this.end(message.failure);
    if (message.kind === 'known') return this.matchers.get(message.id)?.known(message.failure);
    const waiting = this.compiling.get(message.grammar);
    this.compiling.delete(message.grammar);
    if (message.wrong) waiting?.reject(new GrammarError(message.wrong));
    else {
      this.knows.add(message.grammar);
      waiting?.resolve();
    }
    this.rest();
  }

  /** Throws a GrammarError for a text that is no grammar, or one that takes too long. */
  async compile(grammar: Grammar): Promise<void> {
    clearTimeout(this.idle);
    const timer = setTimeout(
      () =>
        this.end(
          `a grammar took longer than ${PATIENCE} s to compile`,
          new GrammarError(
            `takes longer than ${PATIENCE} s to compile: it has too many states; smaller minLength, maxLength, minItems and maxItems make fewer`,
          ),
        ),
      PATIENCE * 1000,
    ).unref();
    try {
      await new Promise<void>((resolve, reject) => {
        this.compiling.set(grammar.text, { resolve, reject });
        this.send({ kind: 'compile', grammar: grammar.text, foreign: grammar.foreign ?? false });
      });
    } finally {
      clearTimeout(timer);
    }
  }

  follow(id: number, grammar: string, vocab: number, follow: Follow): Matcher {
    clearTimeout(this.idle);
    const matcher = new Matcher(id, this, vocab, follow);
    this.matchers.set(id, matcher);
    this.send({ kind: 'open', id, grammar, set: matcher.set });
    if (this.gone) matcher.known('the worker that follows grammars has ended');
    return matcher;
  }

  close(id: number): void {
    if (!this.matchers.delete(id)) return;
    this.send({ kind: 'close', id });
    this.rest();
  }

  private rest(): void {
    clearTimeout(this.idle);
    if (this.load === 0)
      this.idle = setTimeout(() => this.end('it had nothing to do'), this.idleSeconds * 1000).unref();
  }

  /** Ends the worker; who waits for it is told why. */
  end(why: string, refusal?: Error): void {
    if (this.gone) return;
    this.gone = true;
    clearTimeout(this.idle);
    this.left(this);
    for (const { reject } of this.compiling.values()) reject(refusal ?? new Error(why));
    for (const matcher of this.matchers.values()) matcher.known(why);
    this.compiling.clear();
    this.matchers.clear();
    void this.worker.terminate();
  }
}

/** The grammars of one model. */
export class Matchers {
  private readonly threads: Thread[] = [];
  /** what is being compiled */
  private readonly compiling = new Map<string, { thread: Thread; ready: Promise<void> }>();
  private nextId = 1;
  private vocabulary?: Promise<Vocabulary>;

  /** `read`: called at the first grammar; `vocab`: tokens of a set, those without a text included. */
  constructor(
    private readonly vocab: number,
    private readonly read: () => Promise<Vocabulary>,
    private readonly idleSeconds = IDLE,
  ) {}

  /** Gives a function that starts to follow the grammar for one generation. Throws a GrammarError. */
  async open(grammar: Grammar): Promise<(follow: Follow) => LogitMask> {
    const vocabulary = await (this.vocabulary ??= this.read());
    const { thread, ready } = this.compile(grammar, vocabulary);
    await ready;
    return (follow) => thread.follow(this.nextId++, grammar.text, this.vocab, follow);
  }

  private compile(grammar: Grammar, vocabulary: Vocabulary): { thread: Thread; ready: Promise<void> } {
    const found = this.compiling.get(grammar.text);
    if (found) return found;
    const thread = this.choose(grammar.text, vocabulary);
    const ready = thread.compile(grammar);
    const entry = { thread, ready };
    this.compiling.set(grammar.text, entry);
    const forget = () => this.compiling.get(grammar.text) === entry && this.compiling.delete(grammar.text);
    ready.then(forget, forget);
    return entry;
  }

  /** One that knows the grammar, one that follows nobody, a new one, the one that follows the fewest. */
  private choose(grammar: string, vocabulary: Vocabulary): Thread {
    const knows = this.threads.find((thread) => !thread.busy && thread.knows.has(grammar));
    if (knows) return knows;
    const free = this.threads.filter(({ busy }) => !busy).sort((a, b) => a.load - b.load);
    if (free[0]?.load === 0) return free[0];
    if (this.threads.length < WORKERS) {
      const left = (thread: Thread) => this.threads.splice(this.threads.indexOf(thread), 1);
      const started = new Thread(vocabulary, this.idleSeconds, left);
      this.threads.push(started);
      return started;
    }
    return free[0] ?? [...this.threads].sort((a, b) => a.load - b.load)[0];
  }

  close(): void {
    for (const thread of [...this.threads]) thread.end('the server closes');
  }
}
