/** The engine: submit → schedule → native step → postprocess, until nothing is left to do. */
import type { BuiltPolicy } from '../../codegen/plan/types.ts';
import { PAGE } from '../contract/records.ts';
import { type NativeEngine, cpuBackend, native } from '../native/index.ts';
import { checkRequest } from './admission.ts';
import { Batch } from './batch.ts';
import { BlockPool } from './blocks.ts';
import { Counters } from './counters.ts';
import { drawableOf } from './drawable.ts';
import { GenerationQueue } from './generation.ts';
import { Masks } from './masks.ts';
import { PrefixCache } from './prefix.ts';
import { type Scheduled, Scheduler } from './scheduler.ts';
import { Sequence } from './sequence.ts';
import { StartSchedule } from './start-schedule.ts';
import { type Sizes, checkBuilds, checkPages, checkPolicies, placeOf, sizesOf, storedAs, threadsOf } from './setup.ts';
import { BlockTables } from './block-tables.ts';
import { type ReadLane, cacheView, compactionOf, laneOf, requestView } from './view.ts';
import { checkTables } from './budgets.ts';
import {
  type CacheView,
  DeviceError,
  type EngineApi,
  EngineStopped,
  ShuttingDown,
  type EngineOptions,
  type EngineStats,
  type FinishReason,
  type Finished,
  type GenerateRequest,
  type Generation,
  RequestError,
  type RequestView,
} from './types.ts';

/** Pages of different policies are never shared: their lanes differ. */
const saltOf = ({ plan }: BuiltPolicy): string => `${plan.hash} `;

export class Engine implements EngineApi {
  onStep?: EngineApi['onStep'];
  onFinish?: EngineApi['onFinish'];
  onBroken?: EngineApi['onBroken'];
  private readonly counters = new Counters();
  private nextId = 1;
  /** who waits to look at caches, which are still between two steps */
  private readonly looks: (() => void)[] = [];
  /** to be ended before the next step */
  private readonly aborted: Sequence[] = [];
  private loop?: Promise<void>;
  private closing = false;
  /** policies whose users have been told that the window swallows the budget */
  private readonly told = new Set<string>();
  private failure?: EngineStopped;

  private readonly options: EngineOptions;
  readonly policies: BuiltPolicy[];
  readonly maxModelLen: number;
  private readonly nativeEngine: NativeEngine;
  private readonly pool: BlockPool;
  private readonly prefix: PrefixCache;
  private readonly tables: BlockTables;
  private readonly scheduler: Scheduler;
  private readonly batch: Batch;
  private readonly masks: Masks;
  /** what the prefix cache mixes into its hashes, by policy */
  private readonly salts: string[];
  private readonly pageBytes: number;
  /** of each layer, 0 where there is none */
  private readonly windows: readonly number[];

  /** `described`: what the backend says of itself. */
  private constructor(
    options: EngineOptions,
    nativeEngine: NativeEngine,
    sizes: Sizes,
    described: ReturnType<NativeEngine['describe']>,
  ) {
    const { model, policies } = options;
    const { spec } = model;
    const { buffers } = nativeEngine;
    const { windows, maxSeqs, maxTokens, stride } = sizes;
    this.options = options;
    this.nativeEngine = nativeEngine;
    this.policies = [...policies];
    this.maxModelLen = sizes.maxModelLen;
    this.pageBytes = sizes.pageBytes;
    this.salts = policies.map(saltOf);
    for (const policy of policies) this.counters.add(policy);
    this.pool = new BlockPool(described.pages);
    const headWindows = windows.flatMap((window) => Array<number>(spec.kvHeads).fill(window));
    this.windows = windows;
    this.prefix = new PrefixCache(this.pool, PAGE, headWindows);
    this.tables = new BlockTables(buffers, this.pool, this.prefix, headWindows, spec.kvHeads, stride);
    const limits = { maxTokens, maxSeqs, kvHeads: spec.kvHeads, layers: spec.layers };
    const starts = options.place === 'host' ? new StartSchedule(maxSeqs) : undefined;
    const keeps = !this.prefixCaching ? 'nothing' : described.promptsApart ? 'prompts' : 'everything';
    this.scheduler = new Scheduler(limits, this.pool, this.prefix, this.tables, this.salts, keeps, starts);
    this.masks = new Masks(
      () => this.scheduler.sequences,
      (...ended) => this.end(...ended),
    );
    this.batch = new Batch(buffers, spec.layers, maxSeqs, () => model.tokenizer.classes);
  }

