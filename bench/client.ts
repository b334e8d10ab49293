/** One streamed completion, with the time of every token; and what a server tells of itself. */
import { request as httpRequest } from 'node:http';

export interface Timed {
  /** seconds after the load's start */
  sent: number;
  /** of each event that brought text: a token, seldom two (half a character waits for its rest) */
  events: number[];
  /** as the server counted them */
  generated: number;
  done: number;
  /** HTTP status, or 0 when the connection failed */
  status: number;
  error?: string;
}

interface Event {
  error?: { message: string };
  choices?: { text: string }[];
  usage?: { completion_tokens: number } | null;
}

/** Posts and reads server-sent events; `now` gives seconds since the load's start. */
export function stream(url: string, body: object, now: () => number, apiKey?: string): Promise<Timed> {
  return new Promise((resolve) => {
    const sent = now();
    const events: number[] = [];
    let generated = 0;
    let buffer = '';
    let error: string | undefined;
    const finish = (status: number) => resolve({ sent, events, generated, done: now(), status, error });
    const headers = { 'content-type': 'application/json', ...(apiKey ? { authorization: `Bearer ${apiKey}` } : {}) };
    const request = httpRequest(
      new URL('/v1/completions', url),
      { method: 'POST', headers, agent: false },
      (response) => {
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          const arrived = now();
          buffer += chunk;
          const lines = buffer.split('\n\n');
          buffer = lines.pop()!;
          for (const line of lines) {
            if (!line.startsWith('data: ') || line === 'data: [DONE]') continue;
            const event = JSON.parse(line.slice(6)) as Event;
            if (event.error) error = event.error.message;
            if (event.choices?.some(({ text }) => text !== '')) events.push(arrived);
            generated = event.usage?.completion_tokens ?? generated;
          }
        });
        response.on('end', () => {
          if (response.statusCode !== 200) error = buffer.slice(0, 300);
          finish(response.statusCode ?? 0);
        });
        response.on('error', (cause) => {
          error = cause.message;
          finish(0);
        });
      },
    );
    request.on('error', (cause) => {
      error = cause.message;
      finish(0);
    });
    request.end(JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }));
  });
}

/** Prometheus text as numbers, labels dropped, the values of a name added up. */
export function parseMetrics(text: string): Map<string, number> {
  const values = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [, name, value] = line.match(/^([a-zA-Z_:][\w:]*)(?:\{[^}]*\})? (\S+)$/) ?? [];
    if (name) values.set(name, (values.get(name) ?? 0) + Number(value));
  }
  return values;
}

export async function metrics(url: string): Promise<Map<string, number>> {
  return parseMetrics(await (await fetch(new URL('/metrics', url))).text());
}
