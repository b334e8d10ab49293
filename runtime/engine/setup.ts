/** What is decided once, before an engine opens: sizes, threads, the type of pages, and which policies can run together. */
import { freemem } from 'node:os';
import type { BuiltPolicy, Plan } from '../../codegen/plan/types.ts';
import { pageLayout } from '../contract/page.ts';
import { KvType, SEGMENT } from '../contract/records.ts';
import { native } from '../native/index.ts';
import { allowedMemory } from '../native/memory.ts';
import { type ThreadsChoice, chooseThreads, findProcessors } from '../native/processors.ts';
import { checkTables } from './budgets.ts';
import { budgetOf, decides } from './params.ts';
import { pagesFor } from './rules.ts';
import { type EngineOptions, RequestError } from './types.ts';
import { windowPages, windowsOf } from './windows.ts';

/** Threads and what they are pinned to. Throws a UserError for processors that are not ours. */
export function threadsOf(options: EngineOptions): ThreadsChoice {
  const choice = chooseThreads(findProcessors(), options);
  if (choice.note) options.note?.(choice.note);
  return choice;
}

/** Throws unless each library was built with the plan that is to run it: rules would be another policy's. */
export function checkBuilds(policies: readonly BuiltPolicy[]): void {
  for (const { plan, library } of policies)
    if (native().policyInfo(library).hash !== plan.hash)
      throw new Error(`${library} and the plan of ${plan.name} are of two builds: build the policy again.`);
}

/** What all policies of a server share: what was asked for, or what those want that say it. Throws where they disagree. */
function agreed<Value extends string>(
  policies: EngineOptions['policies'],
  asked: Value | undefined,
  of: (plan: Plan) => Value | 'engine',
  conflict: (name: string, wanted: Value, by: string, other: Value) => string,
): Value | undefined {
  let [value, by] = [asked, 'the server'];
  for (const { plan } of policies) {
    const wanted = of(plan);
    if (wanted === 'engine') continue;
    if (value !== undefined && wanted !== value) throw new RequestError(conflict(plan.name, wanted, by, value));
    [value, by] = [wanted, plan.name];
  }
  return value;
}

/** The one type of all pages. */
export function storedAs(policies: EngineOptions['policies'], asked: EngineOptions['kvType']): 'bf16' | 'f32' {
  const conflict = (name: string, wanted: string, by: string, other: string) =>
    `${name} stores keys and values as ${wanted}, ${by} as ${other}; pages have one type. Ask for ${wanted}, or serve them apart.`;
  return agreed(policies, asked, ({ store }) => store, conflict) ?? 'bf16';
}

/** Whose memory all pages of a device's server lie in. */
export function agreedPlace(policies: EngineOptions['policies'], asked: EngineOptions['place']): 'device' | 'host' {
  const conflict = (name: string, wanted: string, by: string, other: string) =>
    `${name} wants its pages in the ${wanted}'s memory, ${by} in the ${other}'s; they lie in one. Serve with --place ${wanted}, or serve them apart.`;
  return agreed(policies, asked, ({ place }) => place, conflict) ?? 'device';
}

/** The same; undefined on the CPU alone, where both memories are one and a policy may say either. */
export const placeOf = ({ policies, place, backend }: EngineOptions): EngineOptions['place'] =>
  (backend ?? place) === undefined ? undefined : agreedPlace(policies, place);

/** Sizes that stay for the life of an engine. */
export interface Sizes {
  /** KV heads of all layers */
  heads: number;
  /** of each layer, 0 where there is none */
  windows: readonly number[];
  maxModelLen: number;
  maxSeqs: number;
  /** of a step */
  maxTokens: number;
  kvType: number;
  /** of the pool, the null page included; with poolFraction the most */
  pages: number;
  /** of what a device has free, for the pool; 0: it has `pages` */
  poolFraction: number;
  pageBytes: number;
  /** pages that the table of a head has room for */
  stride: number;
}

/** Page numbers are 32-bit. */
const MOST_PAGES = 2 ** 31 - 1;

/** Throws RequestError when the pool would be too small for two pages a head. */
export function sizesOf(options: EngineOptions): Sizes {
  const { model, policies } = options;
  const { spec } = model;
  const heads = spec.layers * spec.kvHeads;
  if (options.maxModelLen !== undefined && options.maxModelLen > model.maxPosition)
    throw new RequestError(
      `--max-model-len ${options.maxModelLen} is more than the ${model.maxPosition} tokens that ${model.name} was made for.`,
    );
  const maxModelLen = options.maxModelLen ?? model.maxPosition;
  const maxSeqs = options.maxSeqs ?? 32;
  const kvType = KvType[storedAs(policies, options.kvType)];
  const lanes = Math.max(4, ...policies.map(({ plan }) => plan.lanes.length));
  const { bytes: pageBytes } = pageLayout({ headDim: spec.headDim, kvType, lanes });
  const maxTokens = Math.max(options.maxBatchedTokens ?? 512, 1);
  const windows = windowsOf(spec, maxModelLen);
  // a policy without a limit of length needs room for what a step adds to a window, and for the segment where it begins
  const widest = Math.max(...windows);
  const inWindow = widest ? windowPages(widest, Number.POSITIVE_INFINITY, maxTokens) + pagesFor(SEGMENT) : 0;
  const stride = Math.max(pagesFor(maxModelLen), inWindow) + 2;
  const most = windows.reduce(
    (sum, window) => sum + spec.kvHeads * (window ? windowPages(window, maxModelLen, maxTokens) : stride),
    0,
  );
  const onDevice = options.backend !== undefined && options.place !== 'host';
  const poolFraction = onDevice && options.kvCacheBytes === undefined ? (options.poolFraction ?? 0.9) : 0;
  const here = poolFraction ? Number.POSITIVE_INFINITY : Math.min(freemem(), allowedMemory()) / 4;
  const wanted = options.kvCacheBytes ?? Math.min(here, maxSeqs * most * pageBytes);
  const pages = Math.min(Math.floor(wanted / pageBytes) + 1, MOST_PAGES);
  const sizes = { heads, windows, maxModelLen, maxSeqs, maxTokens, kvType, pages, poolFraction, pageBytes, stride };
  checkPages(pages, sizes);
  return sizes;
}

/** Throws RequestError when a pool of so many pages, the null page included, is too small for two pages a head. */
export function checkPages(pages: number, { heads, pageBytes }: Sizes): void {
  if (pages - 1 >= 2 * heads) return;
  throw new RequestError(
    `A KV cache of ${(pages - 1) * pageBytes} bytes holds ${pages - 1} pages; the model's layers have ${heads} KV heads together, which need at least ${2 * heads} (${2 * heads * pageBytes} bytes).`,
  );
}

/** Throws for a policy that the model cannot have, and for a ratio that concerns none. */
export function checkPolicies({ model, policies, ratio, note }: EngineOptions): void {
  for (const { plan } of policies) checkTables(plan, model.spec);
  if (ratio === undefined) return;
  if (!policies.some(({ plan }) => budgetOf(plan)))
    throw new RequestError(
      `A ratio of ${ratio} changes nothing: ${policies.map(({ plan }) => plan.name).join(', ')} has no budget that it could stand in for.`,
      'ratio',
    );
  for (const { plan } of policies)
    if (plan.keep.kind !== 'all' && !('budget' in plan.keep))
      note?.(`${plan.name}: the ratio does not concern it, ${decides[plan.keep.kind]}.`);
}