  get model() {
    return this.options.model;
  }

  get prefixCaching() {
    return this.options.prefixCache !== false;
  }

  get broken() {
    return this.failure;
  }

  /** Loads the weights, reserves the pool and pins the threads. Throws when the model or a policy cannot be used. */
  static async create(asked: EngineOptions): Promise<Engine> {
    const options = { ...asked, place: placeOf(asked) };
    const { model, policies } = options;
    if (policies.length === 0) throw new RequestError('An engine needs at least one policy.');
    checkPolicies(options);
    checkBuilds(policies);
    const sizes = sizesOf(options);
    const { heads, windows, maxSeqs, maxTokens, stride, kvType, pages, poolFraction, pageBytes } = sizes;
    const { threads, cpus } = threadsOf(options);
    const opening = native().open(
      {
        backend: options.backend ?? cpuBackend(),
        model: { ...model.spec, layer: model.spec.layer.map((each, l) => ({ ...each, window: windows[l] })) },
        kvType,
        pages,
        poolFraction,
        tableStride: stride,
        maxSeqs,
        maxRows: maxSeqs,
        maxTokens,
        maxCopies: heads * stride,
        policies: policies.map((policy) => policy.library),
        threads,
        exactActivations: options.activations === 'f32',
        hostPages: options.place === 'host',
        cpus,
      },
      options.progress,
    );
    const nativeEngine = await opening.catch((error: Error) => {
      throw options.backend ? new DeviceError(error.message, { cause: error }) : error;
    });
    const described = nativeEngine.describe();
    if (described.pageBytes !== pageBytes)
      throw new Error(`internal: the backend's pages have ${described.pageBytes} bytes, not ${pageBytes}`);
    try {
      checkPages(described.pages, sizes);
    } catch (error) {
      nativeEngine.close();
      throw error;
    }
    return new Engine(options, nativeEngine, sizes, described);
  }

  submit(request: GenerateRequest): Generation {
    const sequence = this.taken(request);
    this.counters.policies[sequence.policy].requests++;
    this.scheduler.add(sequence);
    this.masks.wake();
    this.loop ??= this.run();
    return sequence.out;
  }

  /** A request that can run now. Throws, with its mask closed, when it cannot. */
  private taken(request: GenerateRequest): Sequence {
    try {
      if (this.failure) throw this.failure;
      if (this.closing) throw new ShuttingDown();
      return this.admissible(request);
    } catch (error) {
      request.mask?.close();
      throw error;
    }
  }

  /** A request that can run. Throws RequestError. */
  private admissible(request: GenerateRequest): Sequence {
    const { spec } = this.model;
    const { index, rules, maxTokens } = checkRequest(request, {
      spec,
      windows: this.windows,
      policies: this.policies,
      maxModelLen: this.maxModelLen,
      ratio: this.options.ratio,
    });
    const id = this.nextId++;
    const sequence = new Sequence(
      id,
      { ...request, maxTokens },
      index,
      rules,
      spec,
      new GenerationQueue(id, (reason) => this.abort(sequence, reason)),
      rules.classBits ? this.model.tokenizer.classes : undefined,
      drawableOf(request, spec.vocab),
    );
    const peak = this.scheduler.peak(sequence);
    if (peak > this.pool.pages - 1)
      throw new RequestError(
        `This request needs ${peak} pages of KV cache, the pool has ${this.pool.pages - 1}. Shorten it, lower the budget, or raise --kv-cache-memory.`,
        'max_tokens',
      );
    this.warn(sequence);
    return sequence;
  }

