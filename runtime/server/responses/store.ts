/** Responses that later requests may go on from, in memory: the newest, up to a number and a size. */
import type { Item } from './schema.ts';

export interface Stored {
  readonly response: { readonly id: string };
  /** what its request sent */
  readonly input: readonly Item[];
  /** the conversation, its answer included */
  readonly items: readonly Item[];
}

export class ResponseStore {
  private readonly stored = new Map<string, { entry: Stored; size: number }>();
  private size = 0;

  /** `characters`: of everything that is kept, as JSON */
  constructor(
    private readonly responses = 1000,
    private readonly characters = 64 << 20,
  ) {}

  get(id: string): Stored | undefined {
    return this.stored.get(id)?.entry;
  }

  /** An item of any response, by its own id. */
  item(id: string): Item | undefined {
    for (const { entry } of this.stored.values()) {
      const found = entry.items.find((item) => item.id === id);
      if (found) return found;
    }
    return undefined;
  }

  delete(id: string): boolean {
    this.size -= this.stored.get(id)?.size ?? 0;
    return this.stored.delete(id);
  }

  set(entry: Stored): void {
    const size = JSON.stringify(entry).length;
    this.stored.set(entry.response.id, { entry, size });
    this.size += size;
    for (const id of this.stored.keys()) {
      if (this.stored.size <= this.responses && this.size <= this.characters) break;
      this.delete(id);
    }
  }
}
