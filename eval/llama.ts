/** llama.cpp as a reader of texts, through node-llama-cpp: the same file, cache in f32. */
import { wants } from '../toolchain/errors.ts';
import type { Reader } from './kl.ts';

export async function llamaReader(file: string, vocab: number, tokens: Int32Array, threads: number): Promise<Reader> {
  const { getLlama, LlamaLogLevel } = await import('node-llama-cpp').catch((error) => {
    throw wants(['node-llama-cpp'], 'Comparing with llama.cpp', error);
  });
  const llama = await getLlama({ build: 'never', gpu: false, maxThreads: threads, logLevel: LlamaLogLevel.error });
  const model = await llama.loadModel({ modelPath: file });
  const context = await model.createContext({
    contextSize: tokens.length + 64,
    threads,
    experimentalKvCacheKeyType: 'F32',
    experimentalKvCacheValueType: 'F32',
  });
  const sequence = context.getSequence();
  return {
    name: 'llama.cpp',
    async read(from, count) {
      const input = Array.from(
        tokens.subarray(from, from + count),
        (token) => [token, { generateNext: { logits: true } }] as never,
      );
      const results = await sequence.controlledEvaluate(input);
      return results.map((result) => {
        const row = new Float32Array(vocab).fill(Number.NEGATIVE_INFINITY);
        for (const [token, logit] of result!.next.logits!) row[token] = logit;
        return row;
      });
    },
    async close() {
      await context.dispose();
      await model.dispose();
      await llama.dispose();
    },
  };
}
