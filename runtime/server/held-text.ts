/** Text that waits until it is known what it is part of. */

/** Characters at the end of a text that one of these may begin with. */
export function unsure(text: string, marks: readonly string[]): number {
  let most = 0;
  for (const mark of marks)
    for (let n = Math.min(mark.length - 1, text.length); n > most; n--) if (text.endsWith(mark.slice(0, n))) most = n;
  return most;
}

/** Where the first of these begins, and which it is. */
export function firstOf(text: string, marks: readonly string[]): { at: number; mark: string } | undefined {
  const found = marks.map((mark) => ({ at: text.indexOf(mark), mark })).filter(({ at }) => at >= 0);
  return found.sort((a, b) => a.at - b.at || b.mark.length - a.mark.length)[0];
}
