/** A model's answer → text and tool calls, piece by piece: arguments are passed on as they come. */
import { randomUUID } from 'node:crypto';
import { firstOf, unsure } from './held-text.ts';
import { type ToolFormat, firstMarks, partsAround } from './tool-formats.ts';
import { UnmarkedCalls } from './unmarked-calls.ts';

/** What is new of a call; OpenAI's delta. */
export interface CallDelta {
  index: number;
  id?: string;
  type?: 'function';
  function: { name?: string; arguments?: string };
}

export interface Read {
  content: string;
  calls: CallDelta[];
}

/** Where a JSON value ends: fed character by character. */
class Value {
  private depth = 0;
  private quoted = false;
  private escaped = false;

  /** True when this character was its last. */
  take(character: string): boolean {
    if (this.escaped) this.escaped = false;
    else if (this.quoted && character === '\\') this.escaped = true;
    else if (character === '"') this.quoted = !this.quoted;
    else if (!this.quoted && (character === '{' || character === '[')) this.depth++;
    else if (!this.quoted && (character === '}' || character === ']')) this.depth--;
    return this.depth === 0 && !this.quoted;
  }
}

const callId = (): string => `call_${randomUUID().replaceAll('-', '').slice(0, 24)}`;

/** One call that comes: `name` and `arguments` as far as they are known. */
class Call {
  private readonly whole = new Value();
  private text = '';
  private name?: string;
  private value?: Value;
  private sent = 0;
  private begun = false;
  /** [from, to) of the arguments in the text */
  private from = -1;
  private to = -1;
  done = false;

  constructor(
    private readonly key: string,
    private readonly index: number,
    /** a call whose name stands before its arguments */
    named?: string,
  ) {
    this.name = named;
    if (named !== undefined) this.from = 0;
  }

  take(character: string): void {
    this.text += character;
    if (this.from >= 0 && this.to < 0) {
      this.value ??= new Value();
      if (this.value.take(character)) this.to = this.text.length;
    }
    this.done = this.whole.take(character);
    if (
      this.from < 0 &&
      character === '{' &&
      new RegExp(`^\\{(?:\\s*"name"\\s*:\\s*"[^"]*"\\s*,|[^{}]*,)?\\s*"${this.key}"\\s*:\\s*\\{$`).test(this.text)
    ) {
      this.from = this.text.length - 1;
      this.value = new Value();
      this.value.take(character);
    }
    if (this.name === undefined && character === '"' && (this.from < 0 || this.to >= 0))
      this.name = /^\{[\s\S]*?"name"\s*:\s*"([^"\\]*)"$/.exec(this.text)?.[1];
  }

  /** Arguments that are no object where they are expected: a text that holds one, or none at all. */
  private other(): string {
    const given = (JSON.parse(this.text) as Record<string, unknown>)[this.key] ?? {};
    return typeof given === 'string' ? given : JSON.stringify(given);
  }

  /** What has come since the last time; nothing before the name is known, or of what is no JSON. */
  delta(): CallDelta | undefined {
    if (this.name === undefined) return undefined;
    const first = !this.begun;
    let more = '';
    if (this.from >= 0) {
      const known = this.text.slice(this.from, this.to < 0 ? undefined : this.to);
      more = known.slice(this.sent);
      this.sent = known.length;
    } else if (this.done) {
      try {
        more = this.other();
      } catch {
        return undefined;
      }
    } else return undefined;
    if (!first && more === '') return undefined;
    this.begun = true;
    const head = first ? { id: callId(), type: 'function' as const } : {};
    return { index: this.index, ...head, function: { ...(first ? { name: this.name } : {}), arguments: more } };
  }

  /** As it was written, where it turned out to be no call. */
  get raw(): string | undefined {
    return this.begun ? undefined : this.text;
  }
}

export class CallReader {
  /** calls that were read */
  count = 0;
  private held = '';
  private begun = false;
  private reading = false;
  private call?: Call;
  private readonly marks: readonly string[];
  private readonly parts: readonly string[];
  private readonly unmarked: UnmarkedCalls;
  /** a call without marks was read, and not yet what ends it */
  private closing = false;

