/**
 * An image that is being restored, over a file that forgets, as those see it who write to it: `live` is the snapshot with their
 * writes, whatever the file has of it.
 */
import { MemoryDevice } from '../../src/core/blockdevice/index.ts';
import type { Extent, ImageFacts } from '../../src/core/image/index.ts';
import type { Clock, Random } from '../../src/core/kit/index.ts';
import { beginImage, Restore, RestoringImage } from '../../src/core/restore/index.ts';
import type { ShadowImage } from '../../src/core/volume/shadow/contract.ts';
import { ForgetfulImage } from './forgetful-image.ts';
import { NotedImage } from './noted-image.ts';

const BLOCK_BYTES = 64 * 1024;
/** A second of the scene is shorter. */
const RATE_BYTES = 256 * 1024;

interface Shared {
  readonly random: Random;
  readonly snapshot: Buffer;
  readonly secret: Buffer;
}

class TimedImage extends ForgetfulImage {
  modifiedMs = 0;
  now: () => number = () => 0;

  override write(position: number, data: Uint8Array): void {
    super.write(position, data);
    this.modifiedMs = this.now();
  }

  override facts(): ImageFacts {
    const modifiedAtNs = BigInt(Math.round(this.modifiedMs * 1e6));
    return { ...super.facts(), modifiedAtNs, changedAtNs: modifiedAtNs };
  }
}

function timed(from: ForgetfulImage, clock: Clock, modifiedMs: number): TimedImage {
  const image = from.intoClass(TimedImage);
  image.modifiedMs = modifiedMs;
  image.now = () => clock.nowMs();
  image.pause = async () => new Promise((resolve) => setImmediate(resolve));
  return image;
}

export class RestoringNotedImage extends NotedImage implements ShadowImage {
  readonly #shared: Shared;
  readonly #file: TimedImage;
  #inner: RestoringImage | undefined;

  static async over(snapshot: Buffer, clock: Clock, random: Random): Promise<RestoringNotedImage> {
    const shared = { random, snapshot: Buffer.from(snapshot), secret: random.bytes(32) };
    const file = timed(new ForgetfulImage(Buffer.from(random.bytes(snapshot.length))), clock, clock.nowMs());
    const image = new RestoringNotedImage(clock, file, shared, new Set());
    await beginImage(image.#parts(), new AbortController().signal);
    return image;
  }

  private constructor(clock: Clock, file: TimedImage, shared: Shared, states: Set<string>) {
    super(clock, Buffer.from(shared.snapshot), states);
    this.#file = file;
    this.#shared = shared;
  }

  #parts(): ConstructorParameters<typeof Restore>[0] {
    const { snapshot, secret } = this.#shared;
    const source = new MemoryDevice(snapshot.length);
    snapshot.copy(source.bytes);
    return {
      image: this.#file,
      source,
      geometry: { sizeBytes: snapshot.length, blockBytes: BLOCK_BYTES },
      secret: { restoreId: 'res-1', secret },
      clock: this.clock,
      rateBytes: RATE_BYTES,
      isServed: true,
      onFinishing: async () => Promise.resolve(),
      onCompleted: async () => {
        this.completed += 1;
        return Promise.resolve();
      },
    };
  }

  get #restoring(): RestoringImage {
    if (this.#inner === undefined) throw new Error('the image has not begun');
    return this.#inner;
  }

  /** Goes on with the restore, as the file is found. */
  override async begin(): Promise<void> {
    const restore = new Restore(this.#parts());
    const bytes = Buffer.alloc(this.sizeBytes);
    await restore.device.read(0, bytes);
    this.live = bytes;
    this.note();
    this.#inner = new RestoringImage(this.#file, restore, async () => restore.close());
    void restore.run().catch(() => undefined);
  }

  override afterKill(): RestoringNotedImage {
    const file = timed(this.#file.afterKill(), this.clock, this.#file.modifiedMs);
    return new RestoringNotedImage(this.clock, file, this.#shared, this.states);
  }

  override afterCut(random: Random): RestoringNotedImage {
    const file = timed(this.#file.afterCut(random, 512), this.clock, this.#file.modifiedMs);
    return new RestoringNotedImage(this.clock, file, this.#shared, this.states);
  }

  get restoring(): RestoringImage['restoring'] {
    return this.#restoring.restoring;
  }

  override readNow(position: number, target: Uint8Array): boolean {
    return this.#restoring.readNow(position, target);
  }

  override async read(position: number, target: Uint8Array, signal?: AbortSignal): Promise<void> {
    await this.#restoring.read(position, target, signal);
  }

  override readSync(position: number, target: Uint8Array): void {
    this.#restoring.readSync(position, target);
  }

  override write(position: number, data: Uint8Array): void {
    this.#restoring.write(position, data);
    this.apply(position, Buffer.from(data));
  }

  override zero(position: number, length: number): void {
    this.#restoring.zero(position, length, true);
    this.apply(position, Buffer.alloc(length));
  }

  override async sync(): Promise<void> {
    await this.#restoring.sync();
  }

  override dataExtents(from: number, to: number): AsyncIterable<Extent> {
    return this.#restoring.dataExtents(from, to);
  }

  override facts(): ImageFacts {
    return this.#file.facts();
  }

  override async close(): Promise<void> {
    await this.#inner?.close();
  }
}
