/** A model's tokens as grammars see them. */
import { Matchers, type Vocabulary } from '../grammar/index.ts';
import type { LoadedModel } from '../model/types.ts';
import { allMarkers } from './tool-formats.ts';

/** Marks of calls and thoughts that are special tokens of a model: they have no bytes, and grammars must see them. */
export interface Marker {
  readonly token: number;
  readonly text: string;
}

const markers = new WeakMap<LoadedModel, readonly Marker[]>();

export function markerTokens(model: LoadedModel): readonly Marker[] {
  const known = markers.get(model);
  if (known) return known;
  const { tokenizer } = model;
  const found = allMarkers.flatMap((text) => {
    const [token, ...more] = tokenizer.encode(text, { special: true });
    const isMarker = more.length === 0 && token !== undefined && tokenizer.bytes(token).length === 0;
    return isMarker && tokenizer.decode([token]) === text ? [{ token, text }] : [];
  });
  markers.set(model, found);
  return found;
}

/** Tokens that are read before others get a turn: milliseconds of a vocabulary that takes half a second. */
const TURN = 4096;

/** Tokens that end generation are no text, whatever they read. Its arrays are shared: several workers read them. */
export async function vocabularyOf(model: LoadedModel): Promise<Vocabulary> {
  const { tokenizer, spec } = model;
  const marked = new Map(markerTokens(model).map(({ token, text }) => [token, Buffer.from(text)]));
  const ends = new Int32Array(new SharedArrayBuffer(4 * spec.vocab));
  const parts: Uint8Array[] = [];
  let at = 0;
  for (let token = 0; token < spec.vocab; token++) {
    if (token % TURN === TURN - 1) await new Promise(setImmediate);
    const text = token < tokenizer.vocab && !tokenizer.eos.includes(token);
    const bytes = text ? (marked.get(token) ?? tokenizer.bytes(token)) : new Uint8Array(0);
    parts.push(bytes);
    ends[token] = at += bytes.length;
  }
  const bytes = new Uint8Array(new SharedArrayBuffer(at));
  bytes.set(Buffer.concat(parts));
  return { bytes, ends };
}

export const matchersOf = (model: LoadedModel): Matchers => new Matchers(model.spec.vocab, () => vocabularyOf(model));
