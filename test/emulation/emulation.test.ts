/**
 * The emulation of CUDA: launches, barriers, shuffles, votes, atomics and asynchronous copies compute what a GPU would, in
 * every order of threads; and a race, a barrier that not all threads reach, an index outside its array, shared memory
 * read before it is written, a copy nobody waits for are found and named.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { program } from './harness.ts';

const orders = ['forward', 'reverse', '1', '2', '3'];

const correct = {
  indices: 'out[blockIdx.x * blockDim.x + threadIdx.x] = blockIdx.x * 1000 + threadIdx.x;',
  reversed: `
  const Shared<float> tile = arena.take<float>(64, "tile");
  tile[threadIdx.x] = in[threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = tile[63 - threadIdx.x];`,
  halves: `
  float x = in[threadIdx.x];
  const uint32_t mask = 0xffffu << (threadIdx.x % 32 & 16);
  for (int n = 8; n > 0; n /= 2) x += __shfl_xor_sync(mask, x, n);
  out[threadIdx.x] = x;`,
  shuffles: `
  const int lane = threadIdx.x % 32;
  const float up = __shfl_up_sync(kFull, (float)in[threadIdx.x], 3), any = __shfl_sync(kFull, (float)in[threadIdx.x], 5);
  out[threadIdx.x] = lane < 32 ? up * 100 + any : 0;`,
  votes: `
  const uint32_t odd = __ballot_sync(kFull, threadIdx.x % 2 == 1), same = __match_any_sync(kFull, threadIdx.x % 3);
  out[threadIdx.x] = __popc(odd) * 100 + __popc(same);`,
  parted: `
  float x = 0;
  if (threadIdx.x % 4 == 0) x = __popc(__match_any_sync(0x11111111u, threadIdx.x % 8));
  out[threadIdx.x] = x + __any_sync(kFull, threadIdx.x % 32 == 7);`,
  atomics: `
  const Shared<int> count = arena.take<int>(1, "count");
  if (threadIdx.x == 0) count[0] = 0;
  __syncthreads();
  atomic_add(count, 0, (int)threadIdx.x);
  __syncthreads();
  out[threadIdx.x] = count[0];`,
  meeting: `
  // every block writes its own part, the last one adds them up
  const Global<uint32_t> count = global((uint32_t*)io.out);
  out[64 + blockIdx.x * 32 + threadIdx.x] = 1 + blockIdx.x;
  if (!arrive_last(count, 0, gridDim.x)) return;
  float sum = 0;
  for (unsigned b = 0; b < gridDim.x; b++) sum += out[64 + b * 32 + (threadIdx.x + 1) % 32];
  out[32 + threadIdx.x] = sum;`,
  copies: `
  const Shared<uint32_t> tile = arena.take<uint32_t>(64, "tile");
  const Global<const uint32_t> words = global((const uint32_t*)io.in);
  if (threadIdx.x < 16) copy_async(tile, threadIdx.x * 4, words, threadIdx.x * 4, threadIdx.x < 8);
  commit_async();
  wait_async<0>();
  __syncthreads();
  out[threadIdx.x] = skv_float(tile[threadIdx.x]);`,
  warps: `
  const Shared<float> tile = arena.take<float>(64, "tile");
  tile[threadIdx.x] = in[threadIdx.x];
  __syncwarp();
  out[threadIdx.x] = tile[threadIdx.x ^ 1];`,
};
const right = program(correct);
const elsewhere = program(correct, ['-DSKV_EMULATE_UCONTEXT']);

const each = (f: (i: number) => number, n = 64) => Array.from({ length: n }, (_, i) => f(i));
const base = (i: number) => i - (i % 32);

for (const [order, program] of [...orders.map((order) => [order, right] as const), ['4', elsewhere] as const])
  test(`launches, barriers, shuffles, votes, atomics, copies: order ${order}, ${program === right ? 'own' : "the system's"} fibres`, () => {
    const run = (name: string, options = {}) => {
      const { values, error } = program(name, { ...options, order });
      assert.is(error, undefined, `${name}: ${error}`);
      return values;
    };
    assert.equal(
      run('indices', { blocks: 3, threads: 32, n: 96 }),
      each((i) => Math.floor(i / 32) * 1000 + (i % 32), 96),
    );
    assert.equal(
      run('reversed'),
      each((i) => 63 - i),
    );
    assert.equal(
      run('halves'),
      each((i) => each((k) => i - (i % 16) + k, 16).reduce((a, b) => a + b)),
    );
    assert.equal(
      run('shuffles'),
      each((i) => (i % 32 < 3 ? i : i - 3) * 100 + base(i) + 5),
    );
    assert.equal(
      run('votes'),
      each((i) => 1600 + each((k) => Number((base(i) + k) % 3 === i % 3), 32).reduce((a, b) => a + b)),
    );
    assert.equal(
      run('parted'),
      each((i) => (i % 4 === 0 ? 4 : 0) + 1),
    );
    assert.equal(
      run('atomics'),
      each(() => (63 * 64) / 2),
    );
    assert.equal(
      run('meeting', { blocks: 4, threads: 32, n: 192, clear: 1 }).slice(32, 64),
      each(() => 1 + 2 + 3 + 4, 32),
    );
    assert.equal(
      run('copies'),
      each((i) => (i < 32 ? i : 0)),
    );
    assert.equal(
      run('warps'),
      each((i) => i ^ 1),
    );
  });

/** Kernels with one mistake each, and what the emulation says of it. */
const mistakes: Record<string, [string, RegExp]> = {
  missingBarrier: [
    `const Shared<float> tile = arena.take<float>(64, "tile");
  tile[threadIdx.x] = in[threadIdx.x];
  __syncwarp();
  out[threadIdx.x] = tile[63 - threadIdx.x];`,
    /kernel missingBarrier, block \(0, 0, 0\), thread \d+: (race: it (reads|writes) tile\[\d+\], which .* (wrote|read) with no barrier|it reads tile\[\d+\] before anything is written there).*missingBarrier\.cpp:\d+/,
  ],
  barrierAfterRead: [
    `const Shared<float> tile = arena.take<float>(64, "tile");
  tile[threadIdx.x] = in[threadIdx.x];
  __syncthreads();
  const float x = tile[63 - threadIdx.x];
  tile[threadIdx.x] = x;`,
    /race: it (writes tile\[\d+\], which thread \d+ read|reads tile\[\d+\], which thread \d+ wrote) with no barrier between/,
  ],
  missingWarpBarrier: [
    `const Shared<float> tile = arena.take<float>(64, "tile");
  tile[threadIdx.x] = 0;
  __syncwarp();
  tile[threadIdx.x] = in[threadIdx.x];
  out[threadIdx.x] = tile[threadIdx.x ^ 1];`,
    /race: it (reads|writes) tile\[\d+\], which thread \d+ (wrote|read) with no barrier between/,
  ],
  divergentBarrier: [
    `if (threadIdx.x < 40) __syncthreads();
  out[threadIdx.x] = 1;`,
    /thread \d+: waits at __syncthreads\(\), missingBarrier\.cpp:\d+, which thread \d+ never reaches: it has ended/,
  ],
  twoBarriers: [
    `if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }`,
    /waits at __syncthreads\(\), missingBarrier\.cpp:\d+, while thread \d+ waits at __syncthreads\(\), missingBarrier\.cpp:\d+/,
  ],
  divergentShuffle: [
    `if (threadIdx.x % 32 < 31) out[threadIdx.x] = __shfl_xor_sync(kFull, (float)in[threadIdx.x], 1);`,
    /waits at a shuffle, missingBarrier\.cpp:\d+, which thread (31|63) never reaches: it has ended/,
  ],
  outsideShared: [
    `const Shared<float> tile = arena.take<float>(64, "tile");
  tile[threadIdx.x + 1] = 0;`,
    /thread 63: index 64 is outside tile\[64\], missingBarrier\.cpp:\d+/,
  ],
  outsideGlobal: [`out[threadIdx.x - 1] = 0;`, /thread 0: index 4294967295 is outside out\[64\]/],
  otherBlock: [`out[threadIdx.x] = blockIdx.x;`, /race: it writes out\[\d+\], which another block wrote/],
  afterMeeting: [
    `const bool last = arrive_last(global((uint32_t*)io.out), 0, gridDim.x);
  out[1 + blockIdx.x] = 1;
  if (last) out[3] = out[1] + out[2];`,
    /race: it (reads|writes) out\[\d\], which (another block|thread \d+) wrote with no barrier between/,
  ],
  tooManyMeet: [
    `arrive_last(global((uint32_t*)io.out), 0, 1);
  if (threadIdx.x == 0) global((uint32_t*)io.out)[0] = 2;
  __syncthreads();
  arrive_last(global((uint32_t*)io.out), 0, 2);`,
    /out\[0\] counts 2 of 2 blocks/,
  ],
  tooMuchShared: [`arena.take<float>(512, "tile");`, /tile ends at byte 2048 of 1024 bytes of shared memory/],
  unwritten: [
    `const Shared<float> tile = arena.take<float>(64, "tile");
  out[threadIdx.x] = tile[threadIdx.x];`,
    /reads tile\[\d+\] before anything is written there/,
  ],
  noWait: [
    `const Shared<uint32_t> tile = arena.take<uint32_t>(64, "tile");
  copy_async(tile, threadIdx.x % 16 * 4, global((const uint32_t*)io.in), 0, true);
  commit_async();`,
    /it ends with copies under way: a wait_async is missing/,
  ],
  hostPointer: [
    `float here[4];
  here[0] = 1;
  out[threadIdx.x] = global((const float*)here)[0];`,
    /a pointer into no array that the host has named/,
  ],
  misaligned: [`store_quad(global((uint32_t*)io.out), threadIdx.x, Quad{});`, /a wide store to out is not aligned/],
};
const wrong = program(Object.fromEntries(Object.entries(mistakes).map(([name, [text]]) => [name, text])));

