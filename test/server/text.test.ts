/** Stop strings: the text does not depend on where tokens end, and nothing of a stop string leaks. */
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { TextStream } from '../../runtime/server/text.ts';

/** A detokenizer whose token i is pieces[i]. */
const pieces = (list: string[]) => ({ push: (token: number) => list[token], end: () => '' });

function run(list: string[], stops: string[], include: boolean): { text: string; stopped?: string; parts: string[] } {
  const stream = new TextStream(pieces(list), stops, include);
  const parts: string[] = [];
  for (let i = 0; i < list.length && stream.stopped === undefined; i++) parts.push(stream.push(i));
  parts.push(stream.end());
  return { text: parts.join(''), stopped: stream.stopped, parts };
}

/** The definition: read letter by letter; the first stop string to be complete ends the text, the longest if several. */
function oracle(text: string, stops: string[], include: boolean): { text: string; stopped?: string } {
  for (let end = 1; end <= text.length; end++) {
    const [stop] = stops.filter((each) => text.slice(0, end).endsWith(each)).sort((a, b) => b.length - a.length);
    if (stop !== undefined) return { text: text.slice(0, include ? end : end - stop.length), stopped: stop };
  }
  return { text };
}

test('any stops, any token borders: as if read letter by letter', () => {
  const word = (min: number, max: number) =>
    fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: min, maxLength: max }).map((list) => list.join(''));
  fc.assert(
    fc.property(
      fc.array(word(0, 5), { maxLength: 12 }),
      fc.uniqueArray(word(1, 4), { maxLength: 3 }),
      fc.boolean(),
      (list, stops, include) => {
        const got = run(list, stops, include);
        assert.equal(
          { text: got.text, stopped: got.stopped },
          { stopped: undefined, ...oracle(list.join(''), stops, include) },
        );
      },
    ),
    { numRuns: 5000, seed: 1 },
  );
});

test('text is held back no longer than it must be', () => {
  assert.equal(run(['x', 'E', 'N', 'y', 'z'], ['END'], false).parts, ['x', '', '', 'ENy', 'z', '']);
});

test('before min_tokens nothing stops, and nothing is held back', () => {
  const stream = new TextStream(pieces(['ab', 'ab']), ['ab'], false);
  assert.is(stream.push(0, false), 'ab');
  assert.is(stream.stopped, undefined);
  assert.is(stream.push(1, true), '');
  assert.is(stream.stopped, 'ab');
});

test.run();
