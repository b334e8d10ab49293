/** llama.cpp through node-llama-cpp, which skv does not bring with it: a file's model, and a reader of texts. */
import type { Llama, LlamaContextSequence } from 'node-llama-cpp';
import { wants } from '../toolchain/errors.ts';
import type { Reader } from './kl.ts';

const instances = new Map<number, Promise<Llama>>();

async function start(threads: number): Promise<Llama> {
  const { getLlama, LlamaLogLevel } = await import('node-llama-cpp').catch((error) => {
    throw wants(['node-llama-cpp'], 'Comparing with llama.cpp', error);
  });
  return getLlama({ build: 'never', gpu: false, maxThreads: threads, logLevel: LlamaLogLevel.error });
}

/** llama.cpp itself, with so many threads at most; one for the life of the process. */
function instance(threads: number): Promise<Llama> {
  const known = instances.get(threads) ?? start(threads);
  instances.set(threads, known);
  return known;
}

export interface OpenedLlama {
  readonly sequence: LlamaContextSequence;
  close(): Promise<void>;
}

/** A GGUF file's model with a cache in f32 for one sequence of `contextSize` tokens. */
export async function openLlama(
  file: string,
  { contextSize, threads }: { contextSize: number; threads: number },
): Promise<OpenedLlama> {
  const model = await (await instance(threads)).loadModel({ modelPath: file });
  const context = await model.createContext({
    contextSize,
    threads,
    experimentalKvCacheKeyType: 'F32',
    experimentalKvCacheValueType: 'F32',
  });
  return {
    sequence: context.getSequence(),
    async close() {
      await context.dispose();
      await model.dispose();
    },
  };
}

/** Reads a text from its beginning; what a read leaves out before is read without its logits. */
export async function llamaReader(file: string, vocab: number, tokens: Int32Array, threads: number): Promise<Reader> {
  const { sequence, close } = await openLlama(file, { contextSize: tokens.length + 64, threads });
  let done = 0; // tokens in the cache
  return {
    name: 'llama.cpp',
    async read(from, count) {
      const input = Array.from(tokens.subarray(done, from + count), (token, i) =>
        done + i < from ? token : [token, { generateNext: { logits: true } }],
      );
      const results = await sequence.controlledEvaluate(input as never);
      done = from + count;
      return results.flatMap((result) => {
        if (!result?.next.logits) return [];
        const row = new Float32Array(vocab).fill(Number.NEGATIVE_INFINITY);
        for (const [token, logit] of result.next.logits) row[token] = logit;
        return [row];
      });
    },
    close,
  };
}
