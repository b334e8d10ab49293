/** The worker of encode.ts: loads the model's tokenizer once and encodes what it is sent. */
import { parentPort, workerData } from 'node:worker_threads';
import { loadModel } from '../model/load.ts';
import type { Tokenizer } from '../model/types.ts';

const { tokenizer } = await loadModel(workerData.source, { offline: true });
parentPort!.on(
  'message',
  ({ id, text, options }: { id: number; text: string; options: Parameters<Tokenizer['encode']>[1] }) => {
    try {
      parentPort!.postMessage({ id, tokens: tokenizer.encode(text, options) });
    } catch (error) {
      parentPort!.postMessage({ id, error: (error as Error).message });
    }
  },
);
