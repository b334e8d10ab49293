/** The whole forward pass against plain loops in doubles: every log-probability of the best 20 tokens at every position. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import { run } from '../oracle/forward.ts';
import * as rules from '../oracle/rules/index.ts';
import { tinyModel } from '../oracle/tiny.ts';
import { randomTokens, smallEngine } from '../engine/small.ts';

/** f32 weights and cache: rounding over three layers. */
const TOLERANCE = 2e-4;

const none = await build(shipped('none')!);

for (const ropeInterleaved of [true, false]) {
  for (const [kvHeads, group, headDim] of [
    [1, 4, 64],
    [3, 1, 80],
    [2, 3, 96],
  ]) {
    test(`${kvHeads} KV heads × ${group}, head size ${headDim}, ${ropeInterleaved ? 'interleaved' : 'half'} RoPE`, async () => {
      const model = tinyModel(headDim + group, { layers: 3, kvHeads, group, headDim, ropeInterleaved });
      const tokens = randomTokens(5, 290, model.shape.vocab); // past the first segment of attention
      const { logits } = run(model, rules.none(), tokens, 1);
      const engine = await smallEngine(model, { policies: [none], kvType: 'f32', maxBatchedTokens: 64 });
      const check = async (prompt: number) => {
        const generation = engine.submit({
          prompt: tokens.subarray(0, prompt),
          forced: tokens.subarray(prompt),
          maxTokens: 1,
          sampling: { logprobs: 20 },
        });
        let at = prompt - 1;
        for await (const { token, logprob, alternatives } of generation) {
          const row = logits[at++];
          const top = Math.max(...row);
          const norm = top + Math.log(row.reduce((sum, x) => sum + Math.exp(x - top), 0));
          assert.is(token, tokens[at]);
          for (const each of [{ token, logprob: logprob! }, ...alternatives!])
            assert.ok(
              Math.abs(each.logprob - (row[each.token] - norm)) <
                TOLERANCE * Math.max(1, Math.abs(row[each.token] - norm)),
              `prompt ${prompt}, position ${at}, token ${each.token}: ${each.logprob} for ${row[each.token] - norm}`,
            );
        }
        assert.is(at, tokens.length - 1);
      };
      // together: steps in which some tokens' logits are asked for, in several places
      await Promise.all([1, 17, 150, tokens.length - 1].map(check));
      await engine.close();
      model.remove();
    });
  }
}

test.run();