  /** Says once a policy that its window leaves a request's budget no slot to choose. */
  private warn(sequence: Sequence): void {
    const { rules, prompt, request } = sequence;
    const { name } = rules.plan;
    const told = rules.swallowed(sequence.protects(prompt), prompt, prompt + request.maxTokens);
    if (!told || this.told.has(name)) return;
    this.told.add(name);
    this.options.note?.(told);
  }

  private abort(sequence: Sequence, reason: 'stop' | 'abort'): void {
    if (!sequence.aborted) this.aborted.push(sequence);
    sequence.aborted ??= reason;
    this.masks.wake();
    this.loop ??= this.run();
  }

  /** Steps until every sequence has ended. Each step is one native call off the event loop. */
  private async run(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve)); // requests of the same tick run together
    let returned = Number.NaN; // when the last native step ended
    try {
      for (;;) {
        for (const sequence of this.aborted.splice(0)) this.end(sequence, sequence.aborted!);
        for (const look of this.looks.splice(0)) look();
        const late = await this.masks.settle();
        const rows = this.scheduler.schedule();
        if (rows.length === 0) {
          if (late || this.aborted.length > 0) continue;
          const stuck = this.scheduler.waiting[0] ?? this.scheduler.running[0];
          if (!stuck) break;
          this.end(stuck, 'error', { error: new RequestError('The KV cache is too small for this request.') });
          continue;
        }
        const start = performance.now();
        const counts = this.batch.write(rows, this.tables.copies);
        const called = performance.now();
        if (returned <= called) this.counters.betweenSeconds += (called - returned) / 1000;
        await this.nativeEngine.step(counts);
        returned = performance.now();
        this.counters.nativeSeconds += (returned - called) / 1000;
        this.postprocess(rows);
        this.counters.steps++;
        if (this.options.check) this.scheduler.check();
        this.onStep?.({
          seconds: (performance.now() - start) / 1000,
          tokens: counts.tokens,
          running: this.scheduler.running.length,
        });
      }
    } catch (error) {
      this.failure = new EngineStopped(error as Error);
      for (const sequence of this.scheduler.sequences) this.end(sequence, 'error', { error: this.failure });
      this.aborted.length = 0;
      this.onBroken?.(this.failure);
    } finally {
      this.loop = undefined;
      for (const look of this.looks.splice(0)) look();
    }
  }

  private postprocess(rows: readonly Scheduled[]): void {
    for (const { sequence, tokens, compacts, observe, slots } of rows) {
      const before = sequence.computed;
      sequence.computed += tokens;
      this.tables.append(sequence, tokens);
      this.counters.promptTokens += Math.max(0, Math.min(sequence.computed, sequence.prompt) - before);
      if (observe[1] > observe[0]) sequence.cacheable = false;
      if (compacts) this.compacted(sequence, slots);
      else this.scheduler.register(sequence, sequence.computed);
      this.tables.leaveWindows(sequence, sequence.computed);
    }
    for (let i = 0; i < this.batch.draws.length; i++) {
      const { sequence } = this.batch.draws[i];
      if (sequence.aborted || sequence.slot < 0) continue;
      this.accept(sequence, i);
    }
  }

  /** `before`: slots of the policy's heads when the compaction began. */
  private compacted(sequence: Sequence, before: number): void {
    const { nativeEngine, tables, windows } = this;
    tables.trim(sequence, 1); // the next token's page would be taken again at once
    sequence.cacheable = false;
    // the first is its prompt's end, and comes again when it has been preempted
    const rules = ++sequence.compactions === 1 ? tables.profiles(sequence) : [];
    this.counters.compacted(sequence.policy, before, tables.slots(sequence), rules);
    const { onCompaction } = sequence.request;
    if (!onCompaction) return;
    const read: ReadLane = (layer, head, lane) => nativeEngine.readLane(sequence.slot, layer, head, lane);
    const event = compactionOf(
      sequence,
      { windows, kvHeads: this.model.spec.kvHeads },
      tables.profiles(sequence),
      read,
    );
    const lane = (name: string) => laneOf(sequence.rules.plan, name);
    onCompaction(event, (layer, head, name) => new Float32Array(read(layer, head, lane(name)).buffer));
  }

  /** Takes draw i: the token is reported, and may end the sequence. */
  private accept(sequence: Sequence, i: number): void {
    const event = this.batch.result(i);
    sequence.request.onLogits?.(this.nativeEngine.logits(i));
    sequence.firstTokenAt ??= performance.now();
    sequence.generated++;
    this.counters.generatedTokens++;
    if (!sequence.forced) sequence.push(event.token);
    const stop =
      sequence.stops.has(event.token) && sequence.generated > (sequence.request.minTokens ?? 0) && !sequence.forced;
    const ends = stop || sequence.generated >= sequence.request.maxTokens;
    if (!ends) sequence.drawable?.accept(event.token);
    sequence.out.push(event);
    if (stop) this.end(sequence, 'stop', { stopToken: event.token });
    else if (ends) this.end(sequence, 'length');
  }

  private end(sequence: Sequence, reason: FinishReason, more: Partial<Finished> = {}): void {
    const cacheBytes = sequence.extent.pages * this.pageBytes;
    this.scheduler.remove(sequence);
    sequence.request.mask?.close();
    const now = performance.now();
    const finished: Finished = {
      reason,
      promptTokens: sequence.prompt,
      generatedTokens: sequence.generated,
      cachedTokens: sequence.cachedTokens,
      queueSeconds: ((sequence.admittedAt ?? now) - sequence.submittedAt) / 1000,
      preemptions: sequence.preemptions,
      compactions: sequence.compactions,
      firstTokenSeconds: sequence.firstTokenAt && (sequence.firstTokenAt - sequence.submittedAt) / 1000,
      totalSeconds: (now - sequence.submittedAt) / 1000,
      peakCacheBytes: sequence.peakPages * this.pageBytes,
      cacheBytes,
      ...more,
    };
    sequence.out.finish(finished);
    this.onFinish?.(finished);
  }

  addPolicy(policy: BuiltPolicy): void {
    if (this.policies.some(({ plan }) => plan.name === policy.plan.name))
      throw new RequestError(`A policy named ${policy.plan.name} is loaded already.`);
    storedAs([policy], storedAs(this.policies, this.options.kvType)); // refuses a type that these pages do not have
    placeOf({ ...this.options, policies: [policy] });
    checkTables(policy.plan, this.model.spec);
    checkBuilds([policy]);
    this.nativeEngine.addPolicy(policy.library);
    this.policies.push(policy);
    this.salts.push(saltOf(policy));
    this.counters.add(policy);
  }

  look(name: string): Promise<CacheView | undefined> {
    return new Promise((resolve) => {
      const look = () => resolve(this.view(name));
      if (this.loop) this.looks.push(look);
      else look();
    });
  }

  private view(name: string): CacheView | undefined {
    const sequence = this.scheduler.running.find(({ request }) => request.name === name);
    if (!sequence || sequence.computed === 0 || this.failure) return undefined;
    const read = (layer: number, head: number, lane: number) =>
      this.nativeEngine.readLane(sequence.slot, layer, head, lane);
    return cacheView(sequence, { windows: this.windows, kvHeads: this.model.spec.kvHeads }, read);
  }

  requests(): RequestView[] {
    return this.scheduler.sequences.map(requestView);
  }

  stats(): EngineStats {
    const { pool, prefix, scheduler } = this;
    return {
      running: scheduler.running.length,
      waiting: scheduler.waiting.length,
      pagesTotal: pool.pages - 1,
      pagesUsed: pool.used,
      pagesCached: pool.cached,
      pageBytes: this.pageBytes,
      preemptions: scheduler.preemptions,
      prefixQueries: prefix.queries,
      prefixHits: prefix.hits,
      ...this.counters.stats(),
    };
  }

  /** Audits every invariant now. Throws on the first broken one. */
  check(): void {
    this.scheduler.check();
  }

  /** Forgets all cached prefixes. */
  clearPrefixCache(): void {
    this.prefix.clear();
  }

  async close(options: { drain?: boolean } = {}): Promise<void> {
    this.closing = true;
    if (!options.drain) for (const sequence of this.scheduler.sequences) this.abort(sequence, 'abort');
    await this.loop;
    this.nativeEngine.close();
  }
}
