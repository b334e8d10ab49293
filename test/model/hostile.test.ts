/** Broken and hostile model files: one clear ModelError that names the file, never another error, never a crash. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadModel } from '../../runtime/model/load.ts';
import { ModelError } from '../../runtime/model/types.ts';
import { random } from '../../codegen/oracle/random.ts';
import { refused } from './refused.ts';
import { type GgufParts, ggufParts, storedFiles, storedWith, vocab, writeGguf } from './write.ts';

const folder = mkdtempSync(join(tmpdir(), 'skv-hostile-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

async function load(bytes: Buffer) {
  const file = join(folder, 'model.gguf');
  writeFileSync(file, bytes);
  return loadModel(file);
}

/** The right file with one thing changed. */
function changed(change: (parts: GgufParts) => void): Buffer {
  const parts = ggufParts();
  change(parts);
  return writeGguf(parts);
}
const without = (name: string) =>
  changed((parts) => (parts.tensors = parts.tensors.filter((tensor) => tensor.name !== name)));
const meta = (key: string, value: GgufParts['metadata'][string] | undefined) =>
  changed(({ metadata }) => {
    if (value === undefined) delete metadata[key];
    else metadata[key] = value;
  });
const tensor = (name: string, change: Partial<GgufParts['tensors'][number]>) =>
  changed(({ tensors }) => Object.assign(tensors.find((each) => each.name === name)!, change));
const patched = (at: number, bytes: number[]) => {
  const file = writeGguf(ggufParts());
  Buffer.from(bytes).copy(file, at);
  return file;
};
const huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

test('the right file loads, and so does version 2', async () => {
  const model = await load(writeGguf(ggufParts()));
  assert.is(model.tokenizer.vocab, vocab.length);
  assert.equal([...model.tokenizer.encode('ab a1')], [7, 8, 10]);
  assert.is(model.tokenizer.decode([7, 8, 10]), 'ab a1');
  assert.is(model.chat([{ role: 'user', content: 'ab' }]), '<|im_start|>ab<|im_end|>');
  await load(writeGguf(ggufParts(), 2));
});

