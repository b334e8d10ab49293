/** The worker of encode.ts: loads the model's tokenizer once and encodes what it is sent. */
import { parentPort, workerData } from 'node:worker_threads';
import { register } from 'tsx/esm/api';

register();
const { loadModel } = await import('../model/load.ts');
const { tokenizer } = await loadModel(workerData.source, { offline: true });
parentPort.on('message', ({ id, text, options }) => {
  try {
    parentPort.postMessage({ id, tokens: tokenizer.encode(text, options) });
  } catch (error) {
    parentPort.postMessage({ id, error: String(error?.message ?? error) });
  }
});
