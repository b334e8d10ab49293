/** Profiles: rules from the cheapest to everything, and an attention to the prompt that they are judged by. */
import type { Collector } from './diagnostics.ts';
import { type Node, type Policy, type Profile, place } from './nodes.ts';
import { keepsAll, ruleNames } from './profile.ts';

export function checkProfile(policy: Policy, keep: Profile, errors: Collector): void {
  const at = place(policy, 'keep');
  const names = ruleNames(keep);
  keep.rules.forEach((rule, i) => {
    if (i > 0 && keepsAll(keep.rules[i - 1], rule))
      errors.report(
        'profile-rules',
        at,
        `Rule ${i + 1}, ${names[i]}, keeps nothing that rule ${i}, ${names[i - 1]}, does not: no head would take it.`,
        'each rule adds to the one before: another class, or a larger top or last',
      );
    else if (i > 0 && !keepsAll(rule, keep.rules[i - 1]))
      errors.report(
        'profile-rules',
        at,
        `Rule ${i + 1}, ${names[i]}, may leave out what rule ${i}, ${names[i - 1]}, keeps.`,
        'each rule adds to the one before: name its classes, top and last again, or larger numbers',
      );
  });
  if (!isPart(policy, keep.reach))
    errors.report(
      'param-out-of-range',
      at,
      'What a rule must reach is a part of the attention, from 0 to 1, whatever a request says.',
      'profile(0.95, …), or number(0.95, { min: 0, max: 1 })',
    );
  if (policy.states.every(({ name, once }) => once || name !== keep.mass))
    errors.report(
      'wrong-type',
      at,
      `${keep.mass} is no state with init and next, whose sum over the slots a rule is judged by.`,
      'accumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn } }',
    );
  if (policy.observe.prompt === 'none' && policy.observe.decode)
    errors.report(
      'profile-prompt',
      place(policy, 'observe'),
      'A profile is chosen at the prompt’s end, by attention that the prompt’s queries have paid: none of them is observed.',
      "observe: 'every'",
    );
  if (policy.when.some(({ kind }) => kind === 'promptChunk'))
    errors.report(
      'profile-prompt',
      place(policy, 'when'),
      'A profile is chosen at the prompt’s end: before it no head has a rule to compact by.',
      'when: promptEnd, or every(16)',
    );
  if (policy.heads.kind !== 'own')
    errors.report(
      'unsupported-on-target',
      place(policy, 'heads'),
      'With a profile each head has a rule of its own.',
      "heads: 'own'",
    );
}

/** A number from 0 to 1, or a parameter of that range; one that is not there was told by TypeScript, or is in plain JavaScript. */
function isPart({ params }: Policy, node: Node): boolean {
  if (node.op === 'const') return Number(node.value) >= 0 && Number(node.value) <= 1;
  return node.op === 'param' && params.some(({ name, min, max }) => name === node.name && min >= 0 && max <= 1);
}