  /** `most`: further calls are dropped; `unmarked`: tools whose calls may stand without marks */
  constructor(
    private readonly format: ToolFormat,
    private readonly most: number,
    unmarked: readonly string[] = [],
  ) {
    this.marks = firstMarks(format);
    this.parts = partsAround(format);
    this.unmarked = new UnmarkedCalls(format, unmarked);
  }

  push(text: string): Read {
    this.held += text;
    const read: Read = { content: '', calls: [] };
    while (this.held !== '' && this.step(read));
    if (this.call) this.tell(read, this.call);
    return read;
  }

  end(): Read {
    const read: Read = { content: '', calls: [] };
    if (this.call) read.content = this.call.raw ?? '';
    else if (!this.reading) read.content = this.held;
    this.call = undefined;
    this.held = '';
    return read;
  }

  /** Takes what can be taken of the held text; false when more must come first. */
  private step(read: Read): boolean {
    if (this.call) return this.inCall(read, this.call);
    return this.reading ? this.betweenCalls(read) : this.inText(read);
  }

  private inText(read: Read): boolean {
    if (this.marks.length === 0) return this.mayBegin(read);
    if (!this.begun) {
      const known = this.withoutMarks();
      if (known !== 'text') return known;
      this.begun = true;
    }
    const found = firstOf(this.held, this.marks);
    const text = found
      ? this.held.slice(0, found.at)
      : this.held.slice(0, this.held.length - unsure(this.held, this.marks));
    // line ends before a call are not part of the text
    const certain = found ? text.trimEnd() : text.replace(/\s+$/, '');
    read.content += certain;
    this.held = found ? this.held.slice(found.at) : this.held.slice(certain.length);
    if (found) this.reading = true;
    return found !== undefined;
  }

  /** Takes a call without marks as far as it is there; 'text' when there is none. */
  private withoutMarks(): boolean | 'text' {
    if (this.count > 0) this.held = this.held.trimStart();
    if (this.held === '') return false;
    if (this.closing) {
      const rest = this.unmarked.after(this.held);
      if (rest === undefined) return false;
      this.held = rest;
      this.closing = false;
      return true;
    }
    const found = this.unmarked.look(this.held);
    if (found === 'text') return found;
    if (found === 'may') return false;
    this.held = this.held.slice(found.at);
    this.call = new Call(this.format.argumentsKey, this.count);
    this.closing = true;
    return true;
  }

  /** A format without marks: the answer is calls from its first character on, or text. */
  private mayBegin(read: Read): boolean {
    const text = this.begun ? this.held : this.held.replace(/^\s*(<\|python_tag\|>)?\s*/, '');
    if (!this.begun && (text === '' || '<|python_tag|>'.startsWith(this.held.trim()))) return false;
    this.reading = !this.begun && text.startsWith('{');
    this.begun = true;
    if (this.reading) this.held = text;
    else {
      read.content += this.held;
      this.held = '';
    }
    return this.reading;
  }

  private betweenCalls(read: Read): boolean {
    const { middle, argumentsKey } = this.format;
    const { parts } = this;
    for (;;) {
      this.held = this.held.trimStart();
      if (parts.some((part) => part !== this.held && part.startsWith(this.held))) return false; // it may become this part
      const part = parts.find((each) => this.held.startsWith(each));
      if (!part) break;
      this.held = this.held.slice(part.length);
    }
    if (middle) {
      const at = this.held.indexOf(middle);
      if (at < 0) return false;
      this.call = new Call(argumentsKey, this.count, this.held.slice(0, at).trim());
      this.held = this.held.slice(at + middle.length).trimStart();
      return true;
    }
    if (this.held.startsWith('{')) {
      this.call = new Call(argumentsKey, this.count);
      return true;
    }
    this.reading = false; // text again
    this.begun = true;
    return this.marks.length > 0 || this.mayBegin(read);
  }

  private inCall(read: Read, call: Call): boolean {
    let i = 0;
    while (i < this.held.length && !call.done) call.take(this.held[i++]);
    this.held = this.held.slice(i);
    if (!call.done) return false;
    this.tell(read, call);
    const { raw } = call;
    if (raw !== undefined) read.content += raw;
    else this.count++;
    this.call = undefined;
    return true;
  }

  private tell(read: Read, call: Call): void {
    const delta = call.delta();
    if (delta && delta.index < this.most) read.calls.push(delta);
  }
}
