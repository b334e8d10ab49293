/**
 * Chat templates as transformers renders them. @huggingface/jinja does most of it; where it departs from Jinja in what
 * templates use, its interpreter is corrected here: what a loop wrote before `break` stays, and numbers may be keys.
 */
import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja';

type Value = ReturnType<Interpreter['evaluate']>;

/** What is looked at of the library's syntax tree. `Ready` is not the library's: a value that was computed before. */
interface Node {
  type: string;
  value?: unknown;
  body?: unknown;
  computed?: boolean;
  defaultBlock?: readonly Node[];
  object?: Node;
  property?: Node;
}

/** Leaves a loop's body; carries what was written in it so far. */
class Leave extends Error {
  written = '';

  constructor(readonly ends: boolean) {
    super('break or continue outside of a loop');
  }
}

/** A loop that runs: its body, whether `break` ended it, and whether its body was ever read to the end. */
interface Loop {
  readonly body: unknown;
  over: boolean;
  left: boolean;
  finished: boolean;
}

/** Statements whose value is not written. */
const silent = ['Set', 'Macro', 'Comment'];

/** What the library has for itself, and calls on `this`. */
interface Inner {
  evaluate(node: Node | undefined, scope: Environment): Value;
  evaluateBlock(statements: readonly Node[], scope: Environment): Value;
  evaluateFor(node: Node, scope: Environment): Value;
  evaluateMemberExpression(node: Node, scope: Environment): Value;
}
const Library = Interpreter as unknown as new (globals: Environment) => Inner & { run(program: unknown): Value };

class Corrected extends Library {
  private readonly loops: Loop[] = [];

  override evaluate(node: Node | undefined, scope: Environment): Value {
    switch (node?.type) {
      case 'Ready':
        return node.value as Value;
      case 'Break':
        throw new Leave(true);
      case 'Continue':
        throw new Leave(false);
      case 'ObjectLiteral':
        return this.object(node, scope);
      default:
        return super.evaluate(node, scope);
    }
  }

  /** A mapping whose keys are strings or whole numbers, which are different keys, as in Python. */
  private object(node: Node, scope: Environment): Value {
    const object = super.evaluate({ type: 'ObjectLiteral', value: new Map() }, scope);
    for (const [name, value] of node.value as Map<Node, Node>) {
      const key = this.evaluate(name, scope);
      if (key.type !== 'StringValue' && key.type !== 'IntegerValue')
        throw new Error(`Keys must be strings or whole numbers, not ${key.type}`);
      (object.value as Map<unknown, Value>).set(key.value, this.evaluate(value, scope));
    }
    return object;
  }

  override evaluateMemberExpression(node: Node, scope: Environment): Value {
    if (!node.computed || node.property?.type === 'SliceExpression') return super.evaluateMemberExpression(node, scope);
    const object = this.evaluate(node.object, scope);
    const key = this.evaluate(node.property, scope);
    if (object.type === 'ObjectValue' && key.type === 'IntegerValue')
      return (object.value as Map<unknown, Value>).get(key.value) ?? this.evaluate(nothing, scope);
    const ready = (value: Value): Node => ({ type: 'Ready', value });
    const again = { ...node, object: ready(object), property: ready(key) };
    return super.evaluateMemberExpression(again, scope);
  }

  private text(value: string, scope: Environment): Value {
    return super.evaluate({ type: 'StringLiteral', value }, scope);
  }

  /** As Jinja compiles it: `else` follows where no body was read to its end. */
  override evaluateFor(node: Node, scope: Environment): Value {
    const loop: Loop = { body: node.body, over: false, left: false, finished: false };
    this.loops.push(loop);
    let written: Value;
    try {
      written = super.evaluateFor(node, scope);
    } finally {
      this.loops.pop();
    }
    if (!loop.left || loop.finished) return written;
    return this.text(`${written.value}${this.evaluateBlock(node.defaultBlock ?? [], scope).value}`, scope);
  }

  /** A loop's body that is left counts as far as it came; after `break` it writes nothing more. */
  override evaluateBlock(statements: readonly Node[], scope: Environment): Value {
    const loop = this.loops.at(-1);
    const own = loop !== undefined && loop.body === statements;
    if (own && loop.over) return this.text('', scope);
    let written = '';
    try {
      for (const statement of statements) written += this.written(statement, scope);
      if (own) loop.finished = true;
    } catch (error) {
      if (!(error instanceof Leave)) throw error;
      error.written = written + error.written;
      if (!own) throw error;
      Object.assign(loop, { over: error.ends, left: true });
      written = error.written;
    }
    return this.text(written, scope);
  }

  /** What a statement writes; truth and none as Python spells them. */
  private written(statement: Node, scope: Environment): string {
    const value = this.evaluate(statement, scope);
    if (value.type === 'UndefinedValue' || silent.includes(statement.type)) return '';
    if (value.type === 'NullValue') return 'None';
    if (value.type === 'BooleanValue') return value.value ? 'True' : 'False';
    return value.toString();
  }
}

/** A name that no scope has. */
const nothing: Node = { type: 'Identifier', value: ' ' };

const english = (options: Intl.DateTimeFormatOptions) => (now: Date) =>
  new Intl.DateTimeFormat('en-US', options).format(now);
const padded = (value: number): string => String(value).padStart(2, '0');

/** Python's directives that templates use. */
const directives: Readonly<Record<string, (now: Date) => string>> = {
  Y: (now) => String(now.getFullYear()),
  y: (now) => padded(now.getFullYear() % 100),
  m: (now) => padded(now.getMonth() + 1),
  d: (now) => padded(now.getDate()),
  H: (now) => padded(now.getHours()),
  I: (now) => padded(now.getHours() % 12 || 12),
  M: (now) => padded(now.getMinutes()),
  S: (now) => padded(now.getSeconds()),
  p: (now) => (now.getHours() < 12 ? 'AM' : 'PM'),
  B: english({ month: 'long' }),
  b: english({ month: 'short' }),
  A: english({ weekday: 'long' }),
  a: english({ weekday: 'short' }),
  '%': () => '%',
};

/** Python's strftime of a moment. Throws for a directive that is not known. */
export function timeText(format: string, now: Date): string {
  return format.replace(/%(.)/g, (all, letter: string) => {
    if (!Object.hasOwn(directives, letter)) throw new Error(`strftime_now has no ${all}`);
    return directives[letter](now);
  });
}

function* counted(start: number, stop: number | undefined, step: number): Generator<number> {
  const [from, to] = stop === undefined ? [0, start] : [start, stop];
  if (!step) throw new Error('range() needs a step that is not 0');
  for (let i = from; step > 0 ? i < to : i > to; i += step) yield i;
}

/** What every template may use; `true`, `false` and `none` in both spellings. */
const globals: Readonly<Record<string, unknown>> = {
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
  range: (start: number, stop?: number, step = 1) => [...counted(start, stop, step)],
  strftime_now: (format: string) => timeText(format, new Date()),
  raise_exception: (message: string) => {
    throw new Error(message);
  },
};

/** A template, read once; then the text of what it is given. */
export function compileTemplate(template: string): (given: Readonly<Record<string, unknown>>) => string {
  const program = parse(tokenize(template, { lstrip_blocks: true, trim_blocks: true }));
  return (given) => {
    const scope = new Environment();
    for (const [name, value] of Object.entries({ ...globals, ...given })) scope.set(name, value);
    return String(new Corrected(scope).run(program).value);
  };
}
