/** Small model files, right by default and wrong on request. */
import { WeightType } from '../../runtime/contract/records.ts';
import { blockOf, weightBlocks, weightName } from '../../runtime/contract/weights.ts';

type Value = string | number | boolean | string[] | Int32Array | Float32Array | Uint8Array;

const u32 = (x: number) => {
  const b = Buffer.alloc(4);
  b.writeUInt32LE(x >>> 0);
  return b;
};
const u64 = (x: number | bigint) => {
  const b = Buffer.alloc(8);
  b.writeBigUInt64LE(BigInt(x));
  return b;
};
const text = (s: string) => Buffer.concat([u64(Buffer.byteLength(s)), Buffer.from(s)]);

function value(v: Value): Buffer {
  if (typeof v === 'string') return Buffer.concat([u32(8), text(v)]);
  if (typeof v === 'boolean') return Buffer.concat([u32(7), Buffer.from([v ? 1 : 0])]);
  if (typeof v === 'number') {
    if (Number.isInteger(v)) return Buffer.concat([u32(4), u32(v)]);
    const b = Buffer.alloc(4);
    b.writeFloatLE(v);
    return Buffer.concat([u32(6), b]);
  }
  if (v instanceof Int32Array) return Buffer.concat([u32(9), u32(5), u64(v.length), Buffer.from(v.buffer)]);
  if (v instanceof Float32Array) return Buffer.concat([u32(9), u32(6), u64(v.length), Buffer.from(v.buffer)]);
  if (v instanceof Uint8Array) return Buffer.concat([u32(9), u32(0), u64(v.length), v]);
  return Buffer.concat([u32(9), u32(8), u64(v.length), ...v.map(text)]);
}

export interface GgufParts {
  metadata: Record<string, Value>;
  /** data: its bytes as the type has them; without, small numbers */
  tensors: { name: string; dims: number[]; type: number; data?: Uint8Array }[];
}

const shape = { width: 64, heads: 2, kvHeads: 1, headDim: 32, ffn: 96, layers: 2 };
const words = ['a', 'b', 'c', 'Ġ', 'ab', 'Ġa', 'Ċ', '1', '2', '!'];
export const vocab = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', ...words];

const lengths = (headDim: number) => ({
  'llama.attention.key_length': headDim,
  'llama.attention.value_length': headDim,
});

/** A tiny Llama with a working tokenizer. headDim: CUDA kernels are for 64 and some. */
export function ggufParts(headDim = shape.headDim): GgufParts {
  const { width, heads, kvHeads, ffn, layers } = shape;
  const matrix = (name: string, rows: number, cols: number, type: number = WeightType.F32) => ({
    name,
    dims: [cols, rows],
    type,
  });
  const tensors = [
    matrix('token_embd.weight', vocab.length, width, WeightType.Q8_0),
    { name: 'output_norm.weight', dims: [width], type: 0 },
  ];
  for (let l = 0; l < layers; l++) {
    tensors.push(
      { name: `blk.${l}.attn_norm.weight`, dims: [width], type: 0 },
      matrix(`blk.${l}.attn_q.weight`, heads * headDim, width, WeightType.Q4_1),
      matrix(`blk.${l}.attn_k.weight`, kvHeads * headDim, width, WeightType.Q4_0),
      matrix(`blk.${l}.attn_v.weight`, kvHeads * headDim, width, WeightType.F16),
      matrix(`blk.${l}.attn_output.weight`, width, heads * headDim, WeightType.BF16),
      { name: `blk.${l}.ffn_norm.weight`, dims: [width], type: 0 },
      matrix(`blk.${l}.ffn_gate.weight`, ffn, width),
      matrix(`blk.${l}.ffn_up.weight`, ffn, width),
      matrix(`blk.${l}.ffn_down.weight`, width, ffn),
    );
  }
  return {
    metadata: {
      'general.architecture': 'llama',
      'general.name': 'tiny',
      'llama.block_count': layers,
      'llama.context_length': 256,
      'llama.embedding_length': width,
      'llama.feed_forward_length': ffn,
      'llama.attention.head_count': heads,
      'llama.attention.head_count_kv': kvHeads,
      ...(headDim === shape.headDim ? {} : lengths(headDim)),
      'llama.rope.freq_base': 10000.5,
      'llama.attention.layer_norm_rms_epsilon': 0.00001,
      'llama.rope.dimension_count': headDim,
      'tokenizer.ggml.model': 'gpt2',
      'tokenizer.ggml.pre': 'smollm',
      'tokenizer.ggml.tokens': vocab,
      'tokenizer.ggml.token_type': Int32Array.from(vocab, (_, i) => (i < 3 ? 3 : 1)),
      'tokenizer.ggml.merges': ['a b', 'Ġ a'],
      'tokenizer.ggml.bos_token_id': 1,
      'tokenizer.ggml.eos_token_id': 2,
      'tokenizer.chat_template': '{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}',
    },
    tensors,
  };
}

/** Bytes of a tensor; of a type that nobody knows, as of F32. */
function bytesOf(count: number, type: number): number {
  const { elements, bytes } = weightName(type) === undefined ? weightBlocks.F32 : blockOf(type);
  return (count / elements) * bytes;
}