for (const [name, [, message]] of Object.entries(mistakes))
  test(`it finds ${name} in every order`, () => {
    for (const order of orders) {
      const blocks = ['otherBlock', 'afterMeeting'].includes(name) ? 2 : 1;
      const { error } = wrong(name, { order, blocks, clear: 1 });
      assert.match(error ?? 'nothing', message, order);
    }
  });

test('a block of broken warps, or of too much shared memory, is refused', () => {
  assert.match(right('indices', { threads: 40 }).error ?? '', /whole warps/);
  assert.match(right('indices', { shared: 300_000 }).error ?? '', /227 KiB/);
});

// A and B of small whole numbers: the product is exact, whatever the order of its sums.
const product = (kv: string) => `
  float left[4][2], right[2][2], c[4] = {0, 0, 0, 0};
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  auto a = [](int row, int k) { return float((row * 5 + k * 3) % 7 - 3); };
  auto b = [](int k, int n) { return float((k * 2 + n * 11) % 5 - 2); };
  Pair<${kv}> x[4], y[2];
  for (int r = 0; r < 4; r++) x[r] = pair_of<${kv}>(a(g + r % 2 * 8, r / 2 * 8 + 2 * t), a(g + r % 2 * 8, r / 2 * 8 + 2 * t + 1));
  for (int r = 0; r < 2; r++) y[r] = pair_of<${kv}>(b(r * 8 + 2 * t, g), b(r * 8 + 2 * t + 1, g));
  multiply<${kv}>(c, x, y[0], y[1]);
  (void)left, (void)right;
  for (int i = 0; i < 4; i++) out[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = c[i];`;
