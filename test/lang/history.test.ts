/** Histories: what the states of `{ last, sum }` add up to after each query, and how they may be wrong. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { random } from '../../codegen/oracle/random.ts';
import { advance, score } from '../../codegen/ir/interpret.ts';
import type { Policy } from '../../codegen/ir/nodes.ts';
import { mistakes, policyOf, slugs } from './snippets.ts';

const policy = (last: string, params = ''): Policy =>
  policyOf(
    `${params} observe: 'every', accumulate: { low: { last: ${last}, sum: (slot) => slot.attn } }, score: (slot) => slot.low`,
  );

/** What the score is after each of `attn.length` queries, of a slot at position `pos`. */
function scores({ states, ...rest }: Policy, pos: number, attn: number[], params: Record<string, number>): number[] {
  let now: Record<string, number> = Object.fromEntries(states.map(({ name, init }) => [name, init]));
  return attn.map((each, i) => {
    const slot = { fields: { attn: each, length: pos + i + 1 }, states: now, params };
    now = advance(states, slot);
    return score({ states, ...rest }, [{ ...slot, states: now }])[0];
  });
}

/** Whole numbers: their sums have no rounding. */
const attention = (n: number, seed: number) => {
  const next = random(seed);
  return Array.from({ length: n }, () => Math.floor(next() * 10));
};

test('a history is the sum over the last queries, of which the oldest eighth leaves at once', () => {
  for (const [last, pos] of [
    [8, 0],
    [8, 13],
    [20, 5],
    [64, 3],
    [100, 1000],
  ]) {
    const attn = attention(250, last + pos);
    const eighth = (query: number) => Math.floor((8 * query) / last);
    const got = scores(policy("'span'", 'params: { span: tokens(8, { min: 8 }) },'), pos, attn, { span: last });
    got.forEach((value, i) => {
      const counted = attn.slice(0, i + 1).filter((_, q) => eighth(pos + q) > eighth(pos + i) - 8);
      assert.is(
        value,
        counted.reduce((sum, each) => sum + each, 0),
        `last ${last}, from ${pos}, query ${i}`,
      );
      assert.ok(counted.length <= last && counted.length >= Math.min(i + 1, Math.floor((7 * last) / 8)));
    });
    assert.equal(scores(policy(String(last)), pos, attn, {}), got, 'the number itself');
  }
});

test('of a longer history than there are queries, nothing leaves: it counts', () => {
  const attn = attention(300, 9);
  let sum = 0;
  assert.equal(
    scores(policy('1000000'), 40, attn, {}),
    attn.map((each) => (sum += each)),
  );
});

test('a name is taken once, a bucket has none of its own', () => {
  const taken = (states: string) => slugs(`observe: 'every', accumulate: { ${states} }, score: (slot) => slot.low`);
  const history = '{ last: 8, sum: (slot) => slot.attn }';
  assert.ok(taken(`low: ${history}, low_3: { init: 0, next: (x) => x }`).includes('duplicate-name'));
  assert.ok(taken(`pos: ${history}, low: { init: 0, next: (x) => x }`).includes('duplicate-name'));
});

test('what nobody reads is told once, and so is a length that makes no sense', () => {
  const unread = `observe: 'every', accumulate: { low: { last: 8, sum: (slot) => slot.attn } }, score: (slot) => slot.pos`;
  assert.equal(slugs(unread), ['state-never-read']);
  for (const last of ['7', '8.5', '0'])
    assert.equal(
      slugs(
        `observe: 'every', accumulate: { low: { last: ${last}, sum: (slot) => slot.attn } }, score: (slot) => slot.low`,
      ),
      ['history-length'],
    );
  const two = `observe: 'every', accumulate: { a: { last: 8, sum: (slot) => slot.attn }, b: { last: 9, sum: (slot) => slot.attn } }, score: (slot) => slot.a - slot.b`;
  const [{ slug, message, hint }] = mistakes(two);
  assert.is(slug, 'unsupported-on-target');
  assert.match(message, /this one has 16/);
  assert.match(hint!, /a history 8/);
});

test.run();
