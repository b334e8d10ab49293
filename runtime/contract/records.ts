/**
 * What the engine, the addon, the backends and the compiled policies tell each other, described once. `npm run contract`
 * prints records.h, backend_records.h and fields.h from here; TypeScript reads the constants, the words of records and the
 * types below. A field that is added here is there on every side.
 */
import { type NumbersOf, type ValuesOf, type WordsOf, enumeration, record, valuesOf, wordsOf } from './fields.ts';

// ---- what policies see: records.h

/** slots of a page */
export const PAGE = 16;
/** consecutive slots that attention is evaluated for together; merged in order */
export const SEGMENT = 256;
/** declared parameters of a policy */
export const MAX_PARAMS = 16;
/** lanes of a page */
export const MAX_LANES = 16;
/** a budget that no number of slots exceeds: of a layer that its policy does not thin */
export const KEEP_ALL = 1 << 30;

export const kvTypes = enumeration('SKV_', 'Type of keys and values in a page.', { bf16: [0], f32: [1], f16: [2] });
export const KvType: ValuesOf<typeof kvTypes> = valuesOf(kvTypes);
export type KvName = keyof typeof KvType;
/** bytes of an element */
export const kvBytes: Readonly<Record<KvName, number>> = { bf16: 2, f32: 4, f16: 2 };

export const tokenClasses = enumeration('SKV_CLASS_', "Bits of a token's class.", { special: [1], punctuation: [2] });
export const TokenClass: ValuesOf<typeof tokenClasses> = valuesOf(tokenClasses);

export const errorCodes = enumeration('SKV_E_', "What a policy's functions return: 0, or one of these.", {
  shape: [1, 'no kernel for this head size, group or KV type in the library (on CUDA, build with --head-dim and --kv)'],
  heads: [2, 'more KV heads than can decide together'],
  table: [3, 'its tables are for a model of another number of layers or KV heads'],
  device: [1000, '+ cudaError_t: launches after an error of the device fail until the process ends'],
});

export const row = record('skv_row', "One sequence's part of one step; written by the engine.", [
  { name: 'seq', type: 'i32', doc: 'row of tables, lengths, budgets, params' },
  {
    name: 'policy',
    type: 'i32',
    doc: 'which opened policy runs it; -1: none, the row is skipped (room in a captured graph)',
  },
  { name: 'token0', type: 'i32', doc: "its tokens in the step's arrays: [token0, token0 + tokens)" },
  { name: 'tokens', type: 'i32', doc: 'how many' },
  { name: 'pos0', type: 'i32', doc: 'logical position of its first token; the i-th has pos0 + i' },
  { name: 'prompt', type: 'i32', doc: 'length of the prompt: logical positions below it are prompt' },
  {
    name: 'observe0',
    type: 'i32',
    doc: 'observed queries of this row: logical positions [observe0, observe1), empty if equal,',
  },
  { name: 'observe1', type: 'i32', doc: 'always inside [pos0, pos0 + tokens)' },
  {
    name: 'observeLast',
    type: 'i32',
    doc: 'w of observe { last: w }, else 0: with prompt it gives slot.seen in closed form',
  },
  { name: 'compact', type: 'i32', doc: '1: select and compact at the end of the step' },
  { name: 'windowFirst', type: 'i32', doc: 'protected slots: logical position < windowFirst,' },
  { name: 'windowLast', type: 'i32', doc: 'or >= length - windowLast, length = pos0 + tokens' },
  { name: 'seedLo', type: 'i32', doc: "the request's seed, for slot.random" },
  { name: 'seedHi', type: 'i32', doc: 'its upper half' },
  {
    name: 'read0',
    type: 'i32',
    doc: 'attend may leave out the output of logical positions below it, which nobody reads; not their LSE',
  },
]);
export const Row: WordsOf<typeof row> = wordsOf(row);

export const hints = record(
  'skv_hints',
  "What a step's launches depend on, for the rows of the policy that is called. Upper bounds: more only costs time, so a graph captured with generous ones serves every step below them; with less, rows stay without an answer. The CPU does not read them.",
  [
    {
      name: 'decodeRows',
      type: 'i32',
      doc: "rows of one token at or after the prompt's end; 0 leaves their kernels out",
    },
    { name: 'promptTokens', type: 'i32', doc: 'most tokens of any other row; 0 leaves their kernels out' },
    { name: 'observedTokens', type: 'i32', doc: 'most observed queries of any such row; 0 leaves their kernel out' },
    { name: 'slots', type: 'i32', doc: "most live slots of one head, this step's tokens included" },
    { name: 'compactRows', type: 'i32', doc: 'rows with compact = 1' },
  ],
);

