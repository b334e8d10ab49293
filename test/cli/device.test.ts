/**
 * --device: `skv serve` with its CUDA backend, its policies and its errors, as on a GPU machine but for the machine: nvcc,
 * the driver, CUDA's runtime and cuBLASLt are the emulation's, and fail as each case wishes. Without a driver, the CPU.
 */
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import type { EngineOptions } from '../../runtime/engine/types.ts';
import { buildCudaBackend } from '../../runtime/native/cuda.ts';
import { checkDriver, findDevice } from '../../runtime/native/driver.ts';
import { emulatedMachine } from '../emulation/toolkit.ts';
import { outcome } from '../engine/small.ts';
import { ggufParts, writeGguf } from '../model/write.ts';
import { serve, smallTextEngine } from '../server/textual.ts';
import { elsewhere, skv, start } from './skv.ts';

mkdirSync(elsewhere, { recursive: true });
const model = join(elsewhere, 'tiny.gguf');
writeFileSync(model, writeGguf(ggufParts(64)));
const machine = await emulatedMachine(elsewhere);
Object.assign(process.env, machine); // found by builds here, and by the processes that are started
const { LD_LIBRARY_PATH } = machine;

/** Runs with these wishes, and takes them back. */
async function wishing<T>(wishes: Record<string, string>, run: () => Promise<T>): Promise<T> {
  const before = Object.keys(wishes).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, wishes);
  try {
    return await run();
  } finally {
    for (const [name, value] of before)
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
  }
}

const onDevice: Partial<EngineOptions> = {
  backend: (await buildCudaBackend({ archs: [90] })).library,
  policies: [await build(shipped('none')!, { target: 'cuda', archs: [90], headDims: [64], kvTypes: ['bf16'] })],
  maxModelLen: 128,
  maxSeqs: 2,
};
const onMachine = (options: Partial<EngineOptions> = {}) =>
  smallTextEngine({ ...onDevice, kvCacheBytes: undefined, ...options });

test('the pool is a part of what is free, or as large as it is said to be, or as can be used', async () => {
  const pages = async (wishes: Record<string, string>, options: Partial<EngineOptions> = {}) => {
    const engine = await wishing(wishes, () => onMachine({ maxSeqs: 8, maxModelLen: 1024, ...options }));
    const { pagesTotal, pageBytes } = engine.stats();
    await engine.close();
    return { pagesTotal, bytes: pagesTotal * pageBytes };
  };
  const free = 8 << 20; // beside the products' workspace, of which weights and scratch take some
  const tight = { SKV_EMULATED_MEMORY: String((32 << 20) + free) };
  const [most, all, half] = [await pages({}), await pages(tight), await pages(tight, { poolFraction: 0.45 })];
  assert.ok(all.bytes < 0.9 * free && all.pagesTotal < most.pagesTotal, `${all.bytes} of ${free}`);
  const apart = 2 * (half.pagesTotal + 1) - (all.pagesTotal + 1); // the null page is in both
  assert.ok(Math.abs(apart) <= 2, `${half.pagesTotal} is half of ${all.pagesTotal}`);
  const { bytes } = await pages({}, { kvCacheBytes: 1 << 20 });
  assert.ok(bytes <= 1 << 20 && bytes > 0.9 * (1 << 20), `${bytes} of 1 MiB`);
});

test('graphs have the room that the pool leaves them; without it steps run as they are queued', async () => {
  const memory = String((32 << 20) + (40 << 20)); // less than all sequences need
  /** Tokens of requests of many lengths, and how many steps were launched as graphs. */
  const lives = async (wishes: Record<string, string>, options: Partial<EngineOptions> = {}) => {
    const engine = await wishing(wishes, () => onMachine({ maxSeqs: 32, maxModelLen: 1024, ...options }));
    const answers = await wishing(wishes, () =>
      Promise.all(Array.from({ length: 8 }, (_, i) => outcome(engine, { prompt: [5, i], maxTokens: 10 + 25 * i }))),
    );
    const { graphSteps = 0 } = engine['nativeEngine'].describe();
    await engine.close();
    assert.equal(answers.map(({ finished }) => finished.error?.message).filter(Boolean), []);
    return { tokens: answers.map(({ tokens }) => tokens), graphSteps };
  };
  const wanted = await lives({});
  const tight = await lives({ SKV_EMULATED_MEMORY: memory }, { poolFraction: 1 }); // of two graphs at once, and more classes
  assert.equal(tight.tokens, wanted.tokens);
  assert.ok(tight.graphSteps > 50, `${tight.graphSteps} steps as graphs`);
  const full = await lives({ SKV_EMULATED_FAILURE: 'cudaGraphUpload=2' });
  assert.equal(full.tokens, wanted.tokens);
  assert.ok(full.graphSteps > 0 && full.graphSteps < wanted.graphSteps, `${full.graphSteps}, ${wanted.graphSteps}`);
});

