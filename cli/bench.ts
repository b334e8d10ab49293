/** `skv bench WHAT`: the measurements and their options. Each loads its own code when it runs. */
import { type Command, Option } from 'commander';
import { PEER_PARTS } from '../bench/peers/parts.ts';
import { collect } from './flags.ts';
import { main } from './output.ts';
import { UserError } from '../toolchain/errors.ts';

type Name = 'bounds' | 'kernels' | 'engine' | 'start' | 'peers' | 'serve' | 'policies';

/** Adds a measurement with what all of them have. `runs`: how often it repeats by default, where it does. */
type What = (name: Name, description: string, example: string, runs?: string) => Command;

/** Runs a measurement, whose code is loaded late. */
const run = (name: Name) => (options: object) =>
  main(async () => ((await import('./commands/bench.ts'))[name] as (options: object) => Promise<void>)(options));

/** Adds the command and what it can measure. */
export function registerBench(program: Command, model: readonly [string, string, string]): void {
  const bench = program
    .command('bench')
    .description('Measure: kernels, the engine, the server, and other systems beside it')
    .usage('[what] [options]')
    .addHelpText('after', '\nWithout WHAT: bounds.\n\nExample:\n  skv bench peers --runs 5 --out results');
  const what: What = (name, description, example, runs) => {
    const command = bench
      .command(name, { isDefault: name === 'bounds' })
      .description(description)
      .option(...model)
      .option('--quick', 'small sizes: to see that it works, not to quote')
      .option('--json', 'everything as JSON on the standard output')
      .option('--out <dir>', 'write NAME.json, NAME.md and SVG plots there')
      .addHelpText('after', `\nExample:\n  ${example}`);
    if (runs) command.option('--runs <n>', 'repetitions, in turns with what they are compared with', runs);
    return command;
  };
  registerParts(what, bench);
  registerPeers(what);
  registerServe(what);
  registerPolicies(what);
}

/** What skv itself does, part by part. The default command gets what is none of the others. */
function registerParts(what: What, bench: Command): void {
  const alone = (options: object, { args }: Command) =>
    args.length
      ? main(async () => {
          const possible = bench.commands.map((command) => command.name()).join(', ');
          throw new UserError(`skv bench ${args[0]}: the measurements ${possible} are possible.`);
        })
      : run('bounds')(options);
  what(
    'bounds',
    'For each kind of work: bytes, operations, the floor, where we are, the largest loss',
    'skv bench bounds --runs 5',
    '5',
  )
    .option('--only <part>', 'work whose name holds this (repeatable)', collect, [])
    .allowExcessArguments()
    .action(alone);
  what(
    'kernels',
    'Each generated kernel and each dense product alone, beside the machine’s limits',
    'skv bench kernels --policy ./mine.ts',
    '5',
  )
    .option(
      '--policy <type>',
      'passes of this policy, a shipped name or a file, and nothing else (repeatable)',
      collect,
      [],
    )
    .action(run('kernels'));
  what(
    'engine',
    'Prefill, decode by context and batch, what policies cost, memory, time to ready',
    'skv bench engine --runs 5',
    '5',
  )
    .option('--policy <name>', 'what this shipped policy costs, and nothing else (repeatable)', collect, [])
    .option('--context <n>', 'tokens of the prompts by which policies are compared (default 4096, quick 1024)')
    .action(run('engine'));
  what(
    'start',
    'Seconds and memory until skv serve answers, beside reading the model’s files',
    'skv bench start --model qwen2.5-coder-0.5b',
  )
    .option('--runs <n>', 'repetitions, in turns with reading the files (default 3, quick 1)')
    .option('--kv-cache-memory <size>', 'bytes of the pool', '256MiB')
    .action(run('start'));
}

/** Other systems beside it. */
function registerPeers(what: What): void {
  what(
    'peers',
    'The same work on skv, llama.cpp and OpenVINO GenAI, in turns',
    'skv bench peers --short --only skv --only Q8_0',
    '5',
  )
    .option('--short', 'decode at 128, 1,024 and 4,096 and prefill of 512 and 2,048, skv and llama.cpp alone')
    .option('--only <part>', 'systems whose name holds this (repeatable)', collect, [])
    .addOption(
      new Option(
        '--part <part...>',
        'one sequence up to 4,096 tokens, or longer, eight at once, eight in a pool too small for them, keys hidden in long prompts',
      )
        .choices(PEER_PARTS)
        .default([], 'all'),
    )
    .action(run('peers'));
}

/** The server under load. */
function registerServe(what: What): void {
  what(
    'serve',
    'Open-loop load with Poisson arrivals against the HTTP server',
    'skv bench serve --rate 1 --rate 2 --policy h2o --policy none --prompt lognormal:800,0.6,4000',
  )
    .addOption(
      new Option('--url <url>', 'a server that runs already; default: one is started').conflicts([
        'ratio',
        'kvCacheMemory',
      ]),
    )
    .option('--api-key <key>', 'of the server at --url')
    .option('--rate <r>', 'requests a second (repeatable)', collect, [])
    .option('--requests <n>', 'requests of each rate (default 40, quick 8)')
    .option('--prompt <lengths>', 'tokens: 512, 128-2048, or lognormal:MEDIAN,SIGMA,MOST', 'lognormal:512,0.7,3000')
    .option('--output <lengths>', 'tokens to generate, likewise', 'lognormal:64,0.5,256')
    .option('--policy <policy>', 'NAME, or NAME=WEIGHT; each request draws one (repeatable)', collect, [])
    .option('--ratio <r>', 'of the server that is started: keep this fraction of each sequence')
    .option('--kv-cache-memory <size>', 'of the server that is started: bytes of the pool')
    .option('--seed <n>', 'of arrivals, lengths and policies', '1')
    .option('--slo-ttft <s>', 'seconds until the first token that users accept', '2')
    .option('--slo-itl <s>', 'mean seconds between tokens that users accept', '0.1')
    .option(
      '--saturate [part]',
      'also search the highest rate at which this part of the requests meets the SLO (default 0.9)',
    )
    .action(run('serve'));
}

/** What policies buy and cost. */
function registerPolicies(what: What): void {
  what(
    'policies',
    'What eviction buys: throughput in a fixed pool, requests held, likelihood and hidden keys, by policy and budget',
    'skv bench policies --policy h2o --policy ./mine.ts --model ./my-model.gguf',
    '1',
  )
    .option('--policy <policy>', 'name or file (repeatable); default h2o, snapkv, chunkkv and streaming', collect, [])
    .option('--keep <r>', 'part of each sequence that is kept (repeatable); default 0.5, 0.2 and 0.1', collect, [])
    .option('--kv-cache-memory <size>', 'bytes of the pool', '256MiB')
    .option('--requests <n>', 'that arrive at once (default 16, quick 6)')
    .option('--prompt <n>', 'tokens of each prompt', '2000')
    .option('--output <n>', 'tokens to generate for each', '512')
    .option('--text <file>', 'a long text for the likelihood; default: Moby Dick')
    .option('--prefix <n>', 'tokens before those that are judged', '3584')
    .option('--continue <n>', 'tokens that are judged', '512')
    .action(run('policies'));
}
