/** The tiny random model with an alphabet, the real engine on it, and a server on a loopback port. */
import { build, shipped } from '../../codegen/build.ts';
import { Engine } from '../../runtime/engine/engine.ts';
import type { EngineOptions } from '../../runtime/engine/types.ts';
import type { LoadedModel } from '../../runtime/model/types.ts';
import type { NativeEngine } from '../../runtime/native/index.ts';
import { compileTemplate } from '../../runtime/model/template.ts';
import { runServer } from '../../runtime/server/serve.ts';
import { type ServerOptions, createServer } from '../../runtime/server/server.ts';
import { type Tiny, tinyModel } from '../oracle/tiny.ts';

/** 95 printable ASCII characters, then line feed, then <|im_start|> and <|im_end|>. */
const CHARACTERS = 96;
const START = CHARACTERS;
export const END = CHARACTERS + 1;
const SPECIALS = ['<|im_start|>', '<|im_end|>'];

const textOf = (token: number): string =>
  token === 95 ? '\n' : token < CHARACTERS ? String.fromCharCode(32 + token) : '';
const tokenOf = (character: string): number => {
  const code = character.charCodeAt(0);
  return character === '\n' ? 95 : code >= 32 && code < 127 ? code - 32 : 31;
};

function encode(text: string, special: boolean): Int32Array {
  const pieces = special ? text.split(/(<\|im_start\|>|<\|im_end\|>)/) : [text];
  return Int32Array.from(
    pieces.flatMap((piece) =>
      special && SPECIALS.includes(piece) ? [START + SPECIALS.indexOf(piece)] : [...piece].map(tokenOf),
    ),
  );
}

export function textualModel(): Tiny {
  const tiny = tinyModel(11, { vocab: CHARACTERS + 2 });
  const loaded: LoadedModel = {
    ...tiny.loaded,
    tokenizer: {
      vocab: CHARACTERS + 2,
      bos: undefined,
      eos: [END],
      encode: (text, { special = false } = {}) => encode(text, special),
      decode: (tokens, { skipSpecial = false } = {}) =>
        Array.from(tokens, (token) => textOf(token) || (skipSpecial ? '' : SPECIALS[token - START])).join(''),
      bytes: (token) => new TextEncoder().encode(textOf(token)),
      classes: new Uint8Array(CHARACTERS + 2),
    },
    detokenizer: ({ special = false } = {}) => ({
      push: (token) => textOf(token) || (special ? SPECIALS[token - START] : ''),
      end: () => '',
    }),
    hasChatTemplate: true,
    chatTemplate: '(this one is code)',
    chat: (messages, { addGenerationPrompt = true } = {}) =>
      messages.map(({ role, content }) => `<|im_start|>${role}\n${content}<|im_end|>\n`).join('') +
      (addGenerationPrompt ? '<|im_start|>assistant\n' : ''),
  };
  return { ...tiny, loaded };
}

export interface Running {
  engine: Engine;
  url: string;
  server: Awaited<ReturnType<typeof createServer>>;
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
  stop(): Promise<void>;
}

const model = textualModel();
process.on('exit', () => model.remove());
const policies = await Promise.all(['none', 'h2o', 'tova', 'streaming'].map((name) => build(shipped(name)!)));

export function smallTextEngine(options: Partial<EngineOptions> = {}): Promise<Engine> {
  return Engine.create({
    model: model.loaded,
    policies,
    maxSeqs: 8,
    maxModelLen: 1024,
    kvCacheBytes: 64 << 20,
    pin: false,
    threads: 1,
    ...options,
  });
}

/** The same model with a chat template. */
export const withTemplate = (chatTemplate: string): Partial<EngineOptions> => {
  const render = compileTemplate(chatTemplate);
  return {
    model: {
      ...model.loaded,
      chatTemplate,
      chat: (messages, { addGenerationPrompt = true, variables = {}, tools } = {}) =>
        render({ tools: tools ?? null, ...variables, messages, add_generation_prompt: addGenerationPrompt }),
    },
  };
};

export async function serve(options: ServerOptions = {}, engineOptions: Partial<EngineOptions> = {}): Promise<Running> {
  const engine = await smallTextEngine(engineOptions);
  const server = await createServer(engine, options);
  const url = await server.app.listen({ host: '127.0.0.1', port: 0 });
  return {
    engine,
    server,
    url,
    post: (path, body, headers = {}) =>
      fetch(url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: typeof body === 'string' ? body : JSON.stringify(body),
      }),
    stop: async () => {
      await server.close();
      await engine.close();
    },
  };
}

/**
 * A server in a process of its own, for tests of signals: prints its address. Steps begin to take their time after the
 * third, and stop taking it at SIGUSR2: a request runs as long as a test wants it to.
 */
export async function serveAlone(shutdownTimeout: number): Promise<void> {
  const engine = await smallTextEngine();
  let steps = 0;
  let slow = true;
  process.on('SIGUSR2', () => (slow = false));
  const open = engine as unknown as { nativeEngine: NativeEngine };
  open.nativeEngine = new Proxy(open.nativeEngine, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (name !== 'step') return typeof value === 'function' ? value.bind(target) : value;
      return async (counts: Parameters<NativeEngine['step']>[0]) => {
        if (slow && ++steps > 3) await new Promise((done) => setTimeout(done, 100));
        return target.step(counts);
      };
    },
  });
  const onReady = (address: string) => process.stdout.write(`${address}\n`);
  await runServer(engine, { host: '127.0.0.1', port: 0, shutdownTimeout, onReady });
}

/** A door in front of the engine's steps: while it is shut, the step that has come waits. */
export interface Door {
  shut: boolean;
  /** milliseconds that every step waits besides */
  slow: number;
  /** steps that have come to it */
  readonly steps: number;
  /** a step stands before it */
  readonly waits: boolean;
  open(): void;
}

export function doorOf(engine: Engine): Door {
  let opened = () => {};
  const door = {
    shut: false,
    slow: 0,
    steps: 0,
    waits: false,
    open: () => {
      door.shut = false;
      opened();
    },
  };
  const inside = engine as unknown as { nativeEngine: NativeEngine };
  inside.nativeEngine = new Proxy(inside.nativeEngine, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (name !== 'step') return typeof value === 'function' ? value.bind(target) : value;
      return async (counts: Parameters<NativeEngine['step']>[0]) => {
        door.steps++;
        if (door.slow) await new Promise((resolve) => setTimeout(resolve, door.slow));
        door.waits = door.shut;
        if (door.shut) await new Promise<void>((resolve) => (opened = resolve));
        door.waits = false;
        return target.step(counts);
      };
    },
  });
  return door;
}

/** Waits until a condition holds; a minute is only for what never will. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  for (const start = Date.now(); !holds(); await new Promise((done) => setTimeout(done, 2)))
    if (Date.now() - start > 60_000) throw new Error(`never: ${what}`);
}

/** The data of a server-sent event stream, `[DONE]` included. */
export async function events(response: Response): Promise<string[]> {
  return (await response.text())
    .split('\n\n')
    .filter(Boolean)
    .map((event) => event.replace(/^data: /, ''));
}
