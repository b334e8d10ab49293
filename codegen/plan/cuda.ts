/** The CUDA half of the plan: tiles, scratch memory and kernels, from what the policy reads. */
import { fieldsOf } from '../ir/fields.ts';
import { isPlace, type Node, type Policy } from '../ir/nodes.ts';
import type { CudaKernel, CudaOptions, CudaPlan } from './types.ts';

/** Threads that share a slot: a vector is spread over sixteen, whose sums are the language's sixteen partial sums. */
function lanesOf(nodes: readonly Node[]): 1 | 16 {
  const fields = fieldsOf(nodes);
  return fields.has('key') || fields.has('value') ? 16 : 1;
}

/** Numbers of a head that there are kernels for. */
export const headDims: readonly number[] = [64, 80, 96, 128, 256];

/** What templates/cuda/policy.cu.hbs prints as `Tiles`. */
const tiles = { split: 256, splits: 32, tileRows: 128, tileSlots: 64 };

export function planCuda(policy: Policy, { headDims = [64, 128], kvTypes = ['bf16'] }: CudaOptions): CudaPlan {
  const vectors = policy.across.some((each) => each.of.type === 'vec');
  const nextLanes = lanesOf(policy.states.filter(({ once }) => !once).map((state) => state.next));
  const decides = policy.heads.kind === 'own' ? 'head' : 'layer';
  return {
    headDims: [...headDims],
    kvTypes: [...kvTypes],
    ...tiles,
    nextLanes,
    scoreLanes: vectors ? 16 : lanesOf(policy.score ? [policy.score] : []),
    decides,
    scratch: scratchOf(policy, decides),
    kernels: kernelsOf(policy, nextLanes, decides),
  };
}

/** Bytes, in words: what templates/cuda/scratch.cuh and select.cuh lay out. */
function scratchOf(policy: Policy, decides: CudaPlan['decides']): CudaPlan['scratch'] {
  const heads = decides === 'head' ? '' : 'kv_heads * ';
  // scores, and a bit a slot; a list of slots and one more number each where neighbours, chunks or shifts need it
  const lists = policy.pool !== undefined || policy.keep.kind === 'chunks' || policy.positions === 'cache';
  const places = policy.across.filter(isPlace).length; // a row each, and one of scratch
  const words = (lists ? 97 : 33) + (places ? 32 * (places + 1) : 0);
  return {
    partials: `4 * rows * kv_heads * ${tiles.splits} * tiles * 8 * (64 * ceil(head_dim / 64) + 2)`,
    ...(policy.observe.decode ? { logits: '4 * rows * kv_heads * group * max_slots' } : {}),
    ...(policy.keep.kind === 'all' ? {} : { compact: `4 * blocks * ${heads}max_slots * ${words} / 32` }),
  };
}

/** Which kernels run, with what grids: templates/cuda/library.cuh launches them. */
function kernelsOf(policy: Policy, nextLanes: 1 | 16, decides: CudaPlan['decides']): CudaKernel[] {
  const { splits, tileRows, tileSlots } = tiles;
  const units = `layers${decides === 'head' ? ' * kv_heads' : ''}`;
  const kernels: CudaKernel[] = [
    { name: 'append', pass: 'append', grid: ['tokens / 16', 'kv_heads', 'rows'], threads: 128 },
    { name: 'decode', pass: 'attend', grid: [`<= ${splits}`, 'kv_heads * parts', 'rows'], threads: 128 },
    { name: 'prefill', pass: 'attend', grid: [`tokens * group / ${tileRows}`, 'kv_heads', 'rows'], threads: 128 },
  ];
  if (policy.observe.decode) {
    const grid: CudaKernel['grid'] = [`slots / ${256 / nextLanes}`, 'kv_heads', 'rows'];
    kernels.push({ name: 'accumulate', pass: 'accumulate', grid, threads: 256 });
  }
  if (policy.observe.prompt !== 'none') {
    const grid: CudaKernel['grid'] = [`slots / ${2 * tileSlots}`, 'kv_heads', 'rows'];
    kernels.push({ name: 'observe', pass: 'observe', grid, threads: 128 });
  }
  // one slot leaves, by its score and nothing else: the newest takes its place
  const alone = policy.pool === undefined && policy.across.length === 0 && policy.heads.kind !== 'pooled';
  if (policy.keep.kind === 'topK' && alone)
    kernels.push({ name: 'replace', pass: 'compact', grid: [units, 'rows', '1'], threads: 128 });
  if (policy.keep.kind !== 'all')
    kernels.push({ name: 'compact', pass: 'compact', grid: [`blocks <= rows * ${units}`, '1', '1'], threads: 256 });
  return kernels;
}