const cases: [string, Buffer, RegExp][] = [
  ['empty', Buffer.alloc(0), /magic/],
  ['not GGUF', Buffer.from('PK\x03\x04 this is a zip'), /not a GGUF/],
  ['big-endian', patched(0, [...Buffer.from('FUGG')]), /big-endian/],
  ['version 1', patched(4, [1, 0, 0, 0]), /version 1/],
  ['version 99', patched(4, [99, 0, 0, 0]), /version 99/],
  ['2^64 tensors', patched(8, huge), /number of tensors/],
  ['2^64 keys', patched(16, huge), /metadata keys/],
  ['a key of 2^64 bytes', patched(24, huge), /length/],
  ['other architecture', meta('general.architecture', 'mamba'), /mamba is not supported/],
  ['no architecture', meta('general.architecture', undefined), /architecture/],
  ['no layers', meta('llama.block_count', undefined), /block_count is missing/],
  ['0 layers', meta('llama.block_count', 0), /layers is 0/],
  ['a million layers', meta('llama.block_count', 1000000), /layers is/],
  ['layers as text', meta('llama.block_count', 'two'), /not a number/],
  ['0 heads', meta('llama.attention.head_count', 0), /./],
  ['heads that do not divide', meta('llama.attention.head_count_kv', 3), /KV heads/],
  ['a head size of 8', meta('llama.attention.key_length', 8), /headDim/],
  ['a head size of 40', meta('llama.attention.key_length', 40), /multiple of 16/],
  ['RoPE on more than a head', meta('llama.rope.dimension_count', 34), /RoPE on 34 of 32 dimensions/],
  ['RoPE without pairs', meta('llama.rope.dimension_count', 15), /RoPE on 15 of 32 dimensions/],
  ['no RoPE', meta('llama.rope.dimension_count', 0), /RoPE on 0 of 32 dimensions/],
  ['epsilon 0', meta('llama.attention.layer_norm_rms_epsilon', 0), /epsilon/],
  ['RoPE base 0', meta('llama.rope.freq_base', 0), /base/],
  ['unknown scaling', meta('llama.rope.scaling.type', 'spiral'), /spiral/],
  ['a factor of attention of 0', meta('llama.rope.scaling.attn_factor', 0), /attention is 0/],
  ['KV heads by layer', meta('llama.attention.head_count_kv', Int32Array.of(1, 2)), /head_count_kv differs by layer/],
  ['experts', meta('llama.expert_count', 8), /experts/],
  ['no embedding', without('token_embd.weight'), /token_embd|vocab/],
  ['no norm', without('output_norm.weight'), /missing: output_norm/],
  ['a layer without keys', without('blk.1.attn_k.weight'), /blk.1.attn_k/],
  ['swapped dimensions', tensor('blk.0.ffn_up.weight', { dims: [96, 64] }), /blk.0.ffn_up.weight is 64 × 96/],
  ['five dimensions', tensor('blk.0.ffn_up.weight', { dims: [64, 96, 1, 1, 1] }), /5 dimensions/],
  ['a zero dimension', tensor('blk.0.ffn_up.weight', { dims: [0, 96] }), /shape/],
  ['dimensions whose product overflows', tensor('blk.0.ffn_up.weight', { dims: [2 ** 31, 2 ** 31] }), /shape|memory/],
  ['an unknown type', tensor('blk.0.ffn_up.weight', { type: 77 }), /a type newer than this skv \(number 77\)/],
  ['IQ2_XS', tensor('blk.0.ffn_up.weight', { type: 17 }), /ffn_up.weight is stored as IQ2_XS, .* Q4_K_M or Q8_0/],
  ['MXFP4', tensor('blk.0.ffn_up.weight', { type: 39 }), /stored as MXFP4, which skv does not read/],
  ['a width that blocks cannot divide', tensor('blk.0.ffn_up.weight', { type: 14 }), /64 columns, which Q6_K cannot/],
  ['a tensor twice', changed(({ tensors }) => tensors.push({ ...tensors[1] })), /twice/],
  ['no tokenizer', meta('tokenizer.ggml.model', undefined), /tokenizer/],
  ['another tokenizer', meta('tokenizer.ggml.model', 'rwkv'), /rwkv/],
  ['another pre-tokenizer', meta('tokenizer.ggml.pre', 'future'), /future/],
  ['no tokens', meta('tokenizer.ggml.tokens', undefined), /tokens is missing/],
  ['tokens that are numbers', meta('tokenizer.ggml.tokens', Int32Array.of(1, 2)), /not a list of strings/],
  ['types for other tokens', meta('tokenizer.ggml.token_type', Int32Array.of(1)), /one number per token/],
  ['an end that is no token', meta('tokenizer.ggml.eos_token_id', 5000), /eos_token_id is 5000/],
  ['no merges', meta('tokenizer.ggml.merges', undefined), /merges is missing/],
  ['more tokens than embeddings', meta('tokenizer.ggml.tokens', [...vocab, 'x', 'y']), /./],
  ['an odd alignment', meta('general.alignment', 3), /alignment/],
];
for (const [label, bytes, says] of cases) test(`GGUF: ${label}`, () => refused(load(bytes), says ?? /./, label));

test('GGUF: cut short at every section', async () => {
  const file = writeGguf(ggufParts());
  for (let cut = 0; cut < file.length; cut += Math.max(1, Math.floor(file.length / 150)))
    await refused(load(file.subarray(0, cut)), /./, `cut at ${cut}`);
});

test('GGUF: 600 random mutations', async () => {
  const next = random(99);
  const file = writeGguf(ggufParts());
  const header = 2200; // metadata and tensor table; data bytes can be anything
  for (let i = 0; i < 600; i++) {
    const copy = Buffer.from(file);
    for (let k = 0; k <= Math.floor(next() * 3); k++)
      copy[Math.floor(next() * header)] = next() < 0.3 ? 255 : Math.floor(next() * 256);
    await load(copy).catch((error) => assert.instance(error, ModelError, `mutation ${i}: ${(error as Error).stack}`));
  }
});

