/**
 * place: 'host' on two CPU backends, the dense model on threads of its own and attention beside it: the bits of one,
 * whatever the halves of a step are.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import { agreedPlace } from '../../runtime/engine/setup.ts';
import { StartSchedule } from '../../runtime/engine/start-schedule.ts';
import type { EngineOptions } from '../../runtime/engine/types.ts';
import { tinyModel } from '../oracle/tiny.ts';
import { policyNames, randomTokens, smallBudgets, smallEngine } from './small.ts';

const model = tinyModel(7, { layers: 3, kvHeads: 2, group: 3, windows: [0, 24, 0] });
process.on('exit', () => model.remove());
const { vocab } = model.shape;

/** Requests of every policy at once, prompts of many lengths, some of which share a prefix; what came back, bit for bit. */
async function served(options: Partial<EngineOptions>) {
  const engine = await smallEngine(model, { pin: false, maxBatchedTokens: 40, ...options });
  const answers = policyNames.map(async (policy, i) => {
    const logits: Float32Array[] = [];
    const kept: unknown[] = [];
    const generation = engine.submit({
      prompt: randomTokens(i >> 1, 60 + 7 * (i >> 1), vocab),
      maxTokens: 20 + i,
      policy,
      params: smallBudgets[policy],
      sampling: { seed: 5 },
      onLogits: (each) => logits.push(each),
      onCompaction: (event) => kept.push(event),
    });
    const tokens: number[] = [];
    for await (const { token } of generation) tokens.push(token);
    const { error } = await generation.finished;
    assert.is(error, undefined, error?.message);
    return { tokens, logits, kept };
  });
  const all = await Promise.all(answers);
  await engine.close();
  return all;
}

const expected = await served({ threads: 1 });
assert.ok(expected.filter(({ kept }) => kept.length > 1).length > 5, 'policies compact');

for (const threads of [1, 2])
  test(`the same bits, with ${threads} threads on each side`, async () => {
    const answers = await served({ place: 'host', threads });
    for (const [i, policy] of policyNames.entries()) assert.equal(answers[i], expected[i], policy);
  });

test('a policy says where its pages lie, the server grants or refuses it; on the CPU both are one', async () => {
  const { library, directory, plan } = await build(shipped('knorm')!);
  const wants = (place: 'device' | 'host') => ({ library, directory, plan: { ...plan, name: place, place } });
  const none = await build(shipped('none')!);
  const engineOf = (policies: EngineOptions['policies'], place?: EngineOptions['place']) =>
    smallEngine(model, { policies, place, threads: 1, pin: false });
  const refused = (policies: EngineOptions['policies'], place: EngineOptions['place'], words: RegExp) =>
    engineOf(policies, place).then(
      () => assert.unreachable('it opens'),
      ({ message }: Error) => assert.match(message, words),
    );
  await refused(
    [none, wants('host')],
    'device',
    /host wants its pages in the host's memory, the server in the device's/,
  );
  await refused(
    [wants('device')],
    'host',
    /device wants its pages in the device's memory, the server .* --place device/,
  );
  assert.throws(() => agreedPlace([wants('host'), wants('device')], undefined), /device wants .* host in the host's/);
  assert.is(agreedPlace([none, wants('host')], undefined), 'host');
  const beside = await engineOf([none], 'host');
  assert.throws(() => beside.addPolicy(wants('device')), /device wants its pages in the device's memory/);
  await beside.close();
  const alone = await engineOf([none, wants('host')]);
  alone.addPolicy(wants('device'));
  await alone.close();
});

/** So many at once, so many steps each, four times as many wait from the beginning. */
const BATCH = 8;
const STEPS = 64;
const REQUESTS = 4 * BATCH;
const PEAK = BATCH * STEPS;

/** Sums of resident lengths, step by step. */
function simulated(starts: StartSchedule | undefined): number[] {
  let waiting = REQUESTS;
  let running: number[] = [];
  const sums: number[] = [];
  while (waiting + running.length > 0) {
    starts?.tick();
    while (waiting > 0 && running.length < BATCH && starts?.allows(running.length, waiting) !== false) {
      starts?.begin(STEPS);
      running.push(0);
      waiting--;
    }
    running = running.map((length) => length + 1);
    sums.push(running.reduce((sum, length) => sum + length, 0));
    for (const _ of running.filter((length) => length === STEPS)) starts?.end(STEPS);
    running = running.filter((length) => length < STEPS);
  }
  return sums;
}

/** The same of a real engine, whose prompts have one token. */
async function measured(place: EngineOptions['place']): Promise<number[]> {
  const engine = await smallEngine(model, { place, threads: 1, pin: false, maxSeqs: BATCH, prefixCache: false });
  const sums: number[] = [];
  engine.onStep = () =>
    sums.push(engine.requests().reduce((sum, { running, computed }) => sum + (running ? computed : 0), 0));
  const request = { prompt: [3], maxTokens: STEPS, policy: 'none' };
  await Promise.all(Array.from({ length: REQUESTS }, () => engine.submit(request).finished));
  await engine.close();
  return sums;
}

/** From when as many run as may, until the last have begun: the schedule's own peak, and its lowest sum. */
function steady(sums: readonly number[]): { most: number; least: number } {
  const between = sums.slice(STEPS, STEPS * 3);
  return { most: Math.max(...between) / PEAK, least: Math.min(...between) / PEAK };
}

for (const [name, sumsOf] of [
  ['simulated', (place: 'device' | 'host') => simulated(place === 'host' ? new StartSchedule(BATCH) : undefined)],
  ['in an engine', measured],
] as const)
  test(`the start schedule keeps the sum of resident lengths near half of its peak, ${name}`, async () => {
    const atOnce = steady(await sumsOf('device'));
    assert.ok(atOnce.most > 0.97 && atOnce.least < 0.05, JSON.stringify(atOnce));
    const paced = steady(await sumsOf('host'));
    assert.ok(paced.most < 0.6 && paced.least > 0.4, JSON.stringify(paced));
  });

test('a half of what may run begins at once; more of short ones begin in a step; ends come early', () => {
  const few = new StartSchedule(8);
  few.tick();
  few.begin(1000);
  assert.ok(few.allows(1, 3) && !few.allows(1, 4));
  assert.ok(few.allows(0, 8), 'nothing runs');
  const begun = (steps: number, usual?: number): number[] => {
    const starts = new StartSchedule(8);
    if (usual !== undefined) starts.end(usual);
    return [1, 2, 3].map(() => {
      starts.tick();
      let count = 0;
      for (; starts.allows(1, 100); count++) starts.begin(steps);
      return count;
    });
  };
  assert.equal(begun(2), [4, 4, 4]);
  assert.equal(begun(12), [1, 1, 0]);
  assert.equal(begun(1000, 4), [2, 2, 2], 'as long as others took, not as long as it may');
});

test.run();
