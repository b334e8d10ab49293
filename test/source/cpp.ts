/** C++ read just well enough to judge its style: no preprocessor, no types, statements and blocks. */

/** Comments and the insides of string literals as spaces; lines keep their numbers. */
export function withoutComments(text: string): string {
  const blank = (found: string) => found.replace(/[^\n]/g, ' ');
  return text.replace(/\/\/.*|\/\*[\s\S]*?\*\/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)+'/g, (found) =>
    found[0] === '/' ? blank(found) : found[0] + blank(found.slice(1, -1)) + found[0],
  );
}

/** A statement's own words: what stands in its brackets is read apart, and stands here as empty brackets. */
export interface Statement {
  text: string;
  line: number;
}

/** `{ a, b, c }` that is no block: what stands before it, and how many elements it has. */
export interface List {
  before: string;
  elements: string[];
  line: number;
}

export interface Body {
  /** what stands before the brace */
  header: string;
  first: number;
  last: number;
}

export interface Read {
  statements: Statement[];
  lists: List[];
  bodies: Body[];
}

const isBlock = (before: string): boolean => {
  const text = before.trimEnd();
  if (/[)\]]$/.test(text) || /\b(else|do|try|const|noexcept|override|mutable)$/.test(text)) return true;
  if (/->\s*[\w:<>*&\s]+$/.test(text)) return true; // a lambda's type
  return /(^|\s)(struct|class|union|enum|namespace|extern)\b[^=(]*$/.test(text);
};

/** All statements, lists and bodies of a file. */
export function read(source: string): Read {
  const code = withoutComments(source).replace(/^[ \t]*#(?:.*\\\n)*.*$/gm, (found) => found.replace(/[^\n]/g, ' '));
  const out: Read = { statements: [], lists: [], bodies: [] };
  let at = 0;
  let line = 1;
  const step = (): string => {
    const c = code[at++];
    if (c === '\n') line++;
    return c;
  };
  /** Reads to the bracket that closes; returns the elements between commas. In a block statements end with `;`. */
  const inside = (close: string, block: boolean): string[] => {
    const elements: string[] = [];
    let text = '';
    let from = line;
    const end = () => {
      if (block && text.trim()) out.statements.push({ text: text.trim().replace(/\s+/g, ' '), line: from });
      text = '';
    };
    while (at < code.length) {
      const c = step();
      if (!text.trim()) from = line;
      if (c === close) {
        if (!block && text.trim()) elements.push(text.trim());
        end();
        return elements;
      }
      if (c === '(' || c === '[') {
        const list = inside(c === '(' ? ')' : ']', false);
        text += c === '(' ? `(${list.length ? '…' : ''})` : '[…]';
      } else if (c === '{') {
        const [first, before] = [line, text];
        if (before.trim() === '' ? block : isBlock(before)) {
          inside('}', !/\benum\b/.test(before));
          out.bodies.push({ header: before.trim().replace(/\s+/g, ' '), first, last: line });
          if (!block || /\b(struct|class|union|enum)\b/.test(before)) text += '{…}';
          else text = '';
        } else {
          out.lists.push({ before: before.trim().replace(/\s+/g, ' '), elements: inside('}', false), line: first });
          text += '{…}';
        }
      } else if (c === ';' && block) end();
      else if (c === ',' && !block) {
        elements.push(text.trim());
        text = '';
      } else text += c;
    }
    return elements;
  };
  inside('', true);
  return out;
}