async function loadStored(change: (files: Record<string, Buffer | string>) => void) {
  const at = mkdtempSync(join(folder, 'stored-'));
  const files = storedFiles();
  change(files);
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(at, name), bytes);
  return loadModel(at);
}
const configured = (change: Record<string, unknown>) =>
  loadStored(
    (files) => (files['config.json'] = JSON.stringify({ ...JSON.parse(files['config.json'] as string), ...change })),
  );
function headed(change: (header: Record<string, { dtype: string; shape: number[]; data_offsets: number[] }>) => void) {
  return loadStored((files) => {
    const old = files['model.safetensors'] as Buffer;
    const length = Number(old.readBigUInt64LE());
    const header = JSON.parse(old.subarray(8, 8 + length).toString());
    change(header);
    const json = Buffer.from(JSON.stringify(header));
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(json.length));
    files['model.safetensors'] = Buffer.concat([size, json, old.subarray(8 + length)]);
  });
}

test('safetensors: the right folder loads', async () => {
  const model = await loadStored(() => {});
  assert.is(model.spec.ropeInterleaved, false);
  assert.ok(model.spec.invFreq[15] < 10000 ** (-30 / 32) / 7, 'Llama 3 slows long wavelengths');
  assert.is(model.spec.invFreq[0], 1, 'and leaves short ones');
});

/** Names and types that other programs' quantisation leaves. */
const marked = (tensors: Record<string, number[]>, dtype: string) =>
  loadStored((files) => Object.assign(files, storedWith(files, tensors, dtype)));
const LAYER = 'model.layers.0.self_attn.q_proj';

