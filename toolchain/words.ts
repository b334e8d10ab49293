/** Words that were meant: the nearest of those there are. */

/** Edits between two words. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length];
}

/** The word that is nearest, if it is near: an edit for every two letters at most. */
export function nearest(word: string, words: readonly string[]): string | undefined {
  const [best] = words.map((each) => ({ each, far: distance(word, each) })).sort((a, b) => a.far - b.far);
  return best && 2 * best.far <= word.length ? best.each : undefined;
}
