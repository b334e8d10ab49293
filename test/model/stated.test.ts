/** What a model's file states is obeyed or refused by name: keys, settings, RoPE old and new, tensors that nobody asks for. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Activation } from '../../runtime/contract/records.ts';
import { loadModel } from '../../runtime/model/load.ts';
import { familyModel, tinyFamilies, writeFamilyFolder, writeFamilyGguf } from '../oracle/families.ts';
import { refused } from './refused.ts';
import { type GgufParts, ggufParts, storedFiles, storedWith, writeGguf } from './write.ts';

const folder = mkdtempSync(join(tmpdir(), 'skv-stated-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

function gguf(change: (parts: GgufParts) => void) {
  const parts = ggufParts();
  change(parts);
  const file = join(folder, 'model.gguf');
  writeFileSync(file, writeGguf(parts));
  return loadModel(file);
}
const keyed = (keys: GgufParts['metadata']) => gguf(({ metadata }) => void Object.assign(metadata, keys));

function stored(config: Record<string, unknown>, tensors: Record<string, number[]> = {}, context?: number) {
  const at = mkdtempSync(join(folder, 'stored-'));
  const files = storedWith(storedFiles(), tensors);
  files['config.json'] = JSON.stringify({ ...JSON.parse(files['config.json'] as string), ...config });
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(at, name), bytes);
  return loadModel(at, { context });
}

test('GGUF: a key below the architecture that nobody reads is refused, unless its value changes nothing', async () => {
  for (const [key, value] of [
    ['attention.clamp_kqv', 8],
    ['attention.scale', 0.5],
    ['attention.causal', false],
    ['attention.max_alibi_bias', 8],
    ['attention.key_length_mla', 64],
    ['final_logit_softcapping', 30],
    ['logit_scale', 0.25],
    ['residual_scale', 0.5],
    ['embedding_scale', 12],
    ['use_parallel_residual', true],
    ['rope.scaling.yarn_ext_factor', 1],
    ['a_key_of_next_year', 1],
  ] as const)
    await refused(keyed({ [`llama.${key}`]: value }), new RegExp(`llama\\.${key.replaceAll('.', '\\.')} = `), key);
  await refused(keyed({ 'llama.attention.value_length': 16 }), /keys of 32 dimensions with values of 16/, 'values');
  const { notes } = await keyed({
    'llama.vocab_size': 13,
    'llama.attention.causal': true,
    'llama.attention.value_length': 32,
    'llama.final_logit_softcapping': 0,
    'llama.rope.scaling.attn_factor': 1,
    'llama.rope.scaling.finetuned': true,
    'llama.expert_count': 0,
    'llama.expert_used_count': 0,
    'general.size_label': 'tiny',
    'quantize.imatrix.file': 'x.dat',
    'llamafactory.something': 1,
  });
  assert.equal(notes, []);
});

test('GGUF: RoPE’s factor is linear without a type, also under its older name, and none where the type says none', async () => {
  const angles = async (keys: GgufParts['metadata']) => (await keyed(keys)).spec.invFreq;
  const [type, factor, older] = ['llama.rope.scaling.type', 'llama.rope.scaling.factor', 'llama.rope.scale_linear'];
  const plain = await angles({});
  const linear = await angles({ [type]: 'linear', [factor]: 4 });
  assert.equal(
    linear,
    plain.map((each) => Math.fround(each / 4)),
  );
  assert.equal(await angles({ [factor]: 4 }), linear);
  assert.equal(await angles({ [older]: 4 }), linear);
  assert.equal(await angles({ [older]: 2, [factor]: 4 }), linear);
  for (const none of [{ [type]: 'none', [factor]: 4 }, { [factor]: 0 }, { [type]: 'linear' }])
    assert.equal(await angles(none), plain);
  await refused(keyed({ [factor]: -4.5 }), /factor is/, 'negative');
});

test('GGUF: YaRN reaches the forward pass, and a list that says the same for each layer is a number', async () => {
  const yarn = { 'llama.rope.scaling.type': 'yarn', 'llama.rope.scaling.factor': 4 };
  const { spec } = await keyed({ ...yarn, 'llama.rope.scaling.yarn_ext_factor': 1 });
  const plain = (await keyed({})).spec;
  assert.ok(Math.abs(spec.ropeScale / (1 + 0.1 * Math.log(4)) - 1) < 1e-6);
  assert.is(spec.invFreq[0], plain.invFreq[0]);
  assert.is(spec.invFreq[15], Math.fround(plain.invFreq[15] / 4));
  assert.is(plain.ropeScale, 1);
  assert.is((await keyed({ 'llama.attention.head_count_kv': Int32Array.of(1, 1) })).spec.kvHeads, 1);
});

test('GGUF: which layers have a window is obeyed in every form, and in no other', async () => {
  const gemma = tinyFamilies.find(({ name }) => name === 'gemma2')!;
  const file = join(folder, 'windows.gguf');
  const windows = async (pattern: number | string | Int32Array | Uint8Array) => {
    const metadata = { ...gemma.metadata, 'attention.sliding_window_pattern': pattern };
    writeFamilyGguf(familyModel({ ...gemma, metadata }, 1), file, 'F32');
    return (await loadModel(file)).spec.layer.map(({ window }) => window);
  };
  assert.equal(await windows(2), [12, 0]);
  assert.equal(await windows(Int32Array.of(0, 1)), [0, 12]);
  assert.equal(await windows(Uint8Array.of(1, 1)), [12, 12]);
  for (const wrong of [Int32Array.of(2, 0), Int32Array.of(-1, 1), Int32Array.of(1, 0, 1), 1.5, 'every other one'])
    await refused(windows(wrong), /sliding_window_pattern must be a number, or have 1 \(a window\) or 0 for each of 2/);
});

test('config.json: a count that is none is refused', async () => {
  const at = join(folder, 'counts');
  const gemma = tinyFamilies.find(({ name }) => name === 'gemma3')!;
  for (const pattern of ['6', -6, 2.5]) {
    writeFamilyFolder(familyModel({ ...gemma, config: { ...gemma.config, sliding_window_pattern: pattern } }, 1), at);
    await refused(loadModel(at), /sliding_window_pattern must be a whole number/);
  }
});

test('served within its original context, LongRoPE takes its short factors', async () => {
  const scaling = { type: 'longrope', short_factor: Array(16).fill(2), long_factor: Array(16).fill(4) };
  const model = (context?: number) =>
    stored({ rope_scaling: scaling, original_max_position_embeddings: 64 }, {}, context);
  const [served, short] = [await model(), await model(64)];
  assert.is(served.spec.invFreq[0], 1 / 4);
  assert.is(short.spec.invFreq[0], 1 / 2);
});

test('GGUF: a tensor that the forward pass does not ask for is refused by name', async () => {
  const extra = (name: string) => gguf(({ tensors }) => void tensors.push({ name, dims: [64], type: 0 }));
  for (const name of ['blk.0.ffn_gate_inp.weight', 'blk.2.attn_norm.weight', 'position_embd.weight', 'x.y'])
    await refused(extra(name), new RegExp(`does not use: ${name.replaceAll('.', '\\.')}\\.`), name);
  await extra('blk.0.attn_rot_embd.weight');
});

test('config.json: settings that change the forward pass are obeyed or refused by name', async () => {
  for (const [config, says] of [
    [{ hidden_act: 'xielu' }, /activation xielu/],
    [{ hidden_activation: 'gelu_10' }, /gelu_10/],
    [{ partial_rotary_factor: 2 }, /RoPE on 64 of 32 dimensions/],
    [{ partial_rotary_factor: 0 }, /partial_rotary_factor must be a positive number/],
    [{ sliding_window: 4096 }, /sliding_window = 4096/],
    [{ use_sliding_window: true, sliding_window: 4096 }, /use_sliding_window = true, sliding_window = 4096/],
    [{ layer_types: ['full_attention', 'sliding_attention'] }, /layer_types = /],
    [{ no_rope_layers: [1, 0] }, /no_rope_layers = \[1,0\]/],
    [{ final_logit_softcapping: 30 }, /final_logit_softcapping/],
    [{ attention_multiplier: 0.1 }, /attention_multiplier/],
    [{ num_local_experts: 8 }, /num_local_experts/],
    [{ clip_qkv: 8 }, /clip_qkv/],
    [{ mlp_bias: true }, /bias/],
  ] as const)
    await refused(stored(config), says, JSON.stringify(config));
  for (const [key, name, activation] of [
    ['hidden_act', 'relu', Activation.relu],
    ['hidden_act', 'gelu', Activation.gelu],
    ['hidden_activation', 'gelu_pytorch_tanh', Activation.geluTanh],
    ['hidden_act', 'silu', Activation.silu],
  ] as const)
    assert.is((await stored({ [key]: name })).spec.activation, activation, name);
  const { notes } = await stored({
    hidden_act: 'silu',
    use_sliding_window: false,
    sliding_window: 32768,
    max_window_layers: 28,
    layer_types: ['full_attention', 'full_attention'],
    attention_dropout: 0,
    torch_dtype: 'bfloat16',
    transformers_version: '4.40.0',
    _name_or_path: 'x',
    pretraining_tp: 1,
    use_cache: true,
    bos_token_id: 1,
    final_logit_softcapping: null,
  });
  assert.equal(notes, []);
  assert.match((await stored({ next_years_key: 3 })).notes.join(), /config\.json: next_years_key: not known/);
});

/** Of published models of Llama's shape: what they state besides the numbers that are read anyway. */
const published: Record<string, Record<string, unknown>> = {
  'Llama 3.2': {
    attention_bias: false,
    attention_dropout: 0,
    initializer_range: 0.02,
    mlp_bias: false,
    pretraining_tp: 1,
  },
  SmolLM2: {
    is_llama_config: true,
    rope_interleaved: false,
    'transformers.js_config': { dtype: 'q4' },
    pad_token_id: 2,
  },
  'Falcon 3': { activation: 'swiglu', hidden_act: 'silu', attention_bias: false },
  'Vicuna 1.5': { _name_or_path: 'x', max_sequence_length: 4096, pad_token_id: 0, rope_scaling: null },
  fine_tuned: { unsloth_fixed: true, unsloth_version: '2024.9', _attn_implementation_autoset: true, auto_map: {} },
  'transformers 5': {
    dtype: 'float32',
    layer_types: ['full_attention', 'full_attention'],
    transformers_version: '5.0',
  },
};
test('config.json: what published models state is neither refused nor told', async () => {
  for (const [name, config] of Object.entries(published)) assert.equal((await stored(config)).notes, [], name);
});

