/**
 * The clients of Python, unchanged: each is a program that asks as its users do, and fails where an answer is not as they
 * expect. They come through pip on first use, into a folder of skv's cache.
 */
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../../toolchain/folders.mjs';
import { run } from '../../toolchain/process.ts';
import { type Wheels, installWheels } from '../../toolchain/wheels.ts';
import { QWEN } from './templates.ts';
import { serve, withTemplate } from './textual.ts';

const python = process.env.PYTHON ?? 'python3';
const folder = join(root, 'test/server/python');
/** Wheels are built for one version of Python; numpy's want 3.11 at least. */
const { code, output } = await run(python, ['-c', 'import sys; print("%d.%d" % sys.version_info[:2])']);
const version = output.trim();
if (code !== 0 || !/^3\.(1[1-9]|[2-9]\d)$/.test(version))
  throw new Error(`The clients of Python need Python 3.11 or newer with pip; ${python} is: ${version}`);
const wheels = (pins: string): Wheels => ({
  name: `python-${pins}-${version}`,
  requirements: join(folder, `${pins}.txt`),
  what: 'the clients of Python',
  command: 'node --import tsx test/run.ts server/python',
});

const running = await serve({ apiKey: 'sesame' }, withTemplate(QWEN));
test.after(() => running.stop());

/** Nothing but the server can be reached, and nobody tries: what would be fetched comes with the packages. */
const offline = {
  HTTP_PROXY: 'http://127.0.0.1:9',
  HTTPS_PROXY: 'http://127.0.0.1:9',
  NO_PROXY: '127.0.0.1',
  LITELLM_LOCAL_MODEL_COST_MAP: 'True',
  LANGSMITH_TRACING: 'false',
  TQDM_DISABLE: '1',
};

async function passes(client: string, ...pins: string[]): Promise<void> {
  const path: string[] = [];
  for (const each of pins) path.push(await installWheels(wheels(each)));
  const env = { ...offline, PYTHONPATH: path.join(':'), PYTHONNOUSERSITE: '1' };
  const ended = await run(python, [join(folder, `${client}.py`), running.url, 'tiny'], { env });
  assert.is(ended.code, 0, ended.output);
}

test('openai 2', () => passes('with_openai', 'clients'));
test('openai 3', () => passes('with_openai', 'openai-3', 'clients'));
test('langchain-openai', () => passes('with_langchain', 'clients'));
test('litellm', () => passes('with_litellm', 'clients'));
test('instructor', () => passes('with_instructor', 'clients'));
test('lm-eval', () => passes('with_lm_eval', 'clients'));

test.run();
