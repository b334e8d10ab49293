/** skv explain: what a policy reads, which passes that costs, and how large its cache is. */
import { type Compiled, build, compileSource } from '../../codegen/build.ts';
import { usageOf } from '../../codegen/back/cuda/usage.ts';
import { ruleNames } from '../../codegen/ir/profile.ts';
import { irText } from '../../codegen/ir/text.ts';
import { advice } from '../../codegen/plan/advice.ts';
import { type Cost, costsOf } from '../../codegen/plan/cost.ts';
import type { Plan } from '../../codegen/plan/types.ts';
import { slotBytes } from '../../runtime/contract/page.ts';
import { KvType, PAGE, kvBytes } from '../../runtime/contract/records.ts';
import { pagesFor, Rules } from '../../runtime/engine/rules.ts';
import { pagesGone, windowsOf } from '../../runtime/engine/windows.ts';
import type { LoadedModel } from '../../runtime/model/types.ts';
import { UserError } from '../../toolchain/errors.ts';
import { CompileError } from '../../toolchain/process.ts';
import { type KernelReport, report, table } from '../kernels.ts';
import { parseRatio } from '../flags.ts';
import { openModel } from '../model.ts';
import { json, say } from '../output.ts';
import { policyFile } from '../policies.ts';
import { type TargetFlags, type TargetOptions, targetOptions } from '../targets.ts';

interface ExplainFlags extends TargetFlags {
  ir?: boolean;
  plan?: boolean;
  source?: boolean;
  model?: string;
  ratio?: string;
  json?: boolean;
}

/** Logical tokens of the prompt that sizes and costs are shown for, where the model goes so far. */
const LENGTH = 4096;

/** What sizes and costs are shown for. */
interface Shape {
  name: string;
  d: number;
  g: number;
  b: number;
  /** that a policy thins: those without a window */
  layers: number;
  kvHeads: number;
  /** of every layer of the model, 0 where there is none */
  windows: number[];
  /** tokens of the prompt */
  length: number;
}

/** SmolLM2-135M with keys and values in bf16; as many layers as a table of factors has. */
function usualShape({ layers: { kind, ...layers } }: Plan): Shape {
  const windows = Array<number>(kind === 'table' && 'factors' in layers ? layers.factors.length : 30).fill(0);
  const sizes = { d: 64, g: 3, b: kvBytes.bf16, layers: windows.length, kvHeads: 3 };
  return { name: 'SmolLM2-135M, bf16', ...sizes, windows, length: LENGTH };
}

function shapeOf({ name, spec, maxPosition }: LoadedModel): Shape {
  const windows = windowsOf(spec, maxPosition);
  return {
    name: `${name}, bf16`,
    d: spec.headDim,
    g: spec.heads / spec.kvHeads,
    b: kvBytes.bf16,
    layers: windows.filter((window) => window === 0).length,
    kvHeads: spec.kvHeads,
    windows,
    length: Math.min(LENGTH, maxPosition),
  };
}

/** How large the cache is after a prompt, in slots of a head of the layers that a policy thins. */
interface CacheSize {
  length: number;
  /** null: it grows, or a threshold decides */
  steady: number | null;
  /** while generating; null: it grows */
  peak: number | null;
  promptPeak: number;
  /** generated tokens between two compactions; null: by another rule */
  every: number | null;
  /** by the window, token classes left out */
  protected: number;
  /** of each rule of a profile, everything left out: what it keeps besides the window and token classes */
  ruleSlots: number[];
  /** what the layers' budgets are on average, as a part of the policy's */
  layersMean: number;
  /** bytes of a slot over all these layers and heads */
  bytesPerToken: number;
  /** layers with a window, by its length: how many there are, and their bytes whatever the policy */
  windows: { window: number; layers: number; bytes: number }[];
  /** as expressions read them then */
  params: Record<string, number>;
}