const turned = (kv: string) => `
  const Shared<uint32_t> tile = arena.take<uint32_t>(16 * 20, "tile");
  for (int i = threadIdx.x; i < 16 * 16 / ${kv}::per_word; i += 32) {
    const int row = i / (16 / ${kv}::per_word), word = i % (16 / ${kv}::per_word);
    const float x[2] = {float(row * 16 + word * ${kv}::per_word), float(row * 16 + word * ${kv}::per_word + 1)};
    tile[row * 20 + word] = ${kv}::encode(x);
  }
  __syncthreads();
  Pair<${kv}> b[4];
  load_transposed<${kv}>(b, tile, 20, 0, 0);
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  for (int r = 0; r < 4; r++)
    for (int e = 0; e < 2; e++) out[(r % 2 * 8 + 2 * t + e) * 16 + r / 2 * 8 + g] = b[r].get(e);`;
const kinds = ['Bf16', 'F16', 'F32'];
const matrices = (prefix: string, define: string[]) =>
  program(
    Object.fromEntries(
      kinds.flatMap((kv) => [
        [`${prefix}${kv}`, product(kv)],
        [`${prefix}${kv}turned`, turned(kv)],
      ]),
    ),
    define,
  );
const fast = matrices('fast', []);
const plain = matrices('plain', ['-DSKV_PLAIN_MMA']);

for (const kv of kinds)
  test(`the matrix product of a warp, ${kv}: as plain loops, in one step and by shuffles`, () => {
    const expected = each((i) => {
      let sum = 0;
      for (let k = 0; k < 16; k++) sum += ((((i >> 3) * 5 + k * 3) % 7) - 3) * (((k * 2 + (i % 8) * 11) % 5) - 2);
      return sum;
    }, 128);
    for (const [run, prefix] of [
      [fast, 'fast'],
      [plain, 'plain'],
    ] as const) {
      const options = { threads: 32, n: 128 };
      assert.equal(run(`${prefix}${kv}`, options), { values: expected, error: undefined });
      const square = { threads: 32, n: 256, shared: 2048 };
      assert.equal(run(`${prefix}${kv}turned`, square), { values: each((i) => i, 256), error: undefined });
    }
  });

test.run();
