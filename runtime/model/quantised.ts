/** Weights of safetensors that another program quantised: recognised by its marks, and refused by the name it is known by. */
import type { StoredTensor } from './safetensors.ts';
import { ModelError } from './types.ts';

/** What users call a method, by quantization_config's quant_method. */
const methods: Readonly<Record<string, string>> = {
  gptq: 'GPTQ',
  awq: 'AWQ',
  bitsandbytes: 'bitsandbytes',
  fp8: 'FP8',
  fbgemm_fp8: 'FP8 (FBGEMM)',
  'compressed-tensors': 'compressed-tensors',
  mxfp4: 'MXFP4',
  hqq: 'HQQ',
  eetq: 'EETQ',
  aqlm: 'AQLM',
  quanto: 'Quanto',
  torchao: 'torchao',
  bitnet: 'BitNet',
  modelopt: 'ModelOpt',
  mlx: 'MLX',
};

/** Marks among the tensors, for folders whose config.json says nothing; the first that fits. */
const marks: readonly { name: RegExp; dtype?: RegExp; method: string }[] = [
  { name: /\.g_idx$/, method: 'GPTQ' },
  { name: /\.qweight$/, method: 'GPTQ or AWQ' },
  { name: /\.weight_packed$/, method: 'compressed-tensors' },
  { name: /\.weight\.(absmax|quant_map|quant_state\..*)$|\.SCB$/, method: 'bitsandbytes' },
  { name: /\.weight$/, dtype: /^U32$/, method: 'MLX' },
  { name: /_blocks$/, dtype: /^U8$/, method: 'MXFP4' },
  { name: /\.weight$/, dtype: /^F8_/, method: 'FP8' },
];

function refuse(where: string, method: string): never {
  throw new ModelError(
    `${where}: the weights are quantised with ${method}, which is not supported. Use a GGUF file of the same model, or its weights in bf16.`,
  );
}

/** Throws when config.json says that the weights are quantised. `stated` looks up one of its keys. */
export function refuseQuantised(stated: (key: string) => unknown, where: string): void {
  const own = stated('quantization'); // MLX writes it, and since 2024 a quantization_config without a method
  const given = stated('quantization_config') ?? stated('compression_config') ?? own;
  if (typeof given !== 'object' || given === null) return;
  const { quant_method, bits } = given as Record<string, unknown>;
  const method = String(quant_method ?? ('group_size' in given ? 'mlx' : 'a method that it does not name'));
  const known = Object.hasOwn(methods, method) ? methods[method] : method;
  refuse(where, `${known}${typeof bits === 'number' ? ` (${bits} bits)` : ''}`);
}

/** Throws when tensors have another program's marks. */
export function refuseMarks(tensors: readonly StoredTensor[]): void {
  for (const { name, dtype, method } of marks) {
    const found = tensors.find((each) => name.test(each.name) && (dtype?.test(each.dtype) ?? true));
    if (found) refuse(`${found.file}: tensor ${found.name}`, method);
  }
}
