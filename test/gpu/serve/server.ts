/** A server on the GPU that is started again where it has ended, or answers nothing any more. */
import { type Target, startServer } from '../../../bench/server.ts';

/** Seconds that a start may take: it may have to compile. */
const START = Number(process.env.START_LIMIT ?? 240);

const healthy = async ({ url }: Target): Promise<boolean> => {
  try {
    return (await fetch(new URL('/health', url), { signal: AbortSignal.timeout(5000) })).ok;
  } catch {
    return false;
  }
};

export class Server {
  private target?: Target;

  /** `flags`: of skv serve */
  constructor(private readonly flags: readonly string[]) {}

  async ready(): Promise<Target> {
    if (this.target && !(await healthy(this.target))) await this.stop();
    this.target ??= await startServer(this.flags, 'cuda', START);
    return this.target;
  }

  async stop(): Promise<void> {
    await this.target?.stop();
    this.target = undefined;
  }
}

/** Rejects with a TimeoutError when `work` takes longer. */
export async function within<T>(seconds: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new DOMException(`no end after ${seconds} s`, 'TimeoutError')), seconds * 1000);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