export const probe = record(
  'skv_probe',
  "Direct evaluation of the policy's expressions, for tests of the oracle ladder: no pages, no attention. On CUDA the arrays are [device] memory, the default stream is used and the result awaited. All arrays have `slots` entries unless said; a null array is one the expression does not read.",
  [
    { name: 'abiVersion', type: { c: 'uint32_t' }, doc: 'SKV_ABI_VERSION' },
    { name: 'size', type: { c: 'uint32_t' }, doc: 'of this struct' },
    { name: 'slots', type: 'i32', doc: 'live slots' },
    { name: 'headDim', type: 'i32', doc: 'of keys and values' },
    { name: 'layer', type: 'i32', doc: 'for slot.layer' },
    { name: 'layers', type: 'i32', doc: 'for slot.layers' },
    { name: 'head', type: 'i32', doc: 'for slot.head' },
    { name: 'heads', type: 'i32', doc: 'for slot.heads' },
    { name: 'length', type: 'f32', doc: 'logical length' },
    { name: 'queryPos', type: 'f32', doc: 'position of the query, for slot.age' },
    { name: 'seedLo', type: 'i32', doc: "the request's seed, for slot.random" },
    { name: 'seedHi', type: 'i32', doc: 'its upper half' },
    { name: 'params', type: { c: 'const float*' }, doc: '[SKV_MAX_PARAMS]' },
    { name: 'pos', type: { c: 'const float*' }, doc: 'logical positions' },
    { name: 'seen', type: { c: 'const float*' }, doc: 'observed queries that could see the slot' },
    { name: 'attn', type: { c: 'const float*' }, doc: 'group-reduced probability' },
    { name: 'classes', type: { c: 'const int32_t*' }, doc: 'SKV_CLASS_… bits' },
    { name: 'keys', type: { c: 'const float*' }, doc: '[slot][headDim]' },
    { name: 'values', type: { c: 'const float*' }, doc: '[slot][headDim]' },
    { name: 'states', type: { c: 'float*' }, doc: '[state][slot]: read by score; read and written by next' },
    { name: 'scores', type: { c: 'float*' }, doc: 'written by score, before pool and heads' },
  ],
);

// ---- what backends see beside: backend_records.h

/** alternatives that a draw can report */
export const MAX_LOGPROBS = 20;
/** draws of a step, the first ones, whose raw logits stay readable */
export const KEPT_LOGITS = 32;
/** tokens whose logits a sequence may move */
export const MAX_BIASES = 1024;
/** words of a set of tokens, one bit each; SKV_MASK_WORDS */
export const maskWords = (vocab: number): number => Math.ceil(vocab / 32);

export const weightTypes = enumeration('SKV_W_', 'Types of weights, numbered as GGUF numbers them.', {
  F32: [0],
  F16: [1],
  Q4_0: [2],
  Q4_1: [3],
  Q5_0: [6],
  Q5_1: [7],
  Q8_0: [8],
  Q2_K: [10],
  Q3_K: [11],
  Q4_K: [12],
  Q5_K: [13],
  Q6_K: [14],
  IQ4_NL: [20],
  IQ4_XS: [23],
  BF16: [30],
});
export const WeightType: ValuesOf<typeof weightTypes> = valuesOf(weightTypes);

export const roles = enumeration('SKV_T_', 'What a weight tensor is to the forward pass.', {
  embed: [0],
  outputNorm: [1],
  output: [2, 'absent: tied to embed'],
  attnNorm: [3],
  q: [4],
  k: [5],
  v: [6],
  o: [7],
  ffnNorm: [8],
  gate: [9, 'absent: the MLP is not gated, and up goes through the activation'],
  up: [10],
  down: [11],
  qBias: [12],
  kBias: [13],
  vBias: [14],
  oBias: [15],
  gateBias: [16],
  upBias: [17],
  downBias: [18],
  qNorm: [19, 'of each query head, before it is rotated'],
  kNorm: [20, 'of each key'],
  attnPostNorm: [21, "of attention's output, before it is added to the residual stream"],
  ffnPostNorm: [22, "of the MLP's"],
  attnNormBias: [23],
  ffnNormBias: [24],
  outputNormBias: [25],
  positions: [26, 'added to the embedding of the token at each position'],
});
export const Role: ValuesOf<typeof roles> = valuesOf(roles);
export type RoleName = keyof typeof Role;