const stored: [string, () => Promise<unknown>, RegExp][] = [
  ['no config', () => loadStored((files) => delete files['config.json']), /has no config.json/],
  ['a config that is not JSON', () => loadStored((files) => (files['config.json'] = '{')), /not JSON/],
  ['no weights', () => loadStored((files) => delete files['model.safetensors']), /has no model.safetensors/],
  ['no tokenizer', () => loadStored((files) => delete files['tokenizer.json']), /tokenizer.json: is missing/],
  ['another architecture', () => configured({ model_type: 'gpt_neox' }), /gpt_neox/],
  [
    'biases that are not there',
    () => configured({ attention_bias: true }),
    /missing: model\.layers\.0\.self_attn\.q_proj\.bias/,
  ],
  ['a width as text', () => configured({ hidden_size: '64' }), /not a number/],
  ['another width', () => configured({ hidden_size: 128 }), /./],
  ['unknown scaling', () => configured({ rope_scaling: { type: 'spiral' } }), /spiral/],
  [
    'unknown scaling since transformers 5',
    () => configured({ rope_parameters: { rope_type: 'spiral', factor: 2 } }),
    /spiral/,
  ],
  [
    'RoPE for each type of layer',
    () =>
      configured({ rope_parameters: { full_attention: { rope_theta: 1e6 }, sliding_attention: { rope_theta: 1e4 } } }),
    /type of layer/,
  ],
  ['scaling without factors', () => configured({ rope_scaling: { rope_type: 'llama3' } }), /factor/],
  ['an empty file', () => loadStored((files) => (files['model.safetensors'] = Buffer.alloc(3))), /shorter/],
  [
    'a header longer than the file',
    () => loadStored((files) => (files['model.safetensors'] = Buffer.from([255, 255, 255, 0, 0, 0, 0, 0, 1]))),
    /claims/,
  ],
  [
    'a header that is not JSON',
    () =>
      loadStored(
        (files) =>
          (files['model.safetensors'] = Buffer.concat([Buffer.from([4, 0, 0, 0, 0, 0, 0, 0]), Buffer.from('nope')])),
      ),
    /not JSON/,
  ],
  ['an unknown type', () => headed((header) => (header['model.norm.weight'].dtype = 'F7')), /F7/],
  [
    'a type not supported yet',
    () => headed((header) => Object.assign(header['model.norm.weight'], { dtype: 'I32' })),
    /stored as I32/,
  ],
  [
    'offsets past the end',
    () => headed((header) => (header['model.norm.weight'].data_offsets = [1e9, 1e9 + 256])),
    /lies at/,
  ],
  ['offsets backwards', () => headed((header) => (header['model.norm.weight'].data_offsets = [256, 0])), /lies at/],
  ['a size that is not the shape’s', () => headed((header) => (header['model.norm.weight'].shape = [63])), /but has/],
  ['overlapping tensors', () => headed((header) => (header['model.norm.weight'].data_offsets = [0, 256])), /overlap/],
  ['GPTQ', () => configured({ quantization_config: { quant_method: 'gptq', bits: 4 } }), /GPTQ \(4 bits\).*GGUF.*bf16/],
  ['AWQ', () => configured({ quantization_config: { quant_method: 'awq' } }), /with AWQ, which/],
  ['bitsandbytes', () => configured({ quantization_config: { quant_method: 'bitsandbytes' } }), /with bitsandbytes/],
  ['FP8', () => configured({ quantization_config: { quant_method: 'fp8', fmt: 'e4m3' } }), /with FP8/],
  [
    'compressed-tensors',
    () => configured({ quantization_config: { quant_method: 'compressed-tensors' } }),
    /compressed-tensors/,
  ],
  ['a method of next year', () => configured({ quantization_config: { quant_method: 'newq' } }), /with newq/],
  ['MLX', () => configured({ quantization: { group_size: 64, bits: 4 } }), /with MLX \(4 bits\)/],
  ['MLX by its marks', () => marked({ [`${LAYER}.extra.weight`]: [64, 8] }, 'U32'), /q_proj.*with MLX/],
  ['GPTQ by its marks', () => marked({ [`${LAYER}.g_idx`]: [64] }, 'I32'), /g_idx.*with GPTQ/],
  ['AWQ by its marks', () => marked({ [`${LAYER}.qweight`]: [64, 8] }, 'I32'), /GPTQ or AWQ/],
  ['bitsandbytes by its marks', () => marked({ [`${LAYER}.weight.absmax`]: [64] }, 'F32'), /bitsandbytes/],
  ['compressed-tensors by its marks', () => marked({ [`${LAYER}.weight_packed`]: [8] }, 'I32'), /compressed-tensors/],
  ['FP8 by its marks', () => marked({ 'x.weight': [8, 8] }, 'F8_E4M3'), /x\.weight.*with FP8/],
  [
    'a folder of GGUF files',
    () =>
      loadStored((files) => {
        for (const name of Object.keys(files)) delete files[name];
        files['m.gguf'] = '';
      }),
    /has no config.json, but GGUF files: give one of them as the model, such as .*m\.gguf/,
  ],
  [
    'pickled weights',
    () =>
      loadStored((files) => {
        delete files['model.safetensors'];
        files['pytorch_model.bin'] = '';
      }),
    /pytorch_model\.bin: only safetensors and GGUF are read/,
  ],
  [
    'a vocabulary of Llama 3’s size for a small embedding',
    () =>
      loadStored((files) => {
        const tokenizer = JSON.parse(files['tokenizer.json'] as string);
        for (let id = vocab.length; id < 128_256; id++) tokenizer.model.vocab[`w${id}`] = id;
        files['tokenizer.json'] = JSON.stringify(tokenizer);
      }),
    /the tokenizer has 128256 tokens, the embedding 13/,
  ],
  [
    'a missing tensor',
    () => headed((header) => delete header['model.layers.1.mlp.up_proj.weight']),
    /model.layers.1.mlp.up_proj.weight/,
  ],
];
for (const [label, attempt, says] of stored)
  test(`safetensors: ${label}`, () => refused(attempt(), says ?? /./, label));

test.run();
