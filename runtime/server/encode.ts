/**
 * Tokenising off the event loop when it takes long. The tokenizer is plain JavaScript and synchronous: short prompts are
 * faster here, long ones go to a worker, which has the vocabulary of this thread.
 */
import type { Worker } from 'node:worker_threads';
import { startWorker } from '../../toolchain/worker.ts';
import type { LoadedModel, Tokenizer } from '../model/types.ts';

type Options = NonNullable<Parameters<Tokenizer['encode']>[1]>;

export type EncodeWorkerData = Pick<LoadedModel, 'source'> & Pick<Tokenizer, 'spelling'>;

/** Characters that take a few milliseconds; more would delay other requests. */
const SHORT = 4096;
/**
 * Milliseconds after which a worker without work ends: its heap, and the whole tokenizer of a model that cannot share it,
 * should be gone before a long prompt has filled the pool.
 */
const IDLE = 500;

export class Encoder {
  private worker?: Worker;
  private idle?: NodeJS.Timeout;
  private broken = false;
  private nextId = 1;
  private readonly waiting = new Map<
    number,
    { resolve: (tokens: Int32Array) => void; reject: (error: Error) => void; here: () => Int32Array }
  >();

  constructor(private readonly model: LoadedModel) {}

  async encode(text: string, options: Options = {}): Promise<Int32Array> {
    if (text.length <= SHORT || this.broken) return this.model.tokenizer.encode(text, options);
    const worker = (this.worker ??= this.start());
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, here: () => this.model.tokenizer.encode(text, options) });
      clearTimeout(this.idle);
      worker.postMessage({ id, text, options });
    });
  }

  private start(): Worker {
    const { source, tokenizer } = this.model;
    const workerData: EncodeWorkerData = { source, spelling: tokenizer.spelling };
    const options = { workerData, resourceLimits: { maxYoungGenerationSizeMb: 6 } };
    const worker = startWorker(new URL('./encode-worker.ts', import.meta.url), options);
    worker.on('message', ({ id, tokens, error }: { id: number; tokens?: Int32Array; error?: string }) => {
      const caller = this.waiting.get(id);
      this.waiting.delete(id);
      if (tokens) caller?.resolve(tokens);
      else caller?.reject(new Error(error));
      if (this.waiting.size === 0) this.idle = setTimeout(() => this.close(), IDLE).unref();
    });
    // A model that no worker can load by its name (one made in memory) is tokenised here, slower for others.
    worker.on('error', () => {
      for (const { resolve, here } of this.waiting.values()) resolve(here());
      this.waiting.clear();
      this.broken = true;
    });
    worker.unref();
    return worker;
  }

  async close(): Promise<void> {
    clearTimeout(this.idle);
    const { worker } = this;
    this.worker = undefined;
    await worker?.terminate();
  }
}
