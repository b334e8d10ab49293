import type { ChatMessage } from '../../runtime/model/types.ts';
import type { BuildOptions } from '../../codegen/build.ts';
import { type DeviceFlags, choosePlace, openOn } from '../device.ts';
import { openModel } from '../model.ts';
import { whole } from '../flags.ts';
import { bytes, note } from '../output.ts';
import { UserError } from '../../toolchain/errors.ts';
import { askedOf, buildPolicy, policyFile } from '../policies.ts';

interface RunFlags extends DeviceFlags {
  model: string;
  policy: string;
  param: string[];
  ratio?: string;
  maxTokens: string;
  temperature: string;
  system?: string;
  raw?: boolean;
  threads?: string;
  cpu?: string;
}

export async function run(prompt: string, flags: RunFlags): Promise<void> {
  const temperature = Number(flags.temperature);
  if (!(flags.temperature.trim() && temperature >= 0 && temperature <= 2))
    throw new UserError(`--temperature ${flags.temperature}: a number from 0 (greedy) to 2 is needed.`);
  const most = whole('max-tokens', flags.maxTokens);
  const place = choosePlace(flags);
  const asked = askedOf(await buildPolicy(flags.policy), flags);
  const model = await openModel(flags.model);
  const compile = async (options: BuildOptions) => [await buildPolicy(flags.policy, options)];
  const files = [policyFile(flags.policy)];
  const engine = await openOn(place, model, { files, compile }, { ...flags, maxNumSeqs: '1' });
  const messages: ChatMessage[] = [
    ...(flags.system ? [{ role: 'system', content: flags.system }] : []),
    { role: 'user', content: prompt },
  ];
  const plain = flags.raw || !model.hasChatTemplate;
  if (plain && flags.system !== undefined)
    throw new UserError(`--system needs a chat template, and ${model.name} has none.`);
  const tokens = plain
    ? model.tokenizer.encode(prompt, { addBos: true })
    : model.tokenizer.encode(model.chat(messages), { special: true });
  const maxTokens = Math.min(most, Math.max(1, engine.maxModelLen - tokens.length));
  const generation = engine.submit({
    prompt: tokens,
    maxTokens,
    ...asked,
    stopTokens: model.tokenizer.eos,
    sampling: { temperature },
  });
  const text = model.detokenizer();
  for await (const { token } of generation) process.stdout.write(text.push(token));
  process.stdout.write(`${text.end()}\n`);
  const {
    generatedTokens,
    promptTokens,
    firstTokenSeconds = 0,
    totalSeconds,
    peakCacheBytes,
    cacheBytes,
  } = await generation.finished;
  const rate = (generatedTokens - 1) / Math.max(totalSeconds - firstTokenSeconds, 1e-9);
  note(
    `skv: ${promptTokens} prompt tokens in ${firstTokenSeconds.toFixed(2)} s, ${generatedTokens} generated at ${rate.toFixed(0)} tok/s; KV cache ${bytes(cacheBytes)}, at most ${bytes(peakCacheBytes)}`,
  );
  await engine.close();
}