export const tensor = record(
  'skv_tensor',
  'One weight tensor of a model file. Matrices are [rows = outputs][cols = inputs], row-major.',
  [
    { name: 'role', type: 'i32', filled: true, doc: 'SKV_T_…' },
    { name: 'layer', type: 'i32', doc: '0 for tensors outside layers' },
    { name: 'type', type: 'i32', doc: 'SKV_W_…' },
    { name: 'rows', type: 'i32', doc: 'of norms and biases 1' },
    { name: 'cols', type: 'i32', doc: 'inputs, or the size of a norm or bias' },
    { name: 'file', type: 'i32', doc: 'index into files; -1: in none, its numbers are random, of type BF16' },
    { name: 'offset', type: 'i64', doc: 'within that file,' },
    { name: 'bytes', type: 'i64', doc: 'checked by the reader, checked again against the mapping' },
  ],
);

export const norms = enumeration('SKV_NORM_', 'What the norms of a model are.', {
  rms: [0, 'x / sqrt(mean(x²) + eps) · weight'],
  rmsPlusOne: [1, 'the same with 1 + weight'],
  layer: [2, '(x − mean(x)) / sqrt(variance(x) + eps) · weight + bias'],
});
export const Norm: ValuesOf<typeof norms> = valuesOf(norms);

export const activations = enumeration('SKV_ACT_', "What the MLP's gate goes through.", {
  silu: [0, 'x / (1 + e^−x)'],
  gelu: [1, 'x · Φ(x), with the normal distribution'],
  geluTanh: [2, 'the same by its approximation with tanh'],
  relu: [3, 'max(x, 0)'],
});
export const Activation: ValuesOf<typeof activations> = valuesOf(activations);

export const layer = record('skv_layer', "What a layer's attention sees and how its queries and keys are rotated.", [
  { name: 'window', type: 'i32', doc: 'positions that a query sees, its own included; 0: all before it' },
  { name: 'rope', type: 'i32', doc: 'which table of invFreq' },
]);

export const model = record('skv_model', 'What the dense model needs to know.', [
  { name: 'layers', type: 'i32', doc: 'decoder layers' },
  { name: 'width', type: 'i32', doc: 'of the residual stream' },
  { name: 'heads', type: 'i32', doc: 'query heads' },
  { name: 'kvHeads', type: 'i32', doc: 'a divisor of heads' },
  { name: 'headDim', type: 'i32', doc: 'of queries, keys and values' },
  { name: 'ffn', type: 'i32', doc: 'outputs of gate and up' },
  { name: 'vocab', type: 'i32', doc: 'tokens' },
  { name: 'positions', type: 'i32', doc: 'rows of the learned positions; 0: there are none' },
  {
    name: 'ropeInterleaved',
    type: 'flag',
    doc: "1: pairs (2i, 2i + 1), GGUF's llama; 0: (i, i + rope_dims / 2), safetensors'",
  },
  { name: 'ropeDims', type: 'i32', doc: 'dims of a head that RoPE rotates, the first ones; even, at most headDim' },
  { name: 'norm', type: 'i32', doc: 'SKV_NORM_…; a backend refuses what it does not have' },
  { name: 'activation', type: 'i32', doc: 'SKV_ACT_…, the same' },
  { name: 'normEps', type: 'f32', doc: 'of the norms' },
  { name: 'attentionScale', type: 'f32', doc: 'of the products of queries and keys' },
  { name: 'attentionCap', type: 'f32', doc: 'logits of attention become cap · tanh(logit / cap); 0: they stay' },
  { name: 'logitCap', type: 'f32', doc: 'the same of the logits of tokens' },
  { name: 'embedScale', type: 'f32', doc: 'of the embedding' },
  { name: 'residualScale', type: 'f32', doc: 'of what attention and MLP add to the residual stream' },
  { name: 'logitScale', type: 'f32', doc: 'of the logits of tokens, before their cap' },
  { name: 'ropeScale', type: 'f32', doc: 'of what is rotated, queries and keys' },
  { name: 'ropes', type: 'i32', filled: true, doc: 'tables of invFreq' },
  { name: 'tensors', type: 'i32', filled: true, doc: 'entries of tensor' },
  { name: 'files', type: 'i32', filled: true, doc: 'entries of file' },
  {
    name: 'invFreq',
    type: { c: 'const float*' },
    doc: '[ropes][head_dim / 2] radians per position, scaled; zeros, as beyond rope_dims / 2, do not rotate',
  },
  { name: 'layer', type: { c: 'const skv_layer*' }, doc: '[layers]' },
  { name: 'tensor', type: { c: 'const skv_tensor*' }, doc: '[tensors]' },
  { name: 'file', type: { c: 'const char* const*' }, doc: '[files] paths' },
]);

