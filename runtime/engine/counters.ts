/** What an engine has counted since it began: its steps and tokens, and what each policy did. */
import { ruleNames } from '../../codegen/ir/profile.ts';
import type { BuiltPolicy } from '../../codegen/plan/types.ts';
import type { EngineStats, RuleCount } from './types.ts';

interface PolicyCounts {
  name: string;
  requests: number;
  compactions: number;
  slotsEvicted: number;
  slotsSeen: number;
  /** of a policy with a profile: by rule, heads that took it */
  readonly profile?: RuleCount[];
}

export class Counters {
  steps = 0;
  nativeSeconds = 0;
  betweenSeconds = 0;
  promptTokens = 0;
  generatedTokens = 0;
  /** in the engine's order */
  readonly policies: PolicyCounts[] = [];

  add({ plan }: BuiltPolicy): void {
    this.policies.push({
      name: plan.name,
      requests: 0,
      compactions: 0,
      slotsEvicted: 0,
      slotsSeen: 0,
      ...(plan.keep.kind === 'profile' && { profile: ruleNames(plan.keep).map((rule) => ({ rule, heads: 0 })) }),
    });
  }

  /** A compaction of a policy, `before` and `after`: slots of its heads. `rules`: what a profile gave them, once a request. */
  compacted(policy: number, before: number, after: number, rules: Iterable<number>): void {
    const counts = this.policies[policy];
    counts.compactions++;
    counts.slotsSeen += before;
    counts.slotsEvicted += before - after;
    if (counts.profile) for (const rule of rules) counts.profile[rule].heads++;
  }

  stats() {
    const { steps, nativeSeconds, betweenSeconds, promptTokens, generatedTokens, policies } = this;
    const own = { steps, nativeSeconds, betweenSeconds, promptTokens, generatedTokens };
    return { ...own, policies: policies.map((each) => ({ ...each })) } satisfies Partial<EngineStats>;
  }
}
