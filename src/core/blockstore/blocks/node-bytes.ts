/**
 * Stored nodes of map objects, for walks that want many of them from all over large objects. What is asked for in one turn of
 * the event loop is read together: nodes of one object that lie near each other by one request, with some of what stands in
 * front of them, since a map object has children before their parents. The last of what was read is kept.
 */
import { BoundedCache } from '../bounded-cache.ts';
import { damaged, missing } from '../damage.ts';
import type { NodePointer } from '../node-codec.ts';
import { getPart } from '../object-part.ts';
import type { DataReading } from '../options.ts';

/** Bytes between two nodes that are read along rather than asked for separately, and those in front of the first. */
const GAP_BYTES_MAX = 64 * 1024;
const FRONT_BYTES = 24 * 1024;
const SPAN_BYTES_MAX = 2 << 20;
/** Pages of an object by which spans are found again. */
const GRAIN_BYTES = 64 * 1024;
const CACHE_BYTES = 32 << 20;

interface Wanted {
  readonly pointer: NodePointer;
  readonly resolve: (bytes: Buffer) => void;
  readonly reject: (error: unknown) => void;
}

interface Span {
  readonly offset: number;
  readonly bytes: Buffer;
}

export class NodeBytes {
  readonly #reading: DataReading;
  readonly #wanted = new Map<string, Wanted[]>();
  /** By object and grain: the span that was read there last. */
  readonly #spans = new BoundedCache<Span>(CACHE_BYTES, ({ bytes }) => Math.min(bytes.length, GRAIN_BYTES) + 256);

  constructor(reading: DataReading) {
    this.#reading = reading;
  }

  /** The stored bytes of a node, unchecked. @throws corrupt `object-missing`, `object-damaged`; what the store throws */
  async get(pointer: NodePointer): Promise<Buffer> {
    return this.#kept(pointer) ?? (await this.#readWithOthers(pointer));
  }

  #kept({ key, offset, length }: NodePointer): Buffer | undefined {
    const span = this.#spans.peek(grainName(key, offset));
    if (span === undefined || offset < span.offset || offset + length > span.offset + span.bytes.length)
      return undefined;
    return span.bytes.subarray(offset - span.offset, offset - span.offset + length);
  }

  async #readWithOthers(pointer: NodePointer): Promise<Buffer> {
    return await new Promise((resolve, reject) => {
      if (this.#wanted.size === 0)
        setImmediate(() => {
          this.#readWanted();
        });
      const ofObject = this.#wanted.get(pointer.key);
      const wanted = { pointer, resolve, reject };
      if (ofObject === undefined) this.#wanted.set(pointer.key, [wanted]);
      else ofObject.push(wanted);
    });
  }

  #readWanted(): void {
    const all = [...this.#wanted];
    this.#wanted.clear();
    for (const [key, wanted] of all) {
      for (const group of groupsOf(wanted)) {
        this.#readGroup(key, group).catch((error: unknown) => {
          for (const { reject } of group) reject(error);
        });
      }
    }
  }

  /** Not stopped by a signal: several who wait for it may have come together. It is one request, with the store's deadline. */
  async #readGroup(key: string, group: readonly Wanted[]): Promise<void> {
    const first = group[0]?.pointer.offset ?? 0;
    const end = group.reduce((most, { pointer }) => Math.max(most, pointer.offset + pointer.length), 0);
    const offset = Math.max(0, first - FRONT_BYTES);
    const part = await getPart(this.#reading.objects, key, { offset, length: end - offset });
    if (part === undefined) throw missing(key);
    const span = { offset, bytes: part.bytes };
    for (let at = offset - (offset % GRAIN_BYTES); at < end; at += GRAIN_BYTES)
      this.#spans.replace(grainName(key, at), span);
    for (const { pointer, resolve, reject } of group) {
      const at = pointer.offset - offset;
      if (at + pointer.length <= part.bytes.length) resolve(part.bytes.subarray(at, at + pointer.length));
      else reject(damaged(key, 'it is too short'));
    }
  }
}

const grainName = (key: string, offset: number): string => `${key}@${String(Math.floor(offset / GRAIN_BYTES))}`;

/** Nodes of one object that are read together, in the order of their places. */
function groupsOf(wanted: readonly Wanted[]): Wanted[][] {
  const groups: Wanted[][] = [];
  let start = 0;
  let end = 0;
  for (const one of wanted.toSorted((a, b) => a.pointer.offset - b.pointer.offset)) {
    const { offset, length } = one.pointer;
    const group = groups.at(-1);
    if (group !== undefined && offset - end <= GAP_BYTES_MAX && offset + length - start <= SPAN_BYTES_MAX) {
      group.push(one);
      end = Math.max(end, offset + length);
    } else {
      groups.push([one]);
      start = offset;
      end = offset + length;
    }
  }
  return groups;
}
