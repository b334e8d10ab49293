/** The types of skv.node, and the one place that loads it. Numbers and shared arrays are described in runtime/contract. */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { NumbersOf } from '../contract/fields.ts';
import type { Buffers, RoleName, StepCounts, config, layer, model, probe, tensor } from '../contract/records.ts';
import { BACKEND_VERSION } from '../contract/versions.ts';
import { NativeBuildError, ensureNative } from './ensure.ts';

/** One weight tensor of a model file. `rows` = outputs, `cols` = inputs, row-major; `offset` and `bytes` within `file`. */
export interface TensorRef extends NumbersOf<typeof tensor> {
  role: RoleName;
}

/** What a layer's attention sees, and which table of `invFreq` rotates it. */
export type LayerSpec = NumbersOf<typeof layer>;

/** What the dense model needs to know; read from GGUF or safetensors by runtime/model. */
export interface ModelSpec extends NumbersOf<typeof model> {
  /** [tables][headDim / 2], radians per position, scaling applied; a table of zeros does not rotate */
  invFreq: Float32Array;
  /** [layers] */
  layer: readonly LayerSpec[];
  tensors: TensorRef[];
  files: string[];
}

export interface EngineConfig extends NumbersOf<typeof config> {
  /** path of the backend library */
  backend: string;
  model: ModelSpec;
  /** paths of policy libraries; a row's `policy` indexes them */
  policies: string[];
  /** processors to pin to, `threads` of them; empty: unpinned */
  cpus: number[];
}

/** A step that failed, in the backend's words: the engine can only be closed. */
export interface StepError extends Error {
  /** the device answers nothing any more: the process must end */
  lost: boolean;
}

export interface NativeEngine {
  readonly buffers: Buffers;
  /** Runs one step on the engine's own pinned threads; one at a time. Rejects with a StepError. */
  step(counts: StepCounts): Promise<void>;
  /** Opens one more policy library; returns its index. */
  addPolicy(path: string): number;
  /** One lane of a sequence's live slots: lane 0 is the logical position. Not while a step runs. */
  readLane(seq: number, layer: number, head: number, lane: number): Int32Array;
  /** A copy of the raw logits [vocab] of draw i of the last step, one of its first 32. */
  logits(sampler: number): Float32Array;
  describe(): {
    isa: string;
    threads: number;
    weightBytes: number;
    poolBytes: number;
    /** of the pool, the null page included */
    pages: number;
    pageBytes: number;
    lanes: number;
    /** of the CPU: tokens of prompts have other bits than the same ones drawn */
    promptsApart?: boolean;
    /** of a device: steps that ran as graphs, and what all steps have sent */
    graphSteps?: number;
    sentBytes?: number;
  };
  close(): void;
}

/** Arguments of a probe of a policy library's expressions; arrays as in skv_probe. */
export interface Probe extends NumbersOf<typeof probe> {
  params: Float32Array;
  pos?: Float32Array;
  seen?: Float32Array;
  attn?: Float32Array;
  classes?: Int32Array;
  keys?: Float32Array;
  values?: Float32Array;
  states?: Float32Array;
  scores: Float32Array;
}

/** What NVIDIA's driver said before a call failed, and which one did. */
export interface DriverAnswer {
  /** CUDA's, such as 13000 */
  version?: number;
  devices?: number;
  /** of the first device */
  name?: string;
  /** compute capability, such as 90 */
  capability?: number;
  /** bytes */
  free?: number;
  total?: number;
  /** that failed: dlopen where there is no driver */
  call?: string;
  code?: number;
  text?: string;
}

/** A dense product: a matrix of a weight type as its file has it, and the inputs x [tokens][cols]. */
export type DenseProduct = [
  type: number,
  rows: number,
  cols: number,
  weights: Uint8Array,
  tokens: number,
  x: Float32Array,
];

export interface Native {
  /** of the contract that skv.node was built with */
  readonly version: number;
  /** Opens a backend library, loads the model and reserves the pool, off the event loop. */
  open(config: EngineConfig, progress?: (done: number) => void): Promise<NativeEngine>;
  /** What a policy library says of itself; throws with the reason when it cannot be opened or its ABI differs. */
  policyInfo(path: string): {
    name: string;
    hash: string;
    target: string;
    lanes: number;
    states: number;
  };
  /** Every state's `next`, once per slot, in place. */
  probeNext(path: string, probe: Probe): void;
  /** across, then score, before pool and heads. */
  probeScore(path: string, probe: Probe): void;
  /** One dense product of a backend on one instruction-set path, for tests: out[tokens][rows] = x[tokens][cols] · Wᵀ; as the path multiplies `ofPrompts` (throws where it does not do that apart). */
  testMatmul(...asked: [backend: string, isa: string, ...product: DenseProduct, ofPrompts?: boolean]): Float32Array;
  /** What a backend's packed form of weights means, for tests: [rows][cols]. */
  testUnpack(backend: string, type: number, rows: number, cols: number, weights: Uint8Array): Float32Array;
  /** NVIDIA's driver and its first device; needs no toolkit. */
  driver(): DriverAnswer;
  /** Why a library cannot be opened; undefined: it can. */
  libraryError(name: string): string | undefined;
  /** Instruction-set paths of a backend that this machine can run, best first: "avx512vnni", "avxvnni", "avx2", "generic" …. */
  isas(backend: string): string[];
  /** Why AMX is not one of them although the processor has it; undefined: it is, or the processor has not. */
  amxRefused(backend: string): string | undefined;
}

let loaded: Native | undefined;

/** Loads skv.node, building it first when it is missing or older than its sources (and saying so on stderr). */
export function native(): Native {
  if (!loaded) {
    const path = ensureNative();
    loaded = current(createRequire(import.meta.url)(path) as Native, path);
  }
  return loaded;
}

/** The addon, when it and this file agree on the contract. */
export function current(addon: Native, path: string): Native {
  if (addon.version !== BACKEND_VERSION)
    throw new NativeBuildError(`${path} was built with another version of skv: delete it, and it is built again.`);
  return addon;
}

/** Path of the CPU backend, built beside skv.node. */
export const cpuBackend = (): string => join(dirname(ensureNative()), 'skv_cpu.so');

/** Why AMX is not used although the processor has it, after what is; '' where it is used or not there. */
export function withoutAmx(): string {
  const refused = native().amxRefused(cpuBackend());
  return refused ? `; not amx: ${refused}` : '';
}

/** The path of dense products that this process takes. */
export const instructionSet = (): string =>
  `${process.env.SKV_ISA || native().isas(cpuBackend())[0]}${process.env.SKV_ISA ? '' : withoutAmx()}`;
