/** The worker of encode.ts: encodes what it is sent, with the vocabulary that the server has, or with its own. */
import { parentPort, workerData } from 'node:worker_threads';
import { encodeBy } from '../model/spelling.ts';
import { encodeOf } from '../model/tokenizer.ts';
import type { Tokenizer } from '../model/types.ts';
import type { EncodeWorkerData } from './encode.ts';

/** Loads the tokenizer again where it cannot be shared: one of tokenizer.json, or Unigram. */
async function loaded(source: string): Promise<Tokenizer['encode']> {
  const { loadModel } = await import('../model/load.ts');
  const { tokenizer } = await loadModel(source, { offline: true });
  return (text, options) => tokenizer.encode(text, options);
}

const { source, spelling } = workerData as EncodeWorkerData;
const encode = spelling ? encodeOf({ ...spelling, encode: encodeBy(spelling) }) : await loaded(source);
parentPort!.on(
  'message',
  ({ id, text, options }: { id: number; text: string; options: Parameters<Tokenizer['encode']>[1] }) => {
    try {
      parentPort!.postMessage({ id, tokens: encode(text, options) });
    } catch (error) {
      parentPort!.postMessage({ id, error: (error as Error).message });
    }
  },
);