test('what keeps an engine from opening is told, with the way out', async () => {
  const cases: [Record<string, string>, RegExp][] = [
    [{ SKV_EMULATED_FAILURE: 'cudaGetDeviceCount=35' }, /no CUDA device here .* install a driver/],
    [{ SKV_EMULATED_DEVICES: '0' }, /no CUDA device here/],
    [{ SKV_EMULATED_ARCH: '75' }, /compute capability 7\.5, 8\.0 or newer is needed/],
    [{ SKV_CUBLASLT: 'nowhere.so' }, /cuBLASLt .* cannot be opened:\n.*nowhere\.so.*\nInstall it/],
    [{ SKV_EMULATED_FAILURE: 'cublasLtCreate=1' }, /cuBLASLt: opening it failed with status 1/],
    [{ SKV_EMULATED_MEMORY: '100000' }, /the device has no memory left for the products' workspace|left for/],
    [{ SKV_EMULATED_FAILURE: 'cudaMalloc=2@3' }, /the device has no \d+ MiB left for \w+.*smaller model/],
    [{ SKV_EMULATED_FAILURE: 'embed_kernel=209' }, /does not run this backend: .*embed_kernel.*no kernel image.*sm_90/],
    [{ SKV_EMULATED_FAILURE: 'copy_pages_kernel=209' }, /kernels of the policy none \(.*no kernel image.*sm_90/],
  ];
  for (const [wishes, words] of cases)
    await wishing(wishes, () => onMachine()).then(
      () => assert.unreachable(`${JSON.stringify(wishes)}: it opens`),
      ({ name, message }: Error) => {
        assert.match(message, words);
        assert.is(name, 'DeviceError');
      },
    );
});

test('what the driver says, in a sentence', () => {
  const cases: [Parameters<typeof findDevice>[0], RegExp][] = [
    [{ call: 'dlopen', code: -2, text: 'no such file' }, /there is no NVIDIA driver here \(no such file\): install/],
    [{ call: 'cuInit', code: 100, text: 'x' }, /the NVIDIA driver finds no device.*nvidia-smi/],
    [{ version: 13000, devices: 0 }, /the NVIDIA driver finds no device/],
    [{ call: 'cuInit', code: 803, text: 'x' }, /of two versions: restart the machine/],
    [{ call: 'cuInit', code: 999, text: 'unknown error' }, /driver fails \(cuInit: unknown error\)/],
    [{ call: 'cuDevicePrimaryCtxRetain', code: 2, text: 'x' }, /no memory left for a program/],
    [{ version: 13000, devices: 1, name: 'T4', capability: 75 }, /T4 has compute capability 7\.5, 8\.0 or newer/],
  ];
  for (const [answer, words] of cases) assert.throws(() => findDevice(answer), words);
  const device = findDevice({ version: 12040, devices: 1, name: 'A100', capability: 80, free: 1, total: 2 });
  assert.throws(() => checkDriver(device, '13.0.88'), /driver is for CUDA 12\.4 and nvcc 13\.0\.88 builds for 13/);
  checkDriver(device, '12.8.1');
});

test('a step that fails ends its requests with the kernel or call, and health is 503', async () => {
  for (const [failure, words] of [
    ['prefill_kernel=701', /policy none failed.*prefill_kernel.*too many resources/],
    ['decode_kernel=701', /a step that was kept as a graph: too many resources/],
    ['cublasLtMatmul=13', /cuBLASLt: a product failed with status 13/],
  ] as const) {
    const running = await serve({}, { ...onDevice, kvCacheBytes: 1 << 20 });
    const ask = () => running.post('/v1/completions', { prompt: 'Once', max_tokens: 4, ignore_eos: true });
    assert.is((await ask()).status, 200);
    await wishing({ SKV_EMULATED_FAILURE: failure }, async () => {
      const failed = await ask();
      assert.is(failed.status, 500);
      assert.match((await bodyOf(failed)).error.message, words);
    });
    assert.is((await ask()).status, 500, 'nothing is answered from what is left');
    const health = await fetch(`${running.url}/health`);
    assert.is(health.status, 503);
    assert.match((await bodyOf(health)).reason, words);
    await running.stop();
  }
});

/** What a server answers with. */
// biome-ignore lint/suspicious/noExplicitAny: answers of a server are read freely
const bodyOf = (response: Response): Promise<any> => response.json();

/** `skv serve` on the emulated device, ready. */
async function served(...flags: string[]) {
  const child = start(['serve', '--model', model, '--port', '0', '--threads', '1', ...flags]);
  let errors = '';
  child.stderr!.on('data', (data) => (errors += data));
  const closed = once(child, 'close');
  while (!/ on http:\S+ with/.test(errors))
    await Promise.race([once(child.stderr!, 'data'), closed.then(() => Promise.reject(new Error(errors)))]);
  const [, url] = / on (http:\S+) with/.exec(errors)!;
  const ask = () =>
    fetch(`${url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: 'abc', max_tokens: 4, ignore_eos: true }),
    });
  return { child, ask, closed, errors: () => errors };
}

const lost: [number, RegExp][] = [
  [700, /a kernel of the step failed .*illegal memory access/],
  [214, /a kernel of the step failed .*ECC/],
];
for (const [code, words] of lost)
  test(`auto serves on a device, and ends with 1 once it answers nothing but ${code}`, async () => {
    await wishing({ SKV_EMULATED_FAILURE: `decode_kernel=${code}@9~` }, async () => {
      const server = await served('--gpu-memory-utilization', '0.5');
      try {
        assert.match(server.errors(), /skv: on the GPU: Emulated, sm_90\n/);
        assert.is((await bodyOf(await server.ask())).usage.completion_tokens, 4);
        const failed = await server.ask();
        assert.is(failed.status, 500);
        assert.match((await bodyOf(failed)).error.message, words);
        assert.is((await server.closed)[0], 1);
        assert.match(server.errors(), /the device is lost to this process, which ends; it can be started again\n$/);
      } finally {
        server.child.kill('SIGKILL');
      }
    });
  });

test('pages in host memory', async () => {
  const server = await served('--place', 'host', '--kv-cache-memory', '4MiB');
  assert.match(server.errors(), /skv: on the GPU: Emulated, sm_90; the CPU attends to pages in its own memory\n/);
  assert.is((await bodyOf(await server.ask())).usage.completion_tokens, 4);
  server.child.kill('SIGTERM');
  assert.is((await server.closed)[0], 0);
});

test('nvcc is not asked for a policy that says host', async () => {
  const policy = join(elsewhere, 'away.ts');
  const text = readFileSync(shipped('knorm')!, 'utf8');
  writeFileSync(policy, text.replace(/name: 'knorm',/, "name: 'away',\n  place: 'host',"));
  const flags = ['--sparse-kv-cache-type', policy, '--kv-cache-memory', '4MiB'];
  const server = await wishing({ SKV_EMULATED_FAILURE: 'nvcc' }, () => served(...flags));
  assert.match(server.errors(), /skv: on the GPU: Emulated, sm_90; the CPU attends to pages in its own memory\n/);
  assert.is((await bodyOf(await server.ask())).usage.completion_tokens, 4);
  server.child.kill('SIGTERM');
  assert.is((await server.closed)[0], 0);
  const { code, err } = await wishing({ SKV_EMULATED_FAILURE: 'nvcc' }, () =>
    skv('serve', '--model', model, '--place', 'device', '--sparse-kv-cache-type', policy),
  );
  assert.is(code, 1);
  assert.match(err, /away wants its pages in the host's memory, the server in the device's/);
});

test('without a driver: auto says why it is the CPU, cuda is refused', async () => {
  delete process.env.LD_LIBRARY_PATH;
  const server = await served();
  assert.match(server.errors(), /skv: on the CPU: there is no NVIDIA driver here \(libcuda\.so\.1: .*\): install one/);
  server.child.kill('SIGTERM');
  assert.is((await server.closed)[0], 0);
  const { code, err } = await skv('serve', '--model', model, '--device', 'cuda');
  assert.is(code, 1);
  assert.match(err, /^skv: --device cuda: there is no NVIDIA driver here .*; or serve with --device cpu\.\n$/);
  process.env.LD_LIBRARY_PATH = LD_LIBRARY_PATH;
});

test('auto serves with the CPU where the device turns out not to, and says why', async () => {
  const server = await wishing({ SKV_CUBLASLT: 'nowhere.so' }, () => served());
  assert.match(server.errors(), /skv: on the CPU: cuBLASLt is needed .*cannot be opened:\n.*nowhere\.so/);
  assert.is((await bodyOf(await server.ask())).usage.completion_tokens, 4);
  server.child.kill('SIGTERM');
  assert.is((await server.closed)[0], 0);
});

test('a policy whose kernels the device’s compiler refuses is served by the CPU, or refused; its own mistakes are told as such', async () => {
  const policy = ['--sparse-kv-cache-type', join(elsewhere, 'refused.ts')];
  const text = readFileSync(shipped('knorm')!, 'utf8').replace("'knorm'", "'refused'");
  writeFileSync(policy[1], text);
  await wishing({ SKV_EMULATED_FAILURE: 'nvcc' }, async () => {
    const server = await served(...policy);
    try {
      assert.match(server.errors(), /skv: on the CPU: .*registers spill to memory.*\n.*decode_kernel on sm_90/);
      assert.is((await bodyOf(await server.ask())).usage.completion_tokens, 4);
    } finally {
      server.child.kill('SIGTERM');
    }
    assert.is((await server.closed)[0], 0);
    const { code, err } = await skv('serve', '--model', model, '--device', 'cuda', ...policy);
    assert.is(code, 1);
    assert.match(err, /^skv: --device cuda: .*registers spill[\s\S]*; or serve with --device cpu\.\n$/m);
    writeFileSync(policy[1], text.replace('score:', 'scores:'));
    const mistaken = await skv('serve', '--model', model, ...policy);
    assert.is(mistaken.code, 1);
    assert.match(mistaken.err, /refused\.ts:\d+:\d+/);
    assert.not.match(mistaken.err, /on the CPU/);
  });
});

test('flags that do nothing here, and devices that cannot hold the model, are refused by name', async () => {
  const cases: [string[], Record<string, string>, RegExp][] = [
    [['--device', 'tpu'], {}, /--device tpu: auto, cpu and cuda are possible/],
    [
      ['--device', 'cpu', '--gpu-memory-utilization', '0.8'],
      {},
      /--gpu-memory-utilization 0\.8 does nothing on the CPU\./,
    ],
    [['--place', 'moon'], {}, /--place moon: device and host are possible/],
    [['--device', 'cpu', '--place', 'host'], {}, /--place host does nothing on the CPU\./],
    [
      ['--place', 'host', '--gpu-memory-utilization', '0.8'],
      {},
      /--gpu-memory-utilization 0\.8 does nothing with --place host: .*--kv-cache-memory is its size/,
    ],
    [['--gpu-memory-utilization', '1.5'], {}, /--gpu-memory-utilization 1\.5: a number above 0, up to 1/],
    [
      ['--gpu-memory-utilization', '0.8'],
      { SKV_EMULATED_DEVICES: '0' },
      /--gpu-memory-utilization 0\.8 does nothing on the CPU: the NVIDIA driver finds no device/,
    ],
    [
      ['--device', 'cuda'],
      { SKV_EMULATED_MEMORY: '1000' },
      /tiny has .* of weights, Emulated 1\.0 KiB free.*--device cpu/,
    ],
  ];
  for (const [flags, wishes, words] of cases) {
    const { code, err } = await wishing(wishes, () => skv('serve', '--model', model, '--port', '0', ...flags));
    assert.is(code, 1, err);
    assert.match(err, words);
  }
});

test.run();
