/** A source that does not compile, in words. */
import { CompileError } from '../../../toolchain/process.ts';
import { InternalError } from '../../ir/diagnostics.ts';

/** The compiler's own lines that matter; #line has made them point into the policy. `reason`: it is the machine, not us. */
export function doesNotCompile(what: string, output: string, reason: string | undefined): CompileError | InternalError {
  if (reason) return new CompileError(reason);
  const errors = output.split('\n').filter((line) => /(error|Error|fatal):/.test(line));
  const told = (errors.length ? errors : output.trim().split('\n').slice(-20)).join('\n');
  return new InternalError(`${what} does not compile. This is a bug in skv.\n${told}`);
}
