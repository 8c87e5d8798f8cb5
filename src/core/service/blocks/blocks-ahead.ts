/**
 * Reads blocks ahead of who reads a snapshot from its beginning to its end, as copies and backups do: while a client takes in
 * one block, the next are on their way from the store. A block that was read ahead goes to one request, which was decided like
 * any other; nothing is read ahead of who reads here and there.
 */
import type { BlockReader, ReadBlock } from '../../blockstore/blocks/index.ts';
import type { SnapshotEntry } from '../../blockstore/index.ts';
import { untilAborted } from '../../kit/index.ts';

/** Blocks that are begun behind the last one that was asked for. */
const AHEAD_BLOCKS = 4;
/** Over all readers: 16 MiB. */
const HELD_MAX = 32;
const READERS_MAX = 64;
/** Requests in order before anything is read ahead. */
const IN_ORDER_MIN = 2;
/** How far requests that are made side by side, of one reader, may come in another order. */
const APART_MAX = 64;

type Root = SnapshotEntry['root'];

/** Of one account and snapshot. */
interface Reader {
  /** Behind the last block that was asked for. */
  next: number;
  inOrder: number;
  readonly begun: Map<number, Promise<ReadBlock>>;
}

export class BlocksAhead {
  readonly #blocks: Pick<BlockReader, 'read' | 'writtenNear'>;
  readonly #closed: AbortSignal;
  /** Who asked last is the last. */
  readonly #readers = new Map<string, Reader>();
  #held = 0;

  /** `closed` ends what nobody asked for yet. */
  constructor(blocks: Pick<BlockReader, 'read' | 'writtenNear'>, closed: AbortSignal) {
    this.#blocks = blocks;
    this.#closed = closed;
  }

  /** As `BlockReader.read`, for the reader of this name. The caller owns the buffer. */
  async read(name: string, root: Root, block: number, signal: AbortSignal): Promise<ReadBlock> {
    const reader = this.#readerOf(name);
    const begun = this.#take(reader, block);
    const isNext = this.#note(reader, block);
    const read =
      begun === undefined ? this.#blocks.read(root, block, signal) : this.#arrived(begun, root, block, signal);
    if (isNext) this.#readOn(reader, root);
    return await read;
  }

  #readerOf(name: string): Reader {
    const reader = this.#readers.get(name) ?? { next: 0, inOrder: 0, begun: new Map<number, Promise<ReadBlock>>() };
    this.#readers.delete(name);
    this.#readers.set(name, reader);
    const [oldest] = this.#readers;
    if (this.#readers.size > READERS_MAX && oldest !== undefined) {
      this.#forget(oldest[1]);
      this.#readers.delete(oldest[0]);
    }
    return reader;
  }

  #take({ begun }: Reader, block: number): Promise<ReadBlock> | undefined {
    const taken = begun.get(block);
    if (begun.delete(block)) this.#held -= 1;
    return taken;
  }

  #forget({ begun }: Reader): void {
    this.#held -= begun.size;
    begun.clear();
  }

  /** Whether the reader goes from the one end to the other. */
  #note(reader: Reader, block: number): boolean {
    const isNear = Math.abs(block - reader.next) <= APART_MAX;
    if (!isNear) {
      this.#forget(reader);
      reader.inOrder = 0;
      reader.next = block + 1;
      return false;
    }
    reader.inOrder += 1;
    reader.next = Math.max(reader.next, block + 1);
    for (const passed of reader.begun.keys()) {
      if (passed >= reader.next - APART_MAX) continue;
      // It was read in vain: not all blocks are wanted.
      void this.#take(reader, passed);
      reader.inOrder = 0;
    }
    return reader.inOrder >= IN_ORDER_MIN;
  }

  /** What was begun; where that failed, what is read now tells why. */
  async #arrived(begun: Promise<ReadBlock>, root: Root, block: number, signal: AbortSignal): Promise<ReadBlock> {
    const read = await untilAborted(
      begun.catch(() => undefined),
      signal,
    );
    return read ?? (await this.#blocks.read(root, block, signal));
  }

  #readOn(reader: Reader, root: Root): void {
    const { next, begun } = reader;
    const isEnough = begun.size >= AHEAD_BLOCKS;
    if (isEnough) return;
    this.#blocks.writtenNear(root, next, AHEAD_BLOCKS, this.#closed).then(
      (written) => {
        for (const block of written) this.#begin(reader, root, block);
      },
      // Who asks for a block of it is told.
      () => undefined,
    );
  }

  #begin(reader: Reader, root: Root, block: number): void {
    const { begun } = reader;
    if (block < reader.next || begun.size >= AHEAD_BLOCKS || begun.has(block) || this.#closed.aborted) return;
    for (const other of this.#readers.values()) {
      if (this.#held < HELD_MAX) break;
      if (other !== reader) this.#forget(other);
    }
    if (this.#held >= HELD_MAX) return;
    const read = this.#blocks.read(root, block, this.#closed);
    read.catch(() => undefined);
    begun.set(block, read);
    this.#held += 1;
  }
}
