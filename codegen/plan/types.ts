/**
 * The plan: everything the runtime and the templates need to know of a policy, as plain data (plan.json). Expressions
 * do not appear here; they are printed into the generated source.
 */
import type { KvName } from '../../runtime/contract/records.ts';
import type { Keep, Observe, Param, Policy, Profile, Table, Trigger, Window } from '../ir/nodes.ts';

export type Target = 'cpu' | 'cuda';

/** A pass over a sequence's pages and what it costs, for `skv explain`. Bytes and FLOPs are per live slot and KV head. */
export interface Pass {
  readonly name: 'append' | 'attend' | 'accumulate' | 'observe' | 'select' | 'profile' | 'compact';
  readonly when: string;
  readonly why: string;
  /** formulas over d (head_dim), g (query group), b (bytes of a K or V element), s (states), in that alphabet */
  readonly bytes: string;
  readonly flops: string;
}

/** A threshold, and what a profile must reach, is an expression, which the generated source has. */
export type PlanKeep =
  | Exclude<Keep, { kind: 'above' | 'profile' }>
  | { readonly kind: 'above' }
  | Omit<Profile, 'reach'>;

export type KvType = KvName;

/** Which kernels a CUDA library holds; each pair of head size and type costs seconds of nvcc. */
export interface CudaOptions {
  /** default 64 and 128; also 80, 96, 256 */
  headDims?: readonly number[];
  /** default bf16 */
  kvTypes?: readonly KvType[];
}

/** One kernel of a CUDA library. Grid dimensions are formulas over the shape and the step's hints. */
export interface CudaKernel {
  readonly name: string;
  readonly pass: Pass['name'];
  readonly grid: readonly [string, string, string];
  readonly threads: number;
}

/** The CUDA schedule: what the policy reads decides tiles, scratch and which kernels there are. */
export interface CudaPlan {
  readonly headDims: readonly number[];
  readonly kvTypes: readonly KvType[];
  /** decode: a row is cut into at most `splits` pieces, each a multiple of `split` slots, by its own length alone */
  readonly split: number;
  readonly splits: number;
  /** prefill: query rows (tokens x group) and slots of a tile; half of both in f32 and for head sizes over 128 */
  readonly tileRows: number;
  readonly tileSlots: number;
  /** threads that share a slot in accumulate and observe, and in score: 16 when the expression reads vectors */
  readonly nextLanes: 1 | 16;
  readonly scoreLanes: 1 | 16;
  /** KV heads that one block of compact decides: one, or all of a layer */
  readonly decides: 'head' | 'layer';
  /** device memory beside the pool: name → bytes, a formula over the shape */
  readonly scratch: Readonly<Record<string, string>>;
  readonly kernels: readonly CudaKernel[];
}

export interface Plan {
  readonly name: string;
  readonly doc: string;
  /** what the build is named by, its library too: policy, compiler, templates, contract, flags and target */
  readonly hash: string;
  readonly target: Target;
  readonly params: readonly Omit<Param, 'span'>[];
  readonly observe: Observe;
  readonly group: Policy['group'];
  /** lanes of a page: 'pos' first, then 'shift' (cache positions), 'class' (token classes), then the states in order */
  readonly lanes: readonly string[];
  readonly states: readonly { readonly name: string; readonly init: number }[];
  /** parameters that `next` reads; absent: none. Where a ratio moves one, queries of different lengths see different values */
  readonly nextParams?: readonly string[];
  /** tables of constants, which fit one model: layers, and KV heads of each, 0 where there is one value a layer. Absent: none */
  readonly tables?: readonly Omit<Table, 'values'>[];
  readonly reads: {
    readonly attention: boolean;
    readonly keys: boolean;
    readonly values: boolean;
    readonly classes: boolean;
  };
  readonly pool?: Policy['pool'];
  readonly heads: Policy['heads'];
  readonly layers: Policy['layers'];
  readonly keep: PlanKeep;
  readonly window: Window;
  readonly when: readonly Trigger[];
  readonly positions: Policy['positions'];
  readonly store: Policy['store'];
  readonly place: Policy['place'];
  /** true: slots must stay in position order (pool, chunks and partitions read neighbours); false: the last that stay fill the holes of those that leave */
  readonly ordered: boolean;
  /** true: pages filled by the prompt stay unwritten until its last chunk, so that requests can share them */
  readonly shareable: boolean;
  readonly passes: readonly Pass[];
  /** only for target cuda */
  readonly cuda?: CudaPlan;
}

/** A built policy: its plan and the library beside it. */
export interface BuiltPolicy {
  readonly plan: Plan;
  /** absolute path of the shared object */
  readonly library: string;
  /** absolute path of generated/<policy>-<target>-<hash> */
  readonly directory: string;
}
