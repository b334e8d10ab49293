/** A child process that answers each line it is sent with one line of JSON. Others rest while it works. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const living = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of living) child.kill('SIGKILL');
});
for (const [signal, code] of Object.entries({ SIGHUP: 129, SIGINT: 130, SIGTERM: 143 }))
  process.once(signal, () => process.exit(code));

/** Lets a child end with us at the latest: one that is stopped, or serves, would stay for ever. */
export function endWithUs<C extends ChildProcess>(child: C): C {
  living.add(child);
  child.once('close', () => living.delete(child));
  return child;
}

export class Child {
  private readonly waiting: { resolve(value: unknown): void; reject(error: Error): void }[] = [];
  /** answers that nobody has waited for yet */
  private readonly early: { error?: string }[] = [];
  private readonly ended: Promise<void>;
  private errors = '';
  private over = false;

  private constructor(
    readonly name: string,
    private readonly process: ChildProcess,
  ) {
    createInterface({ input: process.stdout! }).on('line', (line) => this.answer(line));
    process.stderr!.on('data', (chunk) => {
      this.errors = (this.errors + chunk).slice(-4000);
    });
    process.stdin!.on('error', () => {}); // it has ended: told below
    this.ended = new Promise((resolve) => {
      const end = (why: string) => {
        this.over = true;
        for (const each of this.waiting.splice(0))
          each.reject(new Error(`${name} ${why}\n${this.errors.trim()}`.trim()));
        resolve();
      };
      process.on('error', (error) => end(`did not start: ${error.message}`));
      process.on('close', (code, signal) => end(`ended with ${code ?? signal}`));
    });
  }

  static start(name: string, command: string, args: string[], env: NodeJS.ProcessEnv = {}): Child {
    return new Child(name, endWithUs(spawn(command, args, { env: { ...process.env, ...env } })));
  }

  /** A TypeScript file of ours, with one argument: the loader is found from here, whatever the working folder is. */
  static script(name: string, file: string, argument: object, env: NodeJS.ProcessEnv = {}): Child {
    const loader = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
    return Child.start(name, process.execPath, ['--import', loader, file, JSON.stringify(argument)], env);
  }

  get pid(): number {
    return this.process.pid!;
  }

  /** Lines that are no JSON are chatter of a library. */
  private answer(line: string): void {
    if (!line.startsWith('{')) {
      this.errors = `${this.errors}${line}\n`.slice(-4000);
      return;
    }
    this.early.push(JSON.parse(line) as { error?: string });
    this.settle();
  }

  private settle(): void {
    while (this.early.length > 0 && this.waiting.length > 0) {
      const [value, each] = [this.early.shift()!, this.waiting.shift()!];
      if (value.error === undefined) each.resolve(value);
      else each.reject(new Error(`${this.name}: ${value.error}`));
    }
  }

  /** Resolves to the next answer. */
  hear<T>(): Promise<T> {
    if (this.over) return Promise.reject(new Error(`${this.name} has ended\n${this.errors.trim()}`));
    return new Promise((resolve, reject) => {
      this.waiting.push({ resolve: resolve as (value: unknown) => void, reject });
      this.settle();
    });
  }

  /** Sends one line, or an object as JSON, and resolves to the answer. */
  ask<T>(line: string | object): Promise<T> {
    const answer = this.hear<T>();
    if (!this.over) this.process.stdin!.write(`${typeof line === 'string' ? line : JSON.stringify(line)}\n`);
    return answer;
  }

  /** Stops it where it stands, so that threads that spin take nothing from the others; `wake` goes on. */
  rest(): void {
    if (!this.over) this.process.kill('SIGSTOP');
  }
  wake(): void {
    if (!this.over) this.process.kill('SIGCONT');
  }
  /** Lets it run until a promise has settled. */
  async until<T>(settled: Promise<T>): Promise<T> {
    this.wake();
    try {
      return await settled;
    } finally {
      this.rest();
    }
  }

  async close(): Promise<void> {
    this.wake();
    this.process.stdin!.end();
    const timer = setTimeout(() => this.process.kill('SIGKILL'), 5000);
    await this.ended;
    clearTimeout(timer);
  }
}
