/**
 * An image in memory. Cutting the power keeps what was synced, and any part of what was written since, down to `grainBytes`; the
 * end of the process keeps everything. It can be made to end at a certain call.
 */
import type { ImageFacts, ImageFile } from '../../src/core/image/index.ts';
import { SgwError, type Random } from '../../src/core/kit/index.ts';

interface Written {
  readonly at: number;
  readonly bytes: Buffer;
}

/** What the calls of an image that has ended throw. */
const ENDED = new Error('the process has ended');

export class ForgetfulImage implements ImageFile {
  readonly path = '/images/forgetful.img';
  readonly kind = 'file';
  readonly fd = undefined;
  /** Calls so far. */
  calls = 0;
  syncs = 0;
  /** The call at which the process ends, which is not made; undefined: it goes on. */
  endsAt: number | undefined;
  failSyncs: Error | undefined;
  /** Whether the next write fails, before anything of it is written. */
  failsWrite: (position: number, length: number) => boolean = () => false;
  /** Waited for within asynchronous calls. */
  pause: () => Promise<void> = async () => Promise.resolve();
  readonly #live: Buffer<ArrayBuffer>;
  readonly #durable: Buffer<ArrayBuffer>;
  /** Not covered by a completed sync, oldest first. */
  readonly #unsynced: Written[];
  #syncFailure: Error | undefined;

  constructor(live: Buffer<ArrayBuffer>, durable = Buffer.from(live), unsynced: readonly Written[] = []) {
    this.#live = live;
    this.#durable = durable;
    this.#unsynced = [...unsynced];
  }

  get sizeBytes(): number {
    return this.#live.length;
  }

  get hasEnded(): boolean {
    return this.endsAt !== undefined && this.calls >= this.endsAt;
  }

  /** As it is now, for looking. */
  get bytes(): Buffer {
    return this.#live;
  }

  /** As it is found after the process has ended. The old object is of no more use. */
  afterKill(): ForgetfulImage {
    return new ForgetfulImage(Buffer.from(this.#live), Buffer.from(this.#durable), this.#unsynced);
  }

  /** As it is found when the power is back. */
  afterCut(random: Random, grainBytes: number): ForgetfulImage {
    const how = random.float();
    const kept = how < 0.2 ? 0 : how < 0.4 ? 1 : random.float();
    const bytes = Buffer.from(this.#durable);
    for (const written of this.#unsynced) {
      for (let at = 0; at < written.bytes.length;) {
        const end = Math.min(written.bytes.length, at + grainBytes - ((written.at + at) % grainBytes));
        if (random.float() < kept) written.bytes.copy(bytes, written.at + at, at, end);
        at = end;
      }
    }
    return new ForgetfulImage(bytes);
  }

  /** The same file as an object of another class. This one is of no more use. */
  intoClass<T extends ForgetfulImage>(kind: new (...words: ConstructorParameters<typeof ForgetfulImage>) => T): T {
    return new kind(this.#live, this.#durable, this.#unsynced);
  }

  #call(): void {
    if (!this.hasEnded) this.calls += 1;
    if (this.hasEnded) throw ENDED;
  }

  readNow(position: number, target: Uint8Array): boolean {
    if (this.calls % 3 === 0) return false;
    this.readSync(position, target);
    return true;
  }

  async read(position: number, target: Uint8Array): Promise<void> {
    this.#call();
    await this.pause();
    this.readSync(position, target);
  }

  readSync(position: number, target: Uint8Array): void {
    this.#call();
    target.set(this.#live.subarray(position, position + target.length));
  }

  write(position: number, data: Uint8Array): void {
    this.#call();
    if (position < 0 || position + data.length > this.sizeBytes) throw new Error('a write beyond the image');
    if (this.failsWrite(position, data.length))
      throw new SgwError('exhausted', 'system-enospc', 'no space left on the device');
    const bytes = Buffer.from(data);
    bytes.copy(this.#live, position);
    this.#unsynced.push({ at: position, bytes });
  }

  zero(position: number, length: number): void {
    this.write(position, Buffer.alloc(length));
  }

  async sync(): Promise<void> {
    this.#call();
    this.syncs += 1;
    const count = this.#unsynced.length;
    await this.pause();
    if (this.hasEnded) throw ENDED;
    this.#syncFailure ??= this.failSyncs;
    if (this.#syncFailure !== undefined) throw this.#syncFailure;
    for (const { at, bytes } of this.#unsynced.splice(0, count)) bytes.copy(this.#durable, at);
  }

  async *dataExtents(from: number, to: number): AsyncIterable<{ offset: number; length: number }> {
    await Promise.resolve();
    for (let at = from; at < to;) {
      const end = Math.min(to, at - (at % 4096) + 4096);
      if (this.#live.subarray(at, end).some((byte) => byte !== 0)) yield { offset: at, length: end - at };
      at = end;
    }
  }

  facts(): ImageFacts {
    return { sizeBytes: this.sizeBytes, device: '1', inode: '2', modifiedAtNs: 0n, changedAtNs: 0n, links: 1 };
  }

  isInPlace(): boolean {
    return true;
  }

  async close(): Promise<void> {
    return Promise.resolve();
  }
}
