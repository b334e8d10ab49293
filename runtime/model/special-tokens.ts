/** Text → plain text and the tokens that stand in it as they are written. */

export interface SpecialToken {
  readonly id: number;
  readonly text: string;
  /** found only where special tokens are asked for: what a user writes cannot be one */
  readonly control: boolean;
  /** white space after it is dropped */
  readonly trimsAfter: boolean;
}

type Part = string | SpecialToken;

/** Finds the longest tokens first, wherever they are; then shorter ones in what is left. */
export function finderOf(tokens: readonly SpecialToken[]): (text: string, special: boolean) => Part[] {
  const longestFirst = tokens
    .filter(({ text }) => text !== '')
    .map((token) => ({ token, bytes: Buffer.byteLength(token.text) }))
    .sort((a, b) => b.bytes - a.bytes || a.token.id - b.token.id)
    .map(({ token }) => token);
  const seen = occurrences(longestFirst);
  return (text, special) => {
    let parts: Part[] = text === '' ? [] : [text];
    for (const token of seen(text))
      if (special || !token.control)
        parts = parts.flatMap((part) => (typeof part === 'string' ? around(part, token) : [part]));
    return parts;
  };
}

function around(text: string, token: SpecialToken): Part[] {
  const parts: Part[] = [];
  let at = 0;
  for (let found = text.indexOf(token.text); found >= 0; found = text.indexOf(token.text, at)) {
    if (found > at) parts.push(text.slice(at, found));
    parts.push(token);
    at = found + token.text.length;
    while (token.trimsAfter && /[ \t-\r]/.test(text[at] ?? '')) at++;
  }
  if (at < text.length) parts.push(text.slice(at));
  return parts;
}

interface Branch {
  token?: number;
  next?: Map<number, Branch>;
}

/** Which of thousands of tokens a text has at all, in their order: one walk along the text, whatever their number. */
function occurrences(tokens: readonly SpecialToken[]): (text: string) => SpecialToken[] {
  const root: Branch = {};
  tokens.forEach(({ text }, index) => {
    let branch = root;
    for (let i = 0; i < text.length; i++) {
      const next = (branch.next ??= new Map<number, Branch>());
      const code = text.charCodeAt(i);
      const child = next.get(code) ?? {};
      next.set(code, child);
      branch = child;
    }
    branch.token ??= index;
  });
  return (text) => {
    const found = new Set<number>();
    for (let start = 0; start < text.length; start++) {
      let branch = root.next?.get(text.charCodeAt(start));
      for (let at = start + 1; branch; at++) {
        if (branch.token !== undefined) found.add(branch.token);
        branch = branch.next?.get(text.charCodeAt(at)); // NaN, past the end, is no key
      }
    }
    return [...found].sort((a, b) => a - b).map((index) => tokens[index]);
  };
}
