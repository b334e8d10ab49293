/** What runtime/model gives the engine: a model's numbers, its tokenizer and its chat template. */
import { UserError } from '../../toolchain/errors.ts';
import type { ModelSpec } from '../native/index.ts';
import type { WholeSpelling } from './spelling.ts';

export interface Tokenizer {
  readonly vocab: number;
  readonly bos: number | undefined;
  /** tokens that end generation */
  readonly eos: readonly number[];
  /** Token ids of text. `special`: text like <|im_end|> becomes its token (chat templates need it). */
  encode(text: string, options?: { addBos?: boolean; special?: boolean }): Int32Array;
  /** All that `encode` needs, as another thread can have it without a copy; undefined: it must load the model. */
  readonly spelling?: WholeSpelling;
  decode(tokens: ArrayLike<number>, options?: { skipSpecial?: boolean }): string;
  /** The bytes one token stands for (byte-level and SPM byte tokens included); empty for special tokens. */
  bytes(token: number): Uint8Array;
  /** [vocab] bits of TokenClass: special, punctuation (only punctuation characters, after trimming spaces) */
  readonly classes: Uint8Array;
}

/** UTF-8 boundary aware: push returns the text that is now certain; end returns the rest. */
export interface Detokenizer {
  push(token: number): string;
  end(): string;
}

export interface ChatMessage {
  role: string;
  content: string;
  [extra: string]: unknown;
}

/** How a model wants to be sampled where a request says nothing. */
export interface SamplingDefaults {
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
}

export interface ChatOptions {
  /** what the template may show the model as tools; none: null, as transformers has it */
  tools?: readonly unknown[];
  addGenerationPrompt?: boolean;
  /** what a template may ask for besides, such as enable_thinking */
  variables?: Readonly<Record<string, unknown>>;
}

export interface LoadedModel {
  /** the notation it was asked by: 'smollm2-135m', 'hf:…', 'pypi:…' or a path */
  readonly source: string;
  /** a name to show and to match OpenAI's `model` field */
  readonly name: string;
  readonly architecture: string;
  readonly spec: ModelSpec;
  readonly maxPosition: number;
  readonly tokenizer: Tokenizer;
  /** `special`: special tokens are text, as they are written. */
  detokenizer(options?: { special?: boolean }): Detokenizer;
  /** The prompt text of a conversation. Throws a ModelError when the model has no template. */
  chat(messages: readonly ChatMessage[], options?: ChatOptions): string;
  readonly hasChatTemplate: boolean;
  /** as its file, or the user, writes it */
  readonly chatTemplate?: string;
  /** what stands in where a request does not say how to sample */
  readonly sampling: SamplingDefaults;
  /** what a user should know of the file: what it states and nothing here knows */
  readonly notes: readonly string[];
}

/** A model file that cannot be used: what is wrong, where, and what to do. */
export class ModelError extends UserError {
  override name = 'ModelError';
  override readonly api = { status: 400 };
}

/** How many names an error lists. */
const NAMED = 8;

/** Names for an error: the first of them, and how many more there are. */
export const listed = (names: readonly string[]): string =>
  `${names.slice(0, NAMED).join(', ')}${names.length > NAMED ? ` and ${names.length - NAMED} more` : ''}`;

/** Called while bytes of a model arrive; `total` is unknown at first for some sources. */
export type Progress = (event: { file: string; received: number; total?: number }) => void;
