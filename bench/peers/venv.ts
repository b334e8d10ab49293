/** OpenVINO GenAI in a Python environment of the bench's own, in the user's cache. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '../../toolchain/process.ts';
import { cacheFolder } from '../../toolchain/folders.mjs';
import { requantise } from '../requantise.ts';

/** The release that measure.md's numbers were taken with; NNCF writes its 8-bit model. */
const PACKAGES = ['openvino-genai==2026.4.*', 'nncf==3.4.*'];
const here = dirname(fileURLToPath(import.meta.url));
const folder = () => join(cacheFolder(), 'bench', 'openvino');

/** Runs a command; rejects with its last lines. */
async function must(command: string, args: string[]): Promise<void> {
  const { code, output } = await run(command, args);
  if (code !== 0) throw new Error(output.trim().split('\n').slice(-3).join('\n') || `${command} ended with ${code}`);
}

/** Path of the Python that has OpenVINO GenAI, installed first if it is not there. Rejects with the reason and the command to try. */
export async function openvinoPython(progress: (line: string) => void): Promise<string> {
  const python = join(folder(), 'bin', 'python');
  const whole = join(folder(), 'whole');
  if (existsSync(whole)) return python;
  progress(`installing ${PACKAGES.join(' and ')} into ${folder()} (once; about 600 MB)`);
  try {
    rmSync(folder(), { recursive: true, force: true });
    mkdirSync(dirname(folder()), { recursive: true });
    await must(process.env.PYTHON ?? 'python3', ['-m', 'venv', folder()]);
    await must(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...PACKAGES]);
    writeFileSync(whole, '');
    return python;
  } catch (error) {
    const command = `${process.env.PYTHON ?? 'python3'} -m venv ${folder()} && ${python} -m pip install ${PACKAGES.map((each) => `'${each}'`).join(' ')} && touch ${whole}`;
    throw new Error(`${(error as Error).message}\nTo install it by hand: ${command}`);
  }
}

/** Folder of the model with 8-bit weights in OpenVINO's own form, written once. */
export async function int8Model(gguf: string, python: string, progress: (line: string) => void): Promise<string> {
  const source = requantise(gguf, 'F16');
  const target = join(dirname(source), basename(source).replace(/F16\.gguf$/, 'int8'));
  if (existsSync(target)) return target;
  progress(`writing ${target} (once)`);
  await must(python, [join(here, 'int8.py'), source, target]);
  return target;
}
