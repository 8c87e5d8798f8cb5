/**
 * Writes of frames under way to the file: bounded in bytes, a few at a time, neighbours in one call. The bytes of a frame are
 * kept until its write ended, so that it is read from here and never half-written.
 */
import type { CacheFile } from './disk.ts';

const CALLS_MAX = 2;
const CALL_BYTES_MAX = 1024 * 1024;

export interface FrameWrite {
  readonly entry: number;
  readonly pages: Buffer;
  /** Where its bytes go: parts of `pages`, in order. */
  readonly runs: readonly { readonly position: number; readonly bytes: number }[];
}

interface WriteEvents {
  written(entry: number): void;
  failed(entry: number, error: unknown): void;
}

export class WriteQueue {
  readonly #file: CacheFile;
  /** Of frames under way; what comes above is not written at all. 0: nothing is taken for now. */
  bytesMax = 0;
  readonly #events: WriteEvents;
  readonly #queue: FrameWrite[] = [];
  readonly #pages = new Map<number, Buffer>();
  #bytes = 0;
  #calls = 0;
  #waiters: (() => void)[] = [];

  constructor(file: CacheFile, events: WriteEvents) {
    this.#file = file;
    this.#events = events;
  }

  /** Of frames under way. */
  get bytes(): number {
    return this.#bytes;
  }

  hasRoom(bytes: number): boolean {
    return this.#bytes + bytes <= this.bytesMax;
  }

  /** The bytes of a frame whose write is under way. */
  pagesOf(entry: number): Buffer | undefined {
    return this.#pages.get(entry);
  }

  add(write: FrameWrite): void {
    this.#bytes += write.pages.length;
    this.#pages.set(write.entry, write.pages);
    this.#queue.push(write);
    if (this.#calls < CALLS_MAX) void this.#work();
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    if (this.#pages.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#waiters.push(resolve);
    });
  }

  async #work(): Promise<void> {
    this.#calls++;
    // Lets more of the same request come, so that neighbours are written together.
    await Promise.resolve();
    for (let writes; (writes = this.#nextWrites()).length > 0;) {
      try {
        await this.#write(writes);
        for (const { entry } of writes) this.#events.written(entry);
      } catch (error) {
        for (const { entry } of writes) this.#events.failed(entry, error);
      }
      for (const write of writes) this.#ended(write);
    }
    this.#calls--;
    if (this.#pages.size > 0) return;
    for (const resolve of this.#waiters.splice(0)) resolve();
  }

  #ended(write: FrameWrite): void {
    this.#pages.delete(write.entry);
    this.#bytes -= write.pages.length;
  }

  /** The first write and those behind it that go to the bytes behind it. */
  #nextWrites(): FrameWrite[] {
    let count = 0;
    let bytes = 0;
    let end: number | undefined;
    for (const write of this.#queue) {
      const first = write.runs[0];
      if (count > 0 && (write.runs.length > 1 || first?.position !== end || bytes >= CALL_BYTES_MAX)) break;
      count++;
      bytes += write.pages.length;
      end = write.runs.length === 1 && first !== undefined ? first.position + first.bytes : undefined;
    }
    return this.#queue.splice(0, count);
  }

  async #write(writes: readonly FrameWrite[]): Promise<void> {
    const [first] = writes;
    if (first === undefined) return;
    const [run, ...others] = first.runs;
    if (run === undefined) return;
    if (others.length === 0) {
      await this.#file.write(joined(writes), run.position);
      return;
    }
    let at = 0;
    for (const { position, bytes } of first.runs) {
      await this.#file.write([first.pages.subarray(at, at + bytes)], position);
      at += bytes;
    }
  }
}

/** The pages of writes, where they lie one behind the other in memory as one piece. */
function joined(writes: readonly FrameWrite[]): Buffer[] {
  const pieces: Buffer[] = [];
  for (const { pages } of writes) {
    const last = pieces.at(-1);
    if (last?.buffer === pages.buffer && last.byteOffset + last.length === pages.byteOffset)
      pieces[pieces.length - 1] = Buffer.from(last.buffer, last.byteOffset, last.length + pages.length);
    else pieces.push(pages);
  }
  return pieces;
}
