/** What a family of models is: data that readers, errors and the backend follow. */
import type { Activation, Norm, RoleName } from '../../contract/records.ts';

/** Where a model's numbers and tensors come from: a GGUF file, or config.json beside safetensors. */
export type Format = 'gguf' | 'stored';

export interface FamilyTensor {
  readonly role: RoleName;
  /** its name in each format; `#` is the layer */
  readonly names: Readonly<Record<Format, string>>;
  /** another role that stands in where a file has none: a tied output */
  readonly tiedTo?: RoleName;
}

export interface Family {
  readonly name: string;
  /** GGUF's general.architecture and config.json's model_type that are of this family */
  readonly architectures: Readonly<Record<Format, readonly string[]>>;
  readonly tensors: readonly FamilyTensor[];
  readonly norm: keyof typeof Norm;
  /** of the MLP's gate */
  readonly activation: keyof typeof Activation;
  /** pairs of dimensions that RoPE rotates, as the weights lie in each format: (2i, 2i + 1) or (i, i + headDim / 2) */
  readonly ropePairs: Readonly<Record<Format, 'interleaved' | 'halves'>>;
  /** settings of config.json that would change the forward pass in a way that it does not have: true is refused */
  readonly refused: Readonly<Record<string, string>>;
}
