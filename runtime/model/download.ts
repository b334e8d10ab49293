/** One file over HTTP: resumed where it stopped, checked by sha256, renamed into place when it is whole. */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ModelError, type Progress } from './types.ts';

export interface Download {
  url: string;
  to: string;
  /** hexadecimal; the file is refused when it differs */
  sha256?: string;
  size?: number;
  headers?: Record<string, string>;
  progress?: Progress;
  /** how often a broken connection is taken up again */
  retries?: number;
}

async function hashOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** What to tell about a failed write. */
export function diskError(error: unknown, file: string): ModelError {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOSPC')
    return new ModelError(
      `${file}: the disk is full. Free some space and run the command again; what has arrived is kept and resumed.`,
    );
  if (code === 'EACCES' || code === 'EROFS')
    return new ModelError(
      `${file}: cannot be written (${code}). Set SKV_CACHE or HF_HOME to a folder you may write to.`,
    );
  return new ModelError(`${file}: ${(error as Error).message}`);
}

/** Appends what is missing of `partial`; true when the transfer ended properly. */
async function transfer(download: Download, partial: string): Promise<boolean> {
  const have = existsSync(partial) ? statSync(partial).size : 0;
  if (download.size !== undefined && have === download.size) return true;
  const response = await fetch(download.url, {
    headers: { ...download.headers, ...(have ? { range: `bytes=${have}-` } : {}) },
  });
  if (response.status === 416) {
    rmSync(partial, { force: true });
    return false;
  }
  if (!response.ok || !response.body)
    throw new ModelError(`${download.url}: the server answered ${response.status} ${response.statusText}.`);
  const resumed = response.status === 206;
  let received = resumed ? have : 0;
  const length = Number(response.headers.get('content-length') ?? Number.NaN);
  const total = download.size ?? (Number.isFinite(length) ? received + length : undefined);
  const file = await open(partial, resumed ? 'a' : 'w');
  try {
    for await (const chunk of response.body) {
      await file.write(chunk as Uint8Array).catch((error) => {
        throw diskError(error, partial);
      });
      received += (chunk as Uint8Array).length;
      download.progress?.({ file: download.to, received, total });
    }
  } finally {
    await file.close();
  }
  return total === undefined || received === total;
}

/** Fetches a file unless it is there. Throws ModelError; what has arrived stays for the next try. */
export async function fetchFile(download: Download): Promise<string> {
  if (existsSync(download.to)) return download.to;
  const partial = `${download.to}.incomplete`;
  try {
    mkdirSync(dirname(download.to), { recursive: true });
  } catch (error) {
    throw diskError(error, download.to);
  }
  const retries = download.retries ?? 4;
  for (let attempt = 0; ; attempt++) {
    try {
      if (await transfer(download, partial)) break;
      if (attempt >= retries)
        throw new ModelError(
          `${download.url}: the connection broke ${attempt + 1} times. Run the command again: it goes on where it stopped.`,
        );
    } catch (error) {
      if (error instanceof ModelError) throw error;
      if (attempt >= retries)
        throw new ModelError(
          `${download.url}: ${(error as Error).message}. Run the command again: it goes on where it stopped.`,
        );
    }
    await new Promise((done) => setTimeout(done, 100 * 2 ** attempt));
  }
  if (download.sha256 && (await hashOf(partial)) !== download.sha256) {
    rmSync(partial, { force: true });
    throw new ModelError(
      `${download.url}: what arrived has another checksum than announced. Run the command again; if it stays so, the source is damaged.`,
    );
  }
  renameSync(partial, download.to);
  return download.to;
}
