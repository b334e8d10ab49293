/** What a family of models is: data that readers, errors and the backend follow. */
import type { Activation, Norm, RoleName } from '../../contract/records.ts';

/** Where a model's numbers and tensors come from: a GGUF file, or config.json beside safetensors. */
export type Format = 'gguf' | 'stored';

/** What multiplies or caps somewhere in the forward pass, as files state it; runtime/model/numbers.ts has their keys. */
export type ScaleName =
  | 'embedScale'
  | 'residualScale'
  | 'attentionScale'
  | 'queryScalar'
  | 'attentionCap'
  | 'logitCap'
  | 'logitDivisor';

export interface FamilyTensor {
  readonly role: RoleName;
  /** its name in each format that the family comes in; `#` is the layer */
  readonly names: Readonly<Partial<Record<Format, string>>>;
  /** the roles whose rows the file's tensor holds, one after the other */
  readonly fused?: readonly RoleName[];
  /** another role that stands in where a file has none: a tied output */
  readonly tiedTo?: RoleName;
  /** all layers have one, or none has */
  readonly optional?: true;
  /** of config.json, where the tensor is optional: true says that it is there, false that it is not */
  readonly flag?: string;
}

/** Which layers have a window: all; all but every n-th; or those that config.json counts, where it uses one at all. */
export type Windows = 'all' | 'counted' | { readonly fullEvery: number };

export interface Family {
  readonly name: string;
  /** GGUF's general.architecture and config.json's model_type that are of this family */
  readonly architectures: Readonly<Record<Format, readonly string[]>>;
  readonly tensors: readonly FamilyTensor[];
  /** Gemma's files differ in whether 1 is already added to the weights */
  readonly norm: Readonly<Record<Format, keyof typeof Norm>>;
  /** of the norms, where a file may be silent */
  readonly normEps?: number;
  /** of the MLP's gate; config.json may name another */
  readonly activation: keyof typeof Activation;
  /** pairs of dimensions that RoPE rotates, as the weights lie in each format: (2i, 2i + 1) or (i, i + headDim / 2) */
  readonly ropePairs: Readonly<Record<Format, 'interleaved' | 'halves'>>;
  /** RoPE's base in layers with a window, where it is another one; a file may state it */
  readonly windowBase?: number;
  /** every n-th layer is not rotated; config.json may list them */
  readonly unrotatedEvery?: number;
  /** rows of the learned positions before that of position 0: keys are not rotated then */
  readonly positionsFrom?: number;
  /** a window that files may state; without this field one is refused */
  readonly windows?: Windows;
  /** the width of windows, where a file that has them may be silent */
  readonly window?: number;
  /** scales and caps that its files state; others are refused */
  readonly scales?: readonly ScaleName[];
  /** what they are where a file is silent */
  readonly scaleDefaults?: Readonly<Partial<Record<ScaleName, number>>>;
  /** the embedding is scaled by the root of the width */
  readonly embedByWidth?: true;
  /** models of so many layers scale attention by width / heads in place of the head size, and GGUF does not say so */
  readonly scaleByWidthAt?: number;
  /** whether the output is the embedding, where config.json does not say */
  readonly tied: boolean;
  /** models that see or hear besides, in safetensors, whose text part is of this family */
  readonly textOf?: {
    readonly modelType: string;
    /** what names of the text's tensors begin with there, and here */
    readonly prefixes: Readonly<Record<string, string>>;
    /** what names of the other parts' tensors begin with */
    readonly others: readonly string[];
    /** settings that text_config leaves out where they are these: transformers writes what differs from its defaults */
    readonly defaults: Readonly<Record<string, unknown>>;
  };
  /** settings of config.json that have one value alone in all its models that can be run, and what another would mean */
  readonly fixed?: Readonly<Record<string, readonly [value: unknown, meaning: string]>>;
}
