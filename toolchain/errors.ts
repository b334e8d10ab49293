/** What every room throws when it is the user's to mend. */

/** What the server answers when a request causes an error. */
export interface ApiAnswer {
  /** of HTTP */
  readonly status: number;
  /** OpenAI's word for the kind of mistake */
  readonly code?: string;
  /** field of the request at fault, as the thrower knows it */
  readonly param?: string;
}

/** A mistake of the user's: told in one paragraph that says what, where and what to do. Commands exit with 1. */
export class UserError extends Error {
  override name = 'UserError';
  /** undefined where no request can cause it */
  readonly api?: ApiAnswer;

  /** What a command prints. */
  get told(): string {
    return `skv: ${this.message}`;
  }
}

/** A package that only some commands use, and that skv does not bring with it: what to install. Other errors stay as they are. */
export function wants(packages: readonly string[], purpose: string, error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== 'MODULE_NOT_FOUND' && code !== 'ERR_MODULE_NOT_FOUND') return error;
  return new UserError(`${purpose} needs ${packages.join(' and ')}: npm install ${packages.join(' ')}`);
}