test('config.json: a part of RoPE’s scaling that its type does not have is refused', async () => {
  const linear = { rope_type: 'linear', factor: 2 };
  const invFreq = async (scaling: Record<string, unknown>) => (await stored({ rope_scaling: scaling })).spec.invFreq;
  const right = await invFreq(linear);
  assert.equal(await invFreq({ type: 'linear', factor: 2 }), right);
  assert.equal(await invFreq({ ...linear, type: 'linear', finetuned: true, attention_factor: null }), right);
  for (const [scaling, says] of [
    [{ ...linear, attention_factor: 1.2 }, /linear with attention_factor/],
    [{ ...linear, mscale: 0.7 }, /linear with mscale/],
    [{ ...linear, partial_rotary_factor: '1/2' }, /partial_rotary_factor must be a positive number/],
    [{ factor: 2 }, /without rope_type/],
    [{ type: 'su', short_factor: [1], long_factor: [1] }, /short_factor must be 16 positive numbers/],
    [{ rope_type: 'yarn', factor: 2, beta_medium: 3 }, /yarn with beta_medium/],
    [{ type: 'spiral', factor: 2 }, /type spiral is not supported; supported: default, linear, dynamic, llama3, yarn/],
  ] as const)
    await refused(stored({ rope_scaling: scaling }), says, JSON.stringify(scaling));
});

