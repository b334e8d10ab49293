/** `skv eval MEASURE`: the measures and their options, each with its own alone. */
import type { Command } from 'commander';
import { collect } from './flags.ts';
import { main } from './output.ts';

type Option = readonly [flags: string, description: string, ...rest: unknown[]];

/** Adds the command and its measures; the options are those that other commands have too. */
export function registerEval(
  program: Command,
  { model, param, ratio }: Record<'model' | 'param' | 'ratio', Option>,
): void {
  const evaluate = program
    .command('eval')
    .description(
      'Judge policies on a text, next to the full cache: likelihood, hidden keys, and what rounding costs a model',
    )
    .addHelpText('after', '\nExample:\n  skv eval nll --text book.txt --policy h2o --ratio 0.2');
  const measure = (name: string, description: string, example: string) =>
    [model, ['--policy <policy>', 'name or file (repeatable)', collect, []] as const, param, ratio].reduce<Command>(
      (command, [flags, about, ...rest]) => command.option(flags, about, ...(rest as [])),
      evaluate
        .command(name)
        .description(description)
        .requiredOption('--text <file>', 'a long text')
        .option('--json', 'the result as JSON')
        .addHelpText('after', `\nExample:\n  ${example}`),
    );
  measure(
    'nll',
    'Mean negative log-likelihood of a continuation after a compressed prefix',
    'skv eval nll --text book.txt --prefix 2048 --continue 256 --policy h2o --ratio 0.2',
  )
    .option('--prefix <tokens>', 'tokens of the prefix', '2048')
    .option('--continue <tokens>', 'tokens to judge', '256')
    .action((options) => main(async () => (await import('./commands/eval.ts')).evaluateNll(options)));
  measure(
    'keys',
    'Numbers found in long prompts',
    'skv eval keys --text book.txt --prefix 4096 --policy h2o --param budget=672',
  )
    .option('--prefix <tokens>', 'tokens of each prompt', '2048')
    .option('--trials <n>', 'prompts, each with a text of its own and its key at another depth', '10')
    .option('--seed <n>', 'of the numbers', '1')
    .option('--blind', 'ask when the prompt has been compressed, so that no policy sees the question')
    .action((options) => main(async () => (await import('./commands/eval.ts')).evaluateKeys(options)));
  evaluate
    .command('kl')
    .description("What a model's rounding costs: divergence from its own weights with activations in f32")
    .option(...(model as [string, string]))
    .option('--text <file>', 'a text; default: Moby Dick')
    .option('--tokens <n>', 'tokens of it', '1200')
    .option('--beside <system>', 'llama.cpp: on the same file, which must be GGUF')
    .option('--threads <n>', 'threads of each system')
    .option('--json', 'the result as JSON')
    .addHelpText('after', '\nExample:\n  skv eval kl --model smollm2-135m --beside llama.cpp')
    .action((options) => main(async () => (await import('./commands/eval.ts')).evaluateKl(options)));
}
