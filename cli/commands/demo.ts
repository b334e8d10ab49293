import Table from 'cli-table3';
import { demoPrompt } from '../../eval/text.ts';
import { PAGE } from '../../runtime/contract/records.ts';
import type { Engine } from '../../runtime/engine/engine.ts';
import { openEngine, openModel } from '../model.ts';
import { bytes, note, say } from '../output.ts';
import { buildPolicy } from '../policies.ts';

const RATIO = '0.2';
const GENERATE = 64;

/** One long prompt, the full cache and h2o at 20 %, side by side. */
export async function demo(flags: { model: string }): Promise<void> {
  const [none, h2o] = [await buildPolicy('none'), await buildPolicy('h2o')];
  const model = await openModel(flags.model);
  const prompt = model.tokenizer.encode(
    model.chat([{ role: 'user', content: demoPrompt((text) => model.tokenizer.encode(text).length, 3500) }]),
    { special: true },
  );
  note(`skv: ${prompt.length} tokens of Moby Dick and a question, ${GENERATE} tokens to answer`);
  const table = new Table({
    head: ['cache', 'prompt', 'prefill s', 'tok/s', 'slots kept', 'KV bytes', 'at most'],
    style: { head: [], border: [] },
  });
  const texts: string[] = [];
  for (const [policy, ratio] of [
    [none, undefined],
    [h2o, RATIO],
  ] as const) {
    const engine: Engine = await openEngine(model, [policy], { sparseKvCacheRatio: ratio, maxNumSeqs: '1' });
    const generation = engine.submit({ prompt, maxTokens: GENERATE });
    const tokens: number[] = [];
    for await (const { token } of generation) tokens.push(token);
    const done = await generation.finished;
    await engine.close();
    const rate = (done.generatedTokens - 1) / (done.totalSeconds - (done.firstTokenSeconds ?? 0));
    const { layers, kvHeads } = model.spec;
    const slots = Math.floor(done.cacheBytes / engine.stats().pageBytes / (layers * kvHeads)) * PAGE;
    table.push([
      ratio ? `${policy.plan.name} at 20 %` : 'full',
      done.promptTokens,
      (done.firstTokenSeconds ?? 0).toFixed(2),
      rate.toFixed(0),
      `≤ ${slots}`,
      bytes(done.cacheBytes),
      bytes(done.peakCacheBytes),
    ]);
    const end = tokens.findIndex((token) => model.tokenizer.eos.includes(token));
    texts.push(
      `${ratio ? policy.plan.name : 'full'}: ${model.tokenizer.decode(tokens.slice(0, end < 0 ? undefined : end), { skipSpecial: true }).trim()}`,
    );
  }
  say(table.toString());
  for (const text of texts) say(`\n${text}`);
}