test('config.json: RoPE on the first part of a head, stated where either transformers has it', async () => {
  const half = Float32Array.from({ length: 16 }, (_, i) => (i < 8 ? 10000 ** (-i / 8) : 0));
  for (const config of [
    { partial_rotary_factor: 0.5, rope_scaling: null },
    { rope_parameters: { rope_theta: 10000, rope_type: 'default', partial_rotary_factor: 0.5 } },
  ]) {
    const { spec } = await stored(config);
    assert.is(spec.ropeDims, 16);
    assert.equal([...spec.invFreq], [...half]);
  }
});

test('safetensors: tensors that nobody asks for are refused, buffers of other programs are not', async () => {
  const bias = 'model.layers.0.self_attn.q_proj.bias';
  const other = bias.replace('0', '1');
  await refused(stored({}, { [bias]: [64] }), /missing: model\.layers\.1\.self_attn\.q_proj\.bias/, 'one layer’s');
  await refused(stored({ attention_bias: false }, { [bias]: [64], [other]: [64] }), /attention_bias = false/, 'a flag');
  await refused(
    stored({}, { 'model.layers.0.self_attn.q_proj.scale': [1] }),
    /does not use: .*q_proj\.scale/,
    'a scale',
  );
  await refused(stored({}, { 'score.weight': [2, 64] }), /score\.weight/, 'a classifier');
  await stored({}, { 'model.layers.0.self_attn.rotary_emb.inv_freq': [16] });
  await stored({}, { 'lm_head.weight': [13, 64] }); // tied: transformers leaves it out, too
});

test.run();
