/** What a model thinks, apart from what it answers. */
import { unsure } from './held-text.ts';
import type { ReasoningFormat } from './tool-formats.ts';

export interface Split {
  reasoning: string;
  content: string;
}

/** Takes a text piece by piece. Tags, and the line ends around them, belong to neither part. */
export class ReasoningSplit {
  private held = '';
  private state: 'start' | 'inside' | 'after';
  private begun = false;

  /** `opened`: the prompt has begun the thinking */
  constructor(
    private readonly format: ReasoningFormat,
    opened: boolean,
  ) {
    this.state = opened ? 'inside' : 'start';
  }

  push(text: string): Split {
    this.held += text;
    const split: Split = { reasoning: '', content: '' };
    if (this.state === 'start') this.start();
    if (this.state === 'inside') split.reasoning = this.inside();
    if (this.state === 'after') split.content = this.after();
    return split;
  }

  /** The rest, when the text has ended. */
  end(): Split {
    const { held, state } = this;
    this.held = '';
    return state === 'inside' ? { reasoning: held.trimEnd(), content: '' } : { reasoning: '', content: held };
  }

  private start(): void {
    const { begin } = this.format;
    const text = this.held.trimStart();
    if (text.startsWith(begin)) {
      this.held = text.slice(begin.length);
      this.state = 'inside';
    } else if (!begin.startsWith(text)) {
      this.state = 'after';
      this.begun = true; // no tag, so what it begins with is its own
    }
  }

  private inside(): string {
    const { end } = this.format;
    if (!this.begun) this.held = this.held.replace(/^\n+/, '');
    if (this.held !== '') this.begun = true;
    const at = this.held.indexOf(end);
    if (at >= 0) {
      const reasoning = this.held.slice(0, at).replace(/\n+$/, '');
      this.held = this.held.slice(at + end.length);
      this.state = 'after';
      this.begun = false;
      return reasoning;
    }
    // line ends before the end's tag are not known yet
    const certain = this.held.slice(0, this.held.length - unsure(this.held, [end])).replace(/\n+$/, '');
    this.held = this.held.slice(certain.length);
    return certain;
  }

  private after(): string {
    const text = this.begun ? this.held : this.held.replace(/^\n+/, '');
    if (text !== '') this.begun = true;
    this.held = '';
    return text;
  }
}
