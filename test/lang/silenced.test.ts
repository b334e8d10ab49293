/** A file that silences TypeScript, with `as any` or a comment: what it hid is refused all the same, and nothing crashes. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { mistakes, policyOf } from './snippets.ts';

const STATE = "observe: 'every', accumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn } },";
const profile = (rules: string) => `${STATE} keep: profile(0.9, 'mass', ${rules} as any)`;

const hidden: string[] = [
  `group: 'median' as any, ${STATE} score: (slot) => slot.mass`,
  `${STATE.replace("'every'", "['decode', 'often'] as any")} score: (slot) => slot.mass`,
  `${STATE.replace("'every'", '{ last: 4, first: 3 } as any')} score: (slot) => slot.mass`,
  "store: 'fp8' as any",
  "place: 'gpu' as any",
  "positions: 'slot' as any",
  "heads: 'pooled' as any",
  'heads: 5 as any',
  "layers: 'pyramid' as any",
  "layers: ['a', 'b'] as any",
  "pool: { kind: 'median', width: 3 } as any",
  'keep: 5 as any',
  "keep: { kind: 'topk', budget: 5 } as any",
  "score: (slot) => slot.pos, keep: { kind: 'above' } as any",
  "keep: topK(64, { besides: 'window' } as any), window: { last: 4 }",
  profile('5'),
  profile('[5, everything]'),
  profile("[{ classes: ['words'] }, everything]"),
  profile("[{ classes: 'special' }, everything]"),
  "when: 'always' as any",
  "when: { kind: 'sometimes' } as any",
  'window: 5 as any',
  'window: { last: true } as any',
  'window: { latest: 4 } as any',
  "window: { classes: 'special' as any }",
  "across: { x: { max: (slot) => slot.pos, partition: 'last' as any } }, partitions: { size: 4 }, score: (slot, { x }) => x",
  "params: { a: { kind: 'much', default: 3, min: 0, max: 5 } as any }",
  'params: { a: 5 as any }',
  "// @ts-ignore\n evict: 'drop'",
  '// @ts-ignore\n window: { latest: 4 }',
];
for (const fields of hidden)
  test(`refused: ${fields}`, () => {
    const found = mistakes(fields);
    assert.is(found[0].slug, 'wrong-type', found.map(({ message }) => message).join());
    assert.ok(found[0].hint);
  });

test('what is right may be silenced', () => {
  assert.is(
    policyOf(
      "group: 'max' as any, observe: 'every', accumulate: { mass: { init: 0, next: (m, slot) => slot.attn } }, score: (slot) => slot.mass",
    ).group,
    'max',
  );
  assert.equal(policyOf('layers: [1.5, 0.5] as const').layers, { kind: 'table', factors: [1.5, 0.5] });
});

test.run();
