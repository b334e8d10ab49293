import { resolveModel } from '../../runtime/model/source.ts';
import { json, progressLine, say } from '../output.ts';

export async function pull(source: string, options: { json?: boolean }): Promise<void> {
  const line = progressLine(`fetching ${source}`);
  const path = await resolveModel(source, { progress: ({ received, total }) => line.at(received, total) }).finally(() =>
    line.end(),
  );
  if (options.json) json({ source, path });
  else say(path);
}
