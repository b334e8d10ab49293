import { build, compileSource } from '../../codegen/build.ts';
import { cost } from '../../codegen/plan/cost.ts';
import { irText } from '../../codegen/ir/text.ts';
import type { Pass } from '../../codegen/plan/types.ts';
import { CompileError } from '../../toolchain/process.ts';
import { usageOf } from '../../codegen/back/cuda/usage.ts';
import { slotBytes } from '../../runtime/contract/page.ts';
import { KvType, kvBytes } from '../../runtime/contract/records.ts';
import { Rules } from '../../runtime/engine/rules.ts';
import { type KernelReport, report, table } from '../kernels.ts';
import { parseRatio } from '../model.ts';
import { json, say } from '../output.ts';
import { UserError } from '../../toolchain/errors.ts';
import { policyFile } from '../policies.ts';
import { type TargetFlags, type TargetOptions, targetOptions } from '../targets.ts';

/** The shape that costs are shown for: SmolLM2-135M with keys and values in bf16. */
const shape = { name: 'SmolLM2-135M, bf16', d: 64, g: 3, b: kvBytes.bf16, layers: 30, kvHeads: 3 };

const millions = (n: number): string => (n / 1e6).toFixed(n < 1e7 ? 2 : 1);

/** Slots of one KV head that a pass touches when it runs, and how often it runs. */
function touched(pass: Pass['name'], length: number, steady: number, moved: number): [slots: number, per: string] {
  if (pass === 'observe') return [length / 2, 'a prompt token, on average'];
  if (pass === 'select') return [moved, 'a compaction'];
  if (pass === 'compact') return [steady, 'a compaction'];
  return [pass === 'append' ? 1 : steady, 'a generated token'];
}

/** Kernels of a CUDA build; in words why there are none. */
async function kernelsOf(file: string, options: TargetOptions): Promise<KernelReport[] | string | undefined> {
  try {
    return report(usageOf((await build(file, options)).directory) ?? []);
  } catch (error) {
    if (!(error instanceof CompileError)) throw error;
    return error.message;
  }
}

export async function explain(
  name: string,
  flags: TargetFlags & { ir?: boolean; plan?: boolean; source?: boolean; ratio?: string; json?: boolean },
): Promise<void> {
  const [options, ...others] = targetOptions(flags);
  if (others.length) throw new UserError(`--target ${flags.target}: explain shows one target, cpu or cuda.`);
  const file = policyFile(name);
  const { policy, plan, sources } = await compileSource(file, options);
  const length = 4096;
  const rules = new Rules(plan, {}, parseRatio('ratio', flags.ratio), shape.layers);
  const steady = rules.evicts && plan.keep.kind !== 'above' ? Math.min(rules.budget(length), length) : undefined;
  const { prompt: promptPeak, decode: moved } = rules.peaks(length, length);
  const peak = rules.bounded ? moved : undefined; // else it grows
  const every = plan.when.find((trigger) => trigger.kind === 'every');
  const n = every ? rules.until(length, length, 0) : undefined;
  const lanes = plan.lanes.length;
  const bytesPerToken = slotBytes({ headDim: shape.d, kvType: KvType.bf16, lanes }) * shape.layers * shape.kvHeads;
  const live = steady ?? length;
  const costs = plan.passes.map((pass) => {
    const [bytesPerSlot, flopsPerSlot] = [pass.bytes, pass.flops].map((each) =>
      cost(each, { ...shape, s: plan.states.length }),
    );
    const [slots, per] = touched(pass.name, length, live, moved);
    const heads = slots * shape.layers * shape.kvHeads;
    return {
      ...pass,
      bytesPerSlot,
      flopsPerSlot,
      slots,
      per,
      total: { bytes: heads * bytesPerSlot, flops: heads * flopsPerSlot },
    };
  });
  const shown = flags.ir || flags.plan || flags.source;
  const kernels = plan.target === 'cuda' && !shown ? await kernelsOf(file, options) : undefined;
  if (flags.json)
    return json({
      plan,
      ir: irText(policy),
      sources,
      costs,
      kernels,
      shape,
      size: {
        length,
        steady: steady ?? null,
        peak: peak ?? null,
        promptPeak,
        every: n ?? null,
        bytesPerToken,
      },
    });
  if (flags.ir) return say(irText(policy).trimEnd());
  if (flags.plan) return say(JSON.stringify(plan, null, 2));
  if (flags.source) return say(Object.values(sources).join('\n').trimEnd());

  say(`${plan.name} (${plan.target}, ${plan.hash})`);
  if (plan.doc)
    say(
      plan.doc
        .split('\n')
        .map((line) => `  ${line}`)
        .join('\n'),
    );
  const reads = Object.entries(plan.reads)
    .filter(([, yes]) => yes)
    .map(([what]) => what);
  say(`\nreads     ${reads.join(', ') || 'positions only'}`);
  say(
    `pages     ${plan.lanes.join(', ')} beside keys and values; ${plan.shareable ? 'prompts can be shared (prefix cache)' : 'prompts cannot be shared: their pages change while they are read'}`,
  );
  say(
    `\npasses, per live slot and KV head (${shape.name}: d ${shape.d}, g ${shape.g}, b ${shape.b}, s ${plan.states.length})`,
  );
  for (const pass of costs) {
    say(
      `  ${pass.name.padEnd(10)} ${`${pass.bytesPerSlot} B`.padStart(7)}  ${`${pass.flopsPerSlot} FLOP`.padStart(11)}  ${pass.when}: ${pass.why}`,
    );
    say(`  ${''.padEnd(10)} bytes ${pass.bytes}, FLOPs ${pass.flops}`);
    const { bytes, flops } = pass.total;
    if (bytes || flops)
      say(
        `  ${''.padEnd(10)} ${millions(bytes)} MB, ${millions(flops)} MFLOP ${pass.per}: ${pass.slots} slots in every head`,
      );
  }
  if (kernels !== undefined) {
    say('\nkernels');
    for (const line of typeof kernels === 'string' ? kernels.split('\n') : table(kernels)) say(`  ${line}`);
  }
  say(`\nsize, after a prompt of ${length} tokens (${bytesPerToken} bytes a slot over all layers and heads)`);
  if (!rules.evicts) return say('  grows with every token');
  if (steady === undefined) return say('  varies: a threshold decides');
  if (n !== undefined) say(`  compacts every ${n} generated tokens`);
  say(`  prompt    at most ${promptPeak} slots a head, ${((promptPeak * bytesPerToken) / 1048576).toFixed(1)} MiB`);
  say(`  steady    ${steady} slots a head, ${((steady * bytesPerToken) / 1048576).toFixed(1)} MiB`);
  say(
    `  peak      ${peak === undefined ? 'grows with every generated token' : `${peak} slots a head, ${((peak * bytesPerToken) / 1048576).toFixed(1)} MiB, while generating`}`,
  );
}