function sizeOf(plan: Plan, ratio: number | undefined, shape: Shape): CacheSize {
  const rules = new Rules(plan, {}, ratio, shape.windows);
  const { length } = shape;
  const window = rules.protects(length, length);
  const apart = rules.besides ? window : 0;
  const budgets = new Int32Array(shape.windows.length);
  rules.budgets(length, budgets, apart);
  const mean = rules.layers.reduce((sum, layer) => sum + budgets[layer], 0) / Math.max(1, shape.layers);
  const bounded = 'budget' in plan.keep;
  // besides a whole prompt the budget fills while tokens are generated
  const kept = Math.max(Math.round(mean), window);
  const steady = rules.besides ? kept : Math.min(length, kept);
  const values = rules.params(length);
  const bytesPerSlot = slotBytes({ headDim: shape.d, kvType: KvType.bf16, lanes: plan.lanes.length }) * shape.kvHeads;
  return {
    length,
    steady: bounded ? steady : null,
    peak: rules.bounded ? steady + rules.between(length) : null,
    promptPeak: rules.peaks(length, length).prompt,
    every: plan.when.some(({ kind }) => kind === 'every') ? rules.everyAt(length) : null,
    protected: window,
    ruleSlots: rules.ruleSlots(length),
    layersMean: bounded ? (mean - apart) / rules.budget(length) : 1,
    bytesPerToken: bytesPerSlot * shape.layers,
    windows: windowLayers(shape, bytesPerSlot),
    params: Object.fromEntries(plan.params.map(({ name }, i) => [name, Number(values[i].toPrecision(7))])),
  };
}

