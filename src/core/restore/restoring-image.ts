/**
 * An image that is being restored, for a shadowing volume to follow (C25): everything that it reads and writes goes through the
 * restore. What is not restored reads as the snapshot has it; only what is restored can be written, at once.
 */
import type { Extent, ImageFacts, ImageFile } from '../image/index.ts';
import { assert } from '../kit/index.ts';
import type { GivenContent } from './block-content.ts';
import type { Restore } from './restore.ts';

const EXTENTS_AT_A_TIME = 256;

/** `close` ends the restore and closes what was given with it. */
export class RestoringImage implements ImageFile {
  readonly path: string;
  readonly kind: ImageFile['kind'];
  readonly sizeBytes: number;
  /** Blocks that are not restored have no bytes in the file. */
  readonly fd = undefined;
  readonly #image: ImageFile;
  readonly #restore: Restore;
  readonly #close: () => Promise<void>;
  #seenWrites: number;

  constructor(image: ImageFile, restore: Restore, close: () => Promise<void>) {
    this.#image = image;
    this.#restore = restore;
    this.#close = close;
    this.#seenWrites = restore.writes;
    this.path = image.path;
    this.kind = image.kind;
    this.sizeBytes = restore.device.sizeBytes;
  }

  /** Of the shadow's contract: what may be written, and when the restore wrote. */
  readonly restoring = {
    isWritable: (position: number, length: number): boolean =>
      length === 0 || this.#restore.device.isReady(position, length),
    makeWritable: async (
      position: number,
      length: number,
      content: GivenContent,
      signal?: AbortSignal,
    ): Promise<void> => {
      await this.#restore.device.prepare(position, length, content, signal);
    },
    hasWritten: (): boolean => {
      const seen = this.#seenWrites;
      this.#seenWrites = this.#restore.writes;
      return seen !== this.#seenWrites;
    },
    end: async (): Promise<void> => {
      await this.#restore.close();
    },
  };

  readNow(position: number, target: Uint8Array): boolean {
    return this.#restore.device.isReady(position, target.length) && this.#image.readNow(position, target);
  }

  async read(position: number, target: Uint8Array, signal?: AbortSignal): Promise<void> {
    const bytes = Buffer.from(target.buffer, target.byteOffset, target.length);
    await this.#restore.device.read(position, bytes, signal === undefined ? {} : { signal });
  }

  readSync(position: number, target: Uint8Array): void {
    assert(this.#restore.device.isReady(position, target.length), 'what was just written is restored');
    this.#image.readSync(position, target);
  }

  write(position: number, data: Uint8Array): void {
    assert(this.restoring.isWritable(position, data.length), 'what is written is restored');
    const written = this.#restore.device.write(position, Buffer.from(data.buffer, data.byteOffset, data.length));
    assert(written === undefined, 'what is restored is written at once');
  }

  zero(position: number, length: number, mayTrim: boolean): void {
    assert(this.restoring.isWritable(position, length), 'what is made zero is restored');
    const written = this.#restore.device.writeZeroes(position, length, { mayTrim });
    assert(written === undefined, 'what is restored is made zero at once');
  }

  async sync(): Promise<void> {
    await this.#restore.device.flush();
  }

  async *dataExtents(from: number, to: number, signal?: AbortSignal): AsyncGenerator<Extent> {
    const end = Math.min(to, this.sizeBytes);
    const call = signal === undefined ? {} : { signal };
    let data: { readonly offset: number; length: number } | undefined;
    for (let at = Math.min(from, end); at < end;) {
      const pieces = await this.#restore.device.extents(at, end - at, EXTENTS_AT_A_TIME, call);
      assert(pieces.length > 0, 'extents make headway');
      for (const { length, isZero } of pieces) {
        if (!isZero && data === undefined) data = { offset: at, length };
        else if (!isZero && data !== undefined) data.length += length;
        else if (data !== undefined) {
          yield data;
          data = undefined;
        }
        at += length;
      }
    }
    if (data !== undefined) yield data;
  }

  facts(): ImageFacts {
    return this.#image.facts();
  }

  isInPlace(): boolean {
    return this.#image.isInPlace();
  }

  async close(): Promise<void> {
    await this.#close();
  }
}
