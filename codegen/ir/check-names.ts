/** Names that files, flags, requests and C++ can carry, each used once. */
import type { Collector } from './diagnostics.ts';
import { type Policy, place, slotNames, writtenName } from './nodes.ts';

/** Names of statistics become members of a C++ struct. */
const cppWords = new Set(
  `alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class compl
  concept const consteval constexpr constinit const_cast continue co_await co_return co_yield decltype default delete do
  double dynamic_cast else enum explicit export extern false float for friend goto if inline int long mutable namespace
  new noexcept not not_eq nullptr operator or or_eq private protected public register reinterpret_cast requires return
  short signed sizeof static static_assert static_cast struct switch template this thread_local throw true try typedef
  typeid typename union unsigned using virtual void volatile wchar_t while xor xor_eq Across NAN INFINITY`.split(/\s+/),
);

export function checkNames(policy: Policy, errors: Collector): void {
  const plain = (name: string) => /^[a-zA-Z][a-zA-Z0-9_]{0,39}$/.test(name);
  const hint = 'letters, digits and _, a letter first, at most 40';
  if (!/^[a-z][a-z0-9-]{0,39}$/.test(policy.name))
    errors.report(
      'bad-name',
      place(policy, 'name'),
      `"${policy.name}" cannot be a policy's name.`,
      'lower-case letters, digits and hyphens, at most 40, a letter first',
    );
  for (const { name } of policy.params) {
    const at = place(policy, `params.${name}`);
    if (!plain(name)) errors.report('bad-name', at, `"${name}" cannot be a parameter's name.`, hint);
    if (name === 'policy' || name === 'ratio')
      errors.report(
        'bad-name',
        at,
        `"${name}" cannot be a parameter's name: requests name their policy and ratio so.`,
        'choose another name, such as budget',
      );
  }
  const states = new Set(policy.states.map(writtenName));
  for (const name of states) {
    const at = place(policy, `accumulate.${name}`);
    if (!plain(name)) errors.report('bad-name', at, `"${name}" cannot be a state's name.`, hint);
    if (slotNames.has(name))
      errors.report(
        'duplicate-name',
        at,
        `slot.${name} exists already; a state needs a name of its own.`,
        'choose another name',
      );
    const bucket = policy.states.find((state) => state.history && state.name === name);
    if (bucket)
      errors.report(
        'duplicate-name',
        at,
        `${name} is a bucket of ${writtenName(bucket)}; a state needs a name of its own.`,
        'choose another name',
      );
  }
  for (const { name } of policy.across) {
    const at = place(policy, `across.${name}`);
    if (!plain(name) || cppWords.has(name) || name.endsWith('_lane'))
      errors.report('bad-name', at, `"${name}" cannot be a statistic's name.`, `${hint}; words of C++ are taken`);
    if (states.has(name))
      errors.report(
        'duplicate-name',
        at,
        `${name} is a state already; a statistic needs a name of its own.`,
        'choose another name',
      );
  }
  checkClasses(policy, errors);
}

/** A list of token classes names each once. */
function checkClasses(policy: Policy, errors: Collector): void {
  const { keep, window } = policy;
  const rules = keep.kind === 'profile' ? keep.rules : [];
  for (const [field, { classes }] of [['window', window] as const, ...rules.map((rule) => ['keep', rule] as const)]) {
    const twice = classes.find((each, i) => classes.indexOf(each) < i);
    if (twice !== undefined)
      errors.report(
        'duplicate-name',
        place(policy, field),
        `classes names ${twice} twice.`,
        "classes: ['special', 'punctuation']",
      );
  }
}
