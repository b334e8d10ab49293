/** The text part of a model with images: the same numbers and tensors as a folder of text alone, and what is left out is told. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadModel } from '../../runtime/model/load.ts';
import { textPartOf } from '../../runtime/model/text-part.ts';
import { familyModel, tinyFamilies, writeFamilyFolder } from '../oracle/families.ts';
import { refused } from './refused.ts';

const folder = mkdtempSync(join(tmpdir(), 'skv-text-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const model = familyModel(tinyFamilies.find(({ name }) => name === 'gemma3')!, 1);

type Json = Record<string, unknown>;
const VISION = [
  'vision_tower.vision_model.embeddings.patch_embedding.weight',
  'multi_modal_projector.mm_soft_emb_norm.weight',
];
const read = (at: string, file: string) => readFileSync(join(at, file));
const configOf = (at: string) => JSON.parse(read(at, 'config.json').toString()) as Json;

/** A folder as Gemma 3 is published: its text's settings and tensors one level down, tensors of images beside them. */
function withImages(renamed: (name: string) => string, vision: string[], config: (text: Json) => Json): string {
  const at = mkdtempSync(join(folder, 'images-'));
  writeFamilyFolder(model, at);
  const file = read(at, 'model.safetensors');
  const length = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, 8 + length)) as Record<string, { shape: number[] }>;
  const data = file.subarray(8 + length);
  const tensors = Object.fromEntries(Object.entries(header).map(([name, each]) => [renamed(name), each]));
  vision.forEach((name, i) => {
    const from = data.length + 16 * i;
    tensors[name] = { dtype: 'F32', shape: [1, 2, 2, 1], data_offsets: [from, from + 16] } as never;
  });
  const json = Buffer.from(JSON.stringify(tensors));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(join(at, 'model.safetensors'), Buffer.concat([size, json, data, Buffer.alloc(16 * vision.length)]));
  writeFileSync(join(at, 'config.json'), JSON.stringify(config(configOf(at))));
  return at;
}

const published = (text: Json): Json => ({
  architectures: ['Gemma3ForConditionalGeneration'],
  model_type: 'gemma3',
  text_config: text,
  vision_config: { hidden_size: 1152, model_type: 'siglip_vision_model' },
  boi_token_index: 255999,
  eoi_token_index: 256000,
  image_token_index: 262144,
  mm_tokens_per_image: 256,
  initializer_range: 0.02,
  eos_token_id: [1, 2],
  torch_dtype: 'bfloat16',
});
const older = (name: string) => `language_model.${name}`;
const newer = (name: string) => name.replace(/^model\./, 'model.language_model.');

/** A model's numbers and where its tensors lie, counted from the first. */
async function meant(at: string) {
  const { spec, notes, tokenizer } = await loadModel(at);
  const first = Math.min(...spec.tensors.map(({ offset }) => offset));
  return {
    notes,
    ends: tokenizer.eos,
    spec: { ...spec, files: [], tensors: spec.tensors.map((each) => ({ ...each, offset: each.offset - first })) },
  };
}

test('Gemma 3 with images: the text is what it is alone', async () => {
  const alone = mkdtempSync(join(folder, 'alone-'));
  writeFamilyFolder(model, alone);
  const expected = await meant(alone);
  for (const [renamed, vision] of [
    [older, VISION],
    [newer, VISION.map((name) => `model.${name}`)],
  ] as const) {
    const found = await meant(withImages(renamed, vision, published));
    assert.equal(found.spec, expected.spec);
    assert.ok(found.ends.includes(1) && found.ends.includes(2));
    assert.is(found.notes.length, 1);
    assert.match(
      found.notes[0],
      /text of the model alone is served: 2 tensors of .*vision_tower, .*projector are left out/,
    );
  }
});

test('what text_config leaves out is what transformers has there', () => {
  const { config } = textPartOf({ model_type: 'gemma3', text_config: { hidden_size: 2560 } }, 'config.json');
  const wanted = { hidden_size: 2560, num_attention_heads: 8, num_key_value_heads: 4, head_dim: 256, rope_theta: 1e6 };
  for (const [key, value] of Object.entries(wanted)) assert.is(config[key], value, key);
  assert.is(config.model_type, 'gemma3_text');
});

test('nothing else is left out', async () => {
  await refused(loadModel(withImages(older, [...VISION, 'audio_tower.x'], published)), /does not use: audio_tower\.x/);
  const without = (text: Json) => ({ ...published(text), text_config: undefined });
  await refused(loadModel(withImages(older, VISION, without)), /must have its text_config/);
  const more = (text: Json) => ({ ...published(text), use_bidirectional_attention: true });
  await refused(loadModel(withImages(older, VISION, more)), /attention to later tokens is not supported/);
  const quantised = (text: Json) => ({ ...published(text), quantization_config: { quant_method: 'awq' } });
  await refused(loadModel(withImages(older, VISION, quantised)), /AWQ/);
});

test.run();