function windowLayers({ windows, length }: Shape, bytesPerSlot: number): CacheSize['windows'] {
  const lengths = [...new Set(windows)].filter((window) => window > 0).sort((a, b) => a - b);
  return lengths.map((window) => {
    const layers = windows.filter((each) => each === window).length;
    const pages = pagesFor(length) - pagesGone(window, length);
    return { window, layers, bytes: layers * pages * PAGE * bytesPerSlot };
  });
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

export async function explain(name: string, flags: ExplainFlags): Promise<void> {
  const [options, ...others] = targetOptions(flags);
  if (others.length) throw new UserError(`--target ${flags.target}: explain shows one target, cpu or cuda.`);
  const file = policyFile(name);
  const compiled = await compileSource(file, options);
  const { policy, plan, sources } = compiled;
  if (flags.ir) return say(irText(policy).trimEnd());
  if (flags.plan) return say(JSON.stringify(plan, null, 2));
  if (flags.source) return say(Object.values(sources).join('\n').trimEnd());
  const shape = flags.model === undefined ? usualShape(plan) : shapeOf(await openModel(flags.model));
  const size = sizeOf(plan, parseRatio('ratio', flags.ratio), shape);
  const costs = costsOf(plan, shape, {
    length: shape.length,
    live: size.steady ?? shape.length,
    before: size.peak ?? shape.length,
  });
  const kernels = plan.target === 'cuda' ? await kernelsOf(file, options) : undefined;
  if (flags.json) return json({ plan, ir: irText(policy), sources, costs, kernels, shape, size, advice: advice(plan) });
  say([...told(compiled), ...passes(plan, shape, costs), ...listed(kernels), ...sizes(plan, size, shape)].join('\n'));
}

/** Name, the author's words, and what is read. */
function told({ plan }: Compiled): string[] {
  const reads = Object.entries(plan.reads).flatMap(([what, yes]) => (yes ? [what] : []));
  const sharing = plan.shareable
    ? 'prompts can be shared (prefix cache)'
    : 'prompts cannot be shared: their pages change while they are read';
  return [
    `${plan.name} (${plan.target}, ${plan.hash})`,
    ...(plan.doc ? plan.doc.split('\n').map((line) => `  ${line}`) : []),
    '',
    `reads     ${reads.join(', ') || 'positions only'}`,
    `pages     ${plan.lanes.join(', ')} beside keys and values; ${sharing}`,
  ];
}

const millions = (n: number): string => (n / 1e6).toFixed(n < 1e7 ? 2 : 1);

/** What each pass costs. */
function passes(plan: Plan, shape: Shape, costs: readonly Cost[]): string[] {
  if (shape.layers === 0) return [];
  const { name, d, g, b } = shape;
  const lines = ['', `passes, per live slot and KV head (${name}: d ${d}, g ${g}, b ${b}, s ${plan.states.length})`];
  for (const pass of costs) {
    const [bytes, flops] = [`${pass.bytesPerSlot} B`.padStart(7), `${pass.flopsPerSlot} FLOP`.padStart(11)];
    lines.push(`  ${pass.name.padEnd(10)} ${bytes}  ${flops}  ${pass.when}: ${pass.why}`);
    lines.push(`  ${''.padEnd(10)} bytes ${pass.bytes}, FLOPs ${pass.flops}`);
    const { total } = pass;
    if (!total.bytes && !total.flops) continue;
    const sum = `${millions(total.bytes)} MB, ${millions(total.flops)} MFLOP`;
    lines.push(`  ${''.padEnd(10)} ${sum} ${pass.per}: ${pass.slots} slot${pass.slots === 1 ? '' : 's'} in every head`);
  }
  return lines;
}

/** The kernels of a CUDA build, or why there are none. */
function listed(kernels: KernelReport[] | string | undefined): string[] {
  if (kernels === undefined) return [];
  const lines = typeof kernels === 'string' ? kernels.split('\n') : table(kernels);
  return ['', 'kernels', ...lines.map((line) => `  ${line}`)];
}

/** How large the cache becomes, with which parameters, and what the author should know. */
function sizes(plan: Plan, size: CacheSize, shape: Shape): string[] {
  const { length, bytesPerToken } = size;
  return [
    '',
    `size, after a prompt of ${length} tokens (${bytesPerToken} bytes a slot over ${whichLayers(shape)})`,
    ...windowed(size, shape),
    ...(shape.layers === 0 ? [] : policySizes(plan, size)),
    ...advice(plan).flatMap((line) => ['', `note: ${line}`]),
  ];
}

/** Layers that a policy thins. */
function whichLayers({ layers, windows }: Shape): string {
  if (layers === windows.length) return 'all layers and heads';
  if (layers === 0) return 'no layer';
  return layers === 1
    ? 'the layer without a window and its heads'
    : `the ${layers} layers without a window and their heads`;
}

/** What the model's own windows keep. */
function windowed({ windows }: CacheSize, { windows: all, layers }: Shape): string[] {
  const lines = windows.map(
    (each) =>
      `  windows   ${each.layers} of ${all.length} layers see the last ${each.window} positions, ${mib(each.bytes)}, whatever the policy`,
  );
  if (windows.length === 0) return [];
  return [
    ...lines,
    layers === 0
      ? '  policy    has no layer to thin'
      : `  policy    thins the other ${layers === 1 ? 'layer' : `${layers} layers`}`,
  ];
}

const mib = (bytes: number): string => `${(bytes / 1048576).toFixed(1)} MiB`;

function policySizes(plan: Plan, size: CacheSize): string[] {
  const { steady, peak, promptPeak, every, params, layersMean, bytesPerToken } = size;
  const held = (slots: number) => `${slots} slots a head, ${mib(slots * bytesPerToken)}`;
  const values = Object.entries(params).map(([name, value]) => `${name} ${value}`);
  return [
    ...(values.length ? [`  params    ${values.join(', ')}`] : []),
    ...layered(plan, layersMean),
    ...(every === null ? [] : [`  compacts every ${every} generated tokens`]),
    ...(plan.keep.kind === 'all' ? ['  grows with every token'] : []),
    ...(plan.keep.kind === 'above' ? ['  varies: a threshold decides'] : []),
    ...(plan.keep.kind === 'profile' ? profiled(plan.keep, size) : []),
    ...(steady === null
      ? []
      : [
          `  prompt    at most ${held(promptPeak)}`,
          `  steady    ${held(steady)}`,
          `  peak      ${peak === null ? 'grows with what is generated' : `${held(peak)}, while generating`}`,
        ]),
  ];
}

/** The rules that a head may take, and what of each is known before there is a text. */
function profiled(keep: Extract<Plan['keep'], { kind: 'profile' }>, { ruleSlots }: CacheSize): string[] {
  const slots = (i: number) =>
    i < keep.rules.length ? `${ruleSlots[i]} slots beside the window's and those of classes` : 'all';
  return [
    `  varies: at the prompt's end each head takes the first rule that keeps enough of ${keep.mass}`,
    ...ruleNames(keep).map((name, i) => `  rule ${i + 1}    ${name}: ${slots(i)}`),
  ];
}

/** What a table of factors makes of the budget. */
function layered({ layers }: Plan, mean: number): string[] {
  if (layers.kind !== 'table') return [];
  const sum = `${layers.factors.length} factors, ${Number(mean.toFixed(3))} on average`;
  const even = Math.abs(mean - 1) < 0.005;
  return [`  layers    ${sum}${even ? '' : `: a head keeps ${Number(mean.toFixed(3))} times what the budget says`}`];
}