export const config = record('skv_config', 'What an engine is opened with.', [
  { name: 'abiVersion', type: { c: 'uint32_t' }, doc: 'SKV_BACKEND_VERSION' },
  { name: 'size', type: { c: 'uint32_t' }, doc: 'of this struct' },
  { name: 'model', type: { c: 'skv_model' }, doc: 'its weights and numbers' },
  { name: 'kvType', type: 'i32', doc: 'SKV_BF16 or SKV_F32' },
  { name: 'pages', type: 'i32', doc: 'of the pool, the null page included; with poolFraction the most' },
  {
    name: 'poolFraction',
    type: 'f32',
    doc: 'of what a device has free beside weights and scratch, for the pool; 0: it has `pages`. The CPU takes 0 alone',
  },
  { name: 'tableStride', type: 'i32', doc: 'page entries of one (sequence, layer, KV head)' },
  { name: 'maxSeqs', type: 'i32', doc: 'sequences that tables have room for' },
  { name: 'maxRows', type: 'i32', doc: 'of a step' },
  { name: 'maxTokens', type: 'i32', doc: 'of a step' },
  { name: 'maxCopies', type: 'i32', doc: 'of a step' },
  { name: 'threads', type: 'i32', doc: 'the one that calls included' },
  {
    name: 'exactActivations',
    type: 'flag',
    doc: '1: quantised weights meet activations in f32, slowly; else in int8',
  },
  {
    name: 'hostPages',
    type: 'flag',
    doc: '1: pages lie in host memory, and attention runs there, on threads of its own beside the dense model',
  },
  { name: 'policies', type: 'i32', filled: true, doc: 'entries of policy' },
  { name: 'policy', type: { c: 'const char* const*' }, doc: 'paths of policy libraries; skv_row.policy indexes them' },
  { name: 'cpu', type: { c: 'const int32_t*' }, doc: 'thread i is pinned to cpu[i], when not null' },
]);

export const sampler = record('skv_sampler', 'One draw of a step: which logits, with what parameters.', [
  { name: 'temperature', type: 'f32', doc: '0: greedy, the lowest token number among equals' },
  { name: 'topP', type: 'f32', doc: '1: off' },
  { name: 'minP', type: 'f32', doc: '0: off' },
  { name: 'repetition', type: 'f32', doc: '1: off' },
  { name: 'presence', type: 'f32', doc: '0: off' },
  { name: 'frequency', type: 'f32', doc: '0: off' },
  { name: 'topK', type: 'i32', doc: '0: off' },
  { name: 'seedLo', type: 'i32', doc: 'of this request; draws depend on seed and position alone' },
  { name: 'seedHi', type: 'i32', doc: 'its upper half' },
  { name: 'position', type: 'i32', doc: 'logical position of the token being drawn' },
  { name: 'history0', type: 'i32', doc: '[history0, history1) of history: tokens so far,' },
  { name: 'history1', type: 'i32', doc: 'when a penalty counts them' },
  { name: 'generated0', type: 'i32', doc: 'the generated ones of them begin here' },
  { name: 'bias0', type: 'i32', doc: '[bias0, bias1) of biasToken and biasValue' },
  { name: 'bias1', type: 'i32', doc: 'empty if equal' },
  { name: 'mask', type: 'i32', doc: 'which set of mask says what may be drawn; -1: every token' },
  {
    name: 'logprobs',
    type: 'i32',
    doc: "alternatives wanted, 0 … SKV_MAX_LOGPROBS; -1: none, not even the token's own",
  },
  { name: 'target', type: 'i32', doc: ">= 0: draw nothing, report this token's log-probability (teacher forcing)" },
  { name: 'source', type: 'i32', doc: "which of the step's tokens its logits come from" },
]);
export const Sampler: WordsOf<typeof sampler> = wordsOf(sampler);

