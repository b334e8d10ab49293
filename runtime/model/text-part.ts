/**
 * The text part of a model that sees or hears besides: config.json has its settings in text_config, and its tensors lie
 * below a prefix. It becomes what the text alone would have been saved as; tensors of the other parts are left out.
 */
import type { Family } from './families/family.ts';
import { families } from './families/index.ts';
import type { StoredTensor } from './safetensors.ts';
import { ModelError, listed } from './types.ts';

export interface TextPart {
  /** settings as a model of text alone has them */
  readonly config: Record<string, unknown>;
  /** Tensors of the text by the names that a model of text alone gives them; those of other parts are gone. */
  readonly ownOf: (all: readonly StoredTensor[]) => { readonly own: StoredTensor[]; readonly note?: string };
}

/** What config.json has besides the settings of its parts: which token stands for an image, and how many do. */
const besides =
  /^(text_config|vision_config|audio_config|(image|audio|video|boi|eoi|boa|eoa)_token_(index|id)|mm_tokens_per_image)$/;

/** `json`: config.json. */
export function textPartOf(json: Record<string, unknown>, where: string): TextPart {
  const family = families.find(({ textOf }) => textOf !== undefined && textOf.modelType === json.model_type);
  if (!family) return { config: json, ownOf: (all) => ({ own: [...all] }) };
  const { text_config } = json;
  if (text_config?.constructor !== Object)
    throw new ModelError(`${where}: a model of type ${String(json.model_type)} must have its text_config.`);
  const shared = Object.fromEntries(Object.entries(json).filter(([key]) => !besides.test(key)));
  return {
    config: { ...family.textOf!.defaults, ...shared, model_type: family.architectures.stored[0], ...text_config },
    ownOf: (all) => ownOf(family.textOf!, all),
  };
}

function ownOf({ prefixes, others }: NonNullable<Family['textOf']>, all: readonly StoredTensor[]) {
  const own: StoredTensor[] = [];
  const left: string[] = [];
  for (const tensor of all) {
    const prefix = Object.keys(prefixes).find((each) => tensor.name.startsWith(each));
    if (prefix !== undefined) own.push({ ...tensor, name: prefixes[prefix] + tensor.name.slice(prefix.length) });
    else if (others.some((each) => tensor.name.startsWith(each))) left.push(tensor.name);
    else own.push(tensor);
  }
  const parts = [...new Set(left.map((name) => others.find((each) => name.startsWith(each))!.replace(/\.$/, '')))];
  if (left.length === 0) return { own };
  const note = `the text of the model alone is served: ${left.length} tensors of ${listed(parts)} are left out`;
  return { own, note };
}
