/**
 * A history, `{ last, sum }`, is BUCKETS states, each the sum over an eighth of `last` queries: query q adds to bucket
 * floor(8 q / last) modulo 8, and the first query of a bucket empties it of what it held eight buckets ago. Observed
 * queries follow one another, so none of these is missed.
 */
import { BUCKETS, type BinaryOp, type Node, type Span, type State } from '../ir/nodes.ts';

const bucketName = (history: string, bucket: number): string => `${history}_${bucket}`;

/** What `slot.NAME` of a history stands for. */
export const historySum = (history: string, span: Span): Node =>
  Array.from(
    { length: BUCKETS },
    (_, i): Node => ({ op: 'state', type: 'f32', name: bucketName(history, i), span }),
  ).reduce((a, b) => ({ op: 'binary', type: 'f32', fn: 'add', a, b, span }));

/** The states of a history; `added` is what one query adds, or `apart`, each of its heads. */
export function historyStates(of: string, last: Node, added: Node, apart: boolean): State[] {
  const { span } = added;
  const number = (value: number): Node => ({ op: 'const', type: 'f32', value, span });
  const binary = (fn: BinaryOp, a: Node, b: Node): Node => ({
    op: 'binary',
    type: fn === 'eq' || fn === 'ne' ? 'bool' : 'f32',
    fn,
    a,
    b,
    span,
  });
  const both = (a: Node, b: Node): Node => ({ op: 'binary', type: 'bool', fn: 'and', a, b, span });
  const floor = (a: Node): Node => ({ op: 'call', type: 'f32', fn: 'floor', args: [a], span });
  const select = (cond: Node, then: Node, other: Node): Node => ({
    op: 'select',
    type: 'f32',
    cond,
    then,
    else: other,
    span,
  });
  const field = (name: 'length' | 'voter'): Node => ({ op: 'slot', type: 'f32', field: name, span });
  const query = binary('sub', field('length'), number(1)); // not pos + age: it is the same for all slots
  const bucketsUntil = (q: Node) => floor(binary('div', binary('mul', q, number(BUCKETS)), last));
  const now = bucketsUntil(query);
  const first = binary('ne', now, bucketsUntil(binary('sub', query, number(1))));
  const begins = apart ? both(first, binary('eq', field('voter'), number(0))) : first;
  const own = binary('sub', now, binary('mul', number(BUCKETS), floor(binary('div', now, number(BUCKETS)))));
  return Array.from({ length: BUCKETS }, (_, bucket) => {
    const name = bucketName(of, bucket);
    const before: Node = { op: 'state', type: 'f32', name, span };
    const after = binary('add', select(begins, number(0), before), added);
    return {
      name,
      history: { of, bucket, last },
      init: 0,
      next: select(binary('eq', own, number(bucket)), after, before),
    };
  });
}