export const sampled = record('skv_sampled', 'What a draw came to.', [
  { name: 'token', type: 'i32', doc: 'drawn, or the target' },
  { name: 'logprob', type: 'f32', doc: 'of token under softmax of the raw logits of what may be drawn, natural log' },
  { name: 'alternatives', type: 'i32', count: MAX_LOGPROBS, doc: 'the likeliest such tokens, best first; -1: no more' },
  { name: 'alternativeLogprobs', type: 'f32', count: MAX_LOGPROBS, doc: 'theirs' },
]);
export const Sampled: WordsOf<typeof sampled> = wordsOf(sampled);

export const stepCounts = record('skv_step_counts', 'How many of each a step has.', [
  { name: 'rows', type: 'i32', doc: 'of row' },
  { name: 'tokens', type: 'i32', doc: 'of token, position, classes' },
  { name: 'samplers', type: 'i32', doc: 'of sampler and sampled' },
  { name: 'copies', type: 'i32', doc: 'pairs of copy' },
]);

/** One shared array: so many elements of a C type, as a product over skv_config `c` and its model `c.model`. */
interface SharedArray {
  readonly name: string;
  readonly element: 'int32_t' | 'float' | typeof row.c | typeof sampler.c | typeof sampled.c;
  readonly count: readonly (string | number)[];
  readonly doc: string;
}

const heads = ['c.maxSeqs', 'c.model.layers', 'c.model.kvHeads'] as const;

/** Memory that the engine and a backend share for the life of an engine; each begins on a cache line. */
export const buffers = [
  { name: 'token', element: 'int32_t', count: ['c.maxTokens'], doc: 'tokens of the step' },
  { name: 'position', element: 'int32_t', count: ['c.maxTokens'], doc: 'logical position of token i' },
  { name: 'classes', element: 'int32_t', count: ['c.maxTokens'], doc: 'SKV_CLASS_… bits' },
  { name: 'row', element: 'skv_row', count: ['c.maxRows'], doc: 'rows of the step' },
  { name: 'table', element: 'int32_t', count: [...heads, 'c.tableStride'], doc: 'page numbers: tables of skv_step' },
  {
    name: 'changed',
    element: 'int32_t',
    count: heads,
    doc: 'first new entry of a table: the engine lowers it, a backend that copies tables raises it',
  },
  { name: 'length', element: 'int32_t', count: heads, doc: 'live slots: lengths of skv_step' },
  { name: 'profile', element: 'int32_t', count: heads, doc: 'rules that heads took: profiles of skv_step' },
  { name: 'budget', element: 'int32_t', count: ['c.maxSeqs', 'c.model.layers'], doc: 'budgets of skv_step' },
  { name: 'param', element: 'float', count: ['c.maxSeqs', 'SKV_MAX_PARAMS'], doc: 'params of skv_step' },
  { name: 'sampler', element: 'skv_sampler', count: ['c.maxTokens'], doc: 'at most one draw per token of a step' },
  { name: 'sampled', element: 'skv_sampled', count: ['c.maxTokens'], doc: 'the same' },
  {
    name: 'history',
    element: 'int32_t',
    count: ['c.maxSeqs', 'c.tableStride', 'SKV_PAGE'],
    doc: 'tokens that penalties count',
  },
  {
    name: 'biasToken',
    element: 'int32_t',
    count: ['c.maxSeqs', 'SKV_MAX_BIASES'],
    doc: 'tokens whose logits are moved',
  },
  { name: 'biasValue', element: 'float', count: ['c.maxSeqs', 'SKV_MAX_BIASES'], doc: 'by this much' },
  {
    name: 'mask',
    element: 'int32_t',
    count: ['c.maxSeqs', 'SKV_MASK_WORDS(c.model.vocab)'],
    doc: 'bits of the vocabulary, one set a draw that asks for it: 1 may be drawn',
  },
  {
    name: 'copy',
    element: 'int32_t',
    count: ['c.maxCopies', 2],
    doc: 'page pairs (from, to), copied before the step runs',
  },
] as const satisfies readonly SharedArray[];

/** The shared arrays as TypeScript has them: records as 32-bit words. */
export type Buffers = {
  readonly [A in (typeof buffers)[number] as A['name']]: A['element'] extends 'float' ? Float32Array : Int32Array;
};

export type StepCounts = NumbersOf<typeof stepCounts>;
