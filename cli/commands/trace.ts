import { readFileSync } from 'node:fs';
import type { CompactionEvent } from '../../runtime/engine/types.ts';
import { openEngine, openModel } from '../model.ts';
import { whole } from '../flags.ts';
import { json, say } from '../output.ts';
import { UserError } from '../../toolchain/errors.ts';
import { askedOf, buildPolicy } from '../policies.ts';

interface TraceFlags {
  model: string;
  promptFile?: string;
  tokens?: string;
  param: string[];
  ratio?: string;
  maxTokens: string;
  json?: boolean;
  kvCacheDtype: string;
}

export async function trace(name: string, flags: TraceFlags): Promise<void> {
  if ((flags.promptFile === undefined) === (flags.tokens === undefined))
    throw new UserError('Give the prompt as --prompt-file FILE or as --tokens FILE.');
  const maxTokens = whole('max-tokens', flags.maxTokens, 0);
  const policy = await buildPolicy(name);
  const asked = askedOf(policy, flags);
  const model = await openModel(flags.model);
  const prompt =
    flags.tokens !== undefined
      ? tokensFrom(flags.tokens)
      : model.tokenizer.encode(readFileSync(flags.promptFile!, 'utf8'), { addBos: true });
  const engine = await openEngine(model, [policy], {
    maxNumSeqs: '1',
    kvCacheDtype: flags.kvCacheDtype,
  });
  try {
    const compactions: CompactionEvent[] = [];
    // the prompt's last token is always sampled from; with --max-tokens 0 that token is dropped
    const generation = engine.submit({
      prompt,
      maxTokens: Math.max(1, maxTokens),
      ...asked,
      onCompaction: (event) => compactions.push(event),
    });
    const tokens = [...prompt];
    for await (const { token } of generation) if (maxTokens > 0) tokens.push(token);
    const { error } = await generation.finished;
    if (error) throw error;
    if (flags.json) json({ tokens, compactions });
    else picture(tokens.length, compactions);
  } finally {
    await engine.close();
  }
}

function tokensFrom(file: string): Int32Array {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new UserError(
      `--tokens ${file}: ${(error as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such file' : 'is not JSON'}.`,
    );
  }
  if (!Array.isArray(value) || !value.every((token) => Number.isInteger(token) && token >= 0))
    throw new UserError(`--tokens ${file}: a JSON array of token ids is needed.`);
  return Int32Array.from(value);
}

/** One line a layer and head of the last compaction: darker where more of a stretch of positions was kept. */
function picture(length: number, compactions: readonly CompactionEvent[]): void {
  const last = compactions.at(-1);
  if (!last) return say('Nothing was compacted: everything is still in the cache.');
  const width = Math.min(96, last.at);
  const shades = ' ░▒▓█';
  const values = Object.entries(last.params).map(([name, value]) => `${name} ${value}`);
  const read = values.length ? ` with ${values.join(', ')}` : '';
  say(
    `${compactions.length} compactions; the last at ${last.at} of ${length} tokens${read}. Each column is ${(last.at / width).toFixed(1)} positions.`,
  );
  last.kept.forEach((heads, layer) =>
    heads.forEach((positions, head) => {
      const counts = new Array<number>(width).fill(0);
      for (const pos of positions) counts[Math.floor((pos * width) / last.at)]++;
      const line = counts
        .map(
          (count) =>
            shades[Math.ceil((count * width * 4) / last.at) > 4 ? 4 : Math.ceil((count * width * 4) / last.at)],
        )
        .join('');
      const rule = last.rules?.[layer][head];
      say(`${String(layer).padStart(3)}.${head} │${line}│ ${positions.length}${rule ? `  ${rule}` : ''}`);
    }),
  );
}