/** The bytes of a GGUF file; small weights, so that it can also run. */
export function writeGguf({ metadata, tensors }: GgufParts, version = 3): Buffer {
  // absurd shapes get a little room: their files must be small too
  const sizes = tensors.map(({ dims, type, data }) =>
    Math.min(
      data?.length ?? 1 << 16,
      bytesOf(
        dims.reduce((a, b) => a * b, 1),
        type,
      ),
    ),
  );
  let offset = 0;
  const infos = tensors.map(({ name, dims, type }, i) => {
    const info = Buffer.concat([text(name), u32(dims.length), ...dims.map(u64), u32(type), u64(offset)]);
    offset += Math.ceil(sizes[i] / 32) * 32;
    return info;
  });
  const head = Buffer.concat([
    Buffer.from('GGUF'),
    u32(version),
    u64(tensors.length),
    u64(Object.keys(metadata).length),
    ...Object.entries(metadata).map(([key, v]) => Buffer.concat([text(key), value(v)])),
    ...infos,
  ]);
  const data = Buffer.alloc(offset);
  for (let i = 0; i < data.length; i++) data[i] = (i * 37) & 15;
  let at = 0;
  tensors.forEach(({ data: own }, i) => {
    if (own) data.set(own, at);
    at += Math.ceil(sizes[i] / 32) * 32;
  });
  return Buffer.concat([head, Buffer.alloc((32 - (head.length % 32)) % 32), data]);
}

/** The same model as `count` files, as llama.cpp's splitter writes them: all metadata in the first, tensors in turn. */
export function splitGguf({ metadata, tensors }: GgufParts, count: number): Buffer[] {
  const each = Math.ceil(tensors.length / count);
  return Array.from({ length: count }, (_, i) =>
    writeGguf({
      metadata: {
        ...(i === 0 ? metadata : {}),
        'split.no': i,
        'split.count': count,
        'split.tensors.count': tensors.length,
      },
      tensors: tensors.slice(i * each, (i + 1) * each),
    }),
  );
}

/** A safetensors model folder's files. */
export function storedFiles(): Record<string, Buffer | string> {
  const { width, heads, kvHeads, headDim, ffn, layers } = shape;
  const tensors: [string, number[], string][] = [
    ['model.embed_tokens.weight', [vocab.length, width], 'F32'],
    ['model.norm.weight', [width], 'F32'],
  ];
  for (let l = 0; l < layers; l++) {
    const p = `model.layers.${l}.`;
    tensors.push(
      [`${p}input_layernorm.weight`, [width], 'F32'],
      [`${p}self_attn.q_proj.weight`, [heads * headDim, width], 'BF16'],
      [`${p}self_attn.k_proj.weight`, [kvHeads * headDim, width], 'F16'],
      [`${p}self_attn.v_proj.weight`, [kvHeads * headDim, width], 'F32'],
      [`${p}self_attn.o_proj.weight`, [width, heads * headDim], 'F32'],
      [`${p}post_attention_layernorm.weight`, [width], 'F32'],
      [`${p}mlp.gate_proj.weight`, [ffn, width], 'F32'],
      [`${p}mlp.up_proj.weight`, [ffn, width], 'F32'],
      [`${p}mlp.down_proj.weight`, [width, ffn], 'F32'],
    );
  }
  let at = 0;
  const header: Record<string, unknown> = {};
  for (const [name, dims, dtype] of tensors) {
    const bytes = dims.reduce((a, b) => a * b, 1) * (dtype === 'F32' ? 4 : 2);
    header[name] = { dtype, shape: dims, data_offsets: [at, at + bytes] };
    at += bytes;
  }
  const json = Buffer.from(JSON.stringify(header));
  const config = {
    model_type: 'llama',
    num_hidden_layers: layers,
    hidden_size: width,
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    head_dim: headDim,
    intermediate_size: ffn,
    vocab_size: vocab.length,
    rms_norm_eps: 1e-5,
    max_position_embeddings: 256,
    rope_theta: 10000,
    tie_word_embeddings: true,
    rope_scaling: {
      rope_type: 'llama3',
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 64,
    },
  };
  const tokenizer = {
    version: '1.0',
    truncation: null,
    padding: null,
    normalizer: null,
    post_processor: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    added_tokens: vocab.slice(0, 3).map((content, id) => ({
      id,
      content,
      special: true,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
    })),
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      vocab: Object.fromEntries(vocab.map((word, id) => [word, id])),
      merges: ['a b', 'Ġ a'],
    },
  };
  return {
    'model.safetensors': Buffer.concat([u64(json.length), json, Buffer.alloc(at, 1)]),
    'config.json': JSON.stringify(config),
    'tokenizer.json': JSON.stringify(tokenizer),
    'tokenizer_config.json': JSON.stringify({ eos_token: '<|im_end|>', chat_template: '{{ messages[0].content }}' }),
  };
}

/** The same folder with more tensors, in F32. */
export function storedWith(files: Record<string, Buffer | string>, more: Record<string, number[]>, dtype = 'F32') {
  const old = files['model.safetensors'] as Buffer;
  const length = Number(old.readBigUInt64LE());
  const header = JSON.parse(old.subarray(8, 8 + length).toString()) as Record<string, unknown>;
  const data = [old.subarray(8 + length)];
  let at = data[0].length;
  for (const [name, dims] of Object.entries(more)) {
    const bytes = dims.reduce((a, b) => a * b, 1) * (dtype.endsWith('32') ? 4 : 1);
    header[name] = { dtype, shape: dims, data_offsets: [at, at + bytes] };
    data.push(Buffer.alloc(bytes, 1));
    at += bytes;
  }
  const json = Buffer.from(JSON.stringify(header));
  return { ...files, 'model.safetensors': Buffer.concat([u64(json.length), json, ...data]) } as typeof files;
}
