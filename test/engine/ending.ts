/** A process that ends and closes no engine: `idle`, in the middle of a step (`busy`), or while one opens (`opening`). */
import { build, shipped } from '../../codegen/build.ts';
import { tinyModel } from '../oracle/tiny.ts';
import { outcome, randomTokens, smallEngine } from './small.ts';

const tiny = tinyModel(4);
const options = { policies: [await build(shipped('none')!)], kvCacheBytes: 8 << 20, check: false };
const request = { prompt: randomTokens(1, 64, tiny.loaded.spec.vocab), maxTokens: 64 };
const when = process.argv[2];
const engines = [await smallEngine(tiny, options), await smallEngine(tiny, options)];
for (const engine of engines) await outcome(engine, request);
if (when === 'opening') void smallEngine(tiny, options);
if (when === 'busy') for (const engine of engines) void outcome(engine, request);
await new Promise(setImmediate);
process.stdout.write('at its end\n');
if (when !== 'idle') process.exit(0);
