/** GPT-2's alphabet: printable characters stand for themselves, the other bytes for characters from 256 on. */

/** [256] the character of a byte */
export const characterOfByte: readonly string[] = (() => {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
    return String.fromCharCode(printable ? byte : next++);
  });
})();

export const byteOfCharacter: ReadonlyMap<string, number> = new Map(
  characterOfByte.map((character, byte) => [character, byte]),
);

const encoder = new TextEncoder();

/** The UTF-8 bytes of a text in that alphabet. */
export function inAlphabet(text: string): string {
  let out = '';
  for (const byte of encoder.encode(text)) out += characterOfByte[byte];
  return out;
}
