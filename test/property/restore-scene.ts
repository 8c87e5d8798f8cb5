/**
 * A restore under a guest, ended again and again: what the scene checks is that the device is, at any time, the snapshot with the
 * guest's acknowledged writes, and after a loss of power with the flushed ones.
 */
import {
  MemoryDevice,
  type BlockDevice,
  type Completion,
  type DeviceExtent,
} from '../../src/core/blockdevice/index.ts';
import { SgwError, seededRandom, type Clock, type Random } from '../../src/core/kit/index.ts';
import { beginImage, recogniseImage, Restore, type MarkedBy } from '../../src/core/restore/index.ts';
import { ForgetfulImage } from '../fault/forgetful-image.ts';
import { Choices } from '../sim/random.ts';

/** What an acknowledged word can be torn down to. */
const WORD_BYTES = 8;
const PAGE_BYTES = 4096;
/** What may fail in a life without harm. */
const PASSING: ReadonlySet<string> = new Set(['store-away', 'system-enospc']);

interface OpenWrite {
  readonly at: number;
  readonly bytes: Buffer;
  readonly token: symbol;
  /** Acknowledged. */
  readonly isEnded: boolean;
  /** Overwritten before a kill: a cut can bring it back, a flush can not. */
  readonly isStale: boolean;
}

/** The guest's view: of each word what it is, or, where a write or a cut left that open, may be. */
class Oracle {
  readonly acknowledged: Buffer;
  readonly flushed: Buffer;
  /** Written since the last flush, and written by calls that never ended. */
  readonly #open: OpenWrite[] = [];

  constructor(snapshot: Buffer) {
    this.acknowledged = Buffer.from(snapshot);
    this.flushed = Buffer.from(snapshot);
  }

  begin(at: number, bytes: Buffer): symbol {
    const token = Symbol('write');
    this.#open.push({ at, bytes: Buffer.from(bytes), isEnded: false, isStale: false, token });
    return token;
  }

  /** Acknowledged: every later read must see it. */
  end(token: symbol): void {
    const i = this.#open.findIndex((write) => write.token === token);
    const write = this.#open[i];
    if (write === undefined) throw new Error('a write ends once');
    write.bytes.copy(this.acknowledged, write.at);
    this.#open[i] = { ...write, isEnded: true };
  }

  /** Acknowledged writes of now, to be given back when the flush is acknowledged. */
  flushBegins(): readonly symbol[] {
    return this.#open.filter(({ isEnded }) => isEnded).map(({ token }) => token);
  }

  flushEnds(tokens: readonly symbol[]): void {
    for (const token of tokens) {
      const i = this.#open.findIndex((write) => write.token === token);
      const [write] = i < 0 ? [] : this.#open.splice(i, 1);
      if (write?.isStale === false) write.bytes.copy(this.flushed, write.at);
    }
  }

  /** Whether `found` can be read at `at` now; a word that is otherwise is told. */
  check(at: number, found: Buffer, how: 'running' | 'kill' | 'cut'): void {
    const base = how === 'cut' ? this.flushed : this.acknowledged;
    const end = at + found.length;
    if (found.equals(base.subarray(at, end))) return;
    const open = this.#open.filter(
      (write) => (how === 'cut' || !write.isEnded) && write.at < end && write.at + write.bytes.length > at,
    );
    for (let word = at - (at % WORD_BYTES); word < end; word += WORD_BYTES) {
      for (let i = Math.max(at, word); i < Math.min(end, word + WORD_BYTES); i++) {
        if (found[i - at] === base[i]) continue;
        if (open.some((write) => write.bytes[i - write.at] === found[i - at])) continue;
        throw new Error(`after ${how}, byte ${String(i)} is ${String(found[i - at])}, not ${String(base[i])}`);
      }
    }
  }

  /** After an end: what was found is what there is. */
  settle(found: Buffer, how: 'kill' | 'cut'): void {
    found.copy(this.acknowledged);
    if (how === 'cut') {
      found.copy(this.flushed);
      this.#open.splice(0);
      return;
    }
    // What was not flushed before a kill can still be lost by a cut after it.
    for (let i = 0; i < this.#open.length; i++) {
      const write = this.#open[i];
      if (write !== undefined) this.#open[i] = { ...write, isEnded: true, isStale: true };
    }
    this.#open.push({ at: 0, bytes: Buffer.from(found), token: Symbol('kill'), isEnded: true, isStale: false });
  }
}

/** The snapshot, out of reach now and then, and never at once. */
class SlowSource extends MemoryDevice {
  readonly #pause: () => Promise<void>;
  readonly #choices: Choices;
  readonly #failing: number;

  constructor(bytes: Buffer, pause: () => Promise<void>, choices: Choices, failing: number) {
    super(bytes.length);
    bytes.copy(this.bytes);
    this.#pause = pause;
    this.#choices = choices;
    this.#failing = failing;
  }

  override read(offset: number, target: Buffer): Completion {
    return this.#slowly(offset, target);
  }

  async #slowly(offset: number, target: Buffer): Promise<void> {
    await this.#pause();
    if (this.#choices.chance(this.#failing)) throw new SgwError('unavailable', 'store-away', 'the store is away');
    await super.read(offset, target);
  }

  override async extents(offset: number, length: number, piecesMax: number): Promise<DeviceExtent[]> {
    await this.#pause();
    return await super.extents(offset, length, piecesMax);
  }
}

const CLOCK: Clock = {
  nowMs: () => 0,
  monotonicMs: () => 0,
  sleep: async () => new Promise((resolve) => setImmediate(resolve)),
};

export interface SceneCounts {
  kills: number;
  cuts: number;
  writes: number;
  reads: number;
  flushes: number;
  completed: number;
}

export class RestoreScene {
  readonly counts: SceneCounts = { kills: 0, cuts: 0, writes: 0, reads: 0, flushes: 0, completed: 0 };
  readonly #choices: Choices;
  readonly #random: Random;
  readonly #snapshot: Buffer;
  readonly #oracle: Oracle;
  readonly #candidate: MarkedBy;
  #image: ForgetfulImage;
  #isFinishing = false;
  #isCompleted = false;

  constructor(seed: number) {
    this.#choices = Choices.named(seed, 'scene');
    this.#random = seededRandom(seed ^ 0x5eed);
    const blockBytes = this.#choices.pick([4096, 8192, 16_384]);
    const sizeBytes = blockBytes * this.#choices.integer(1, 40) + this.#choices.pick([0, 512, 1000, 4096 - 8]);
    this.#snapshot = this.#contents(sizeBytes);
    this.#oracle = new Oracle(this.#snapshot);
    this.#candidate = {
      restoreId: `res-${String(seed)}`,
      secret: this.#random.bytes(32),
      geometry: { sizeBytes, blockBytes },
    };
    this.#image = new ForgetfulImage(
      this.#choices.chance(0.3) ? Buffer.alloc(sizeBytes) : Buffer.from(this.#random.bytes(sizeBytes)),
    );
  }

  #contents(sizeBytes: number): Buffer {
    const bytes = Buffer.alloc(sizeBytes);
    for (let at = 0; at < sizeBytes; at += PAGE_BYTES)
      if (this.#choices.chance(0.6)) this.#random.bytes(Math.min(PAGE_BYTES, sizeBytes - at)).copy(bytes, at);
    return bytes;
  }

  readonly #pause = async (): Promise<void> => {
    for (let turns = this.#choices.integer(0, 3); turns > 0; turns--)
      await (this.#choices.chance(0.5) ? Promise.resolve() : new Promise((resolve) => setImmediate(resolve)));
  };

  /** Lives several lives, then lets the restore come to its end. @throws when anything is not as it must be */
  async run(lives: number): Promise<void> {
    const signal = new AbortController().signal;
    await beginImage(this.#partsOf(this.#image), signal);
    for (let life = 0; life < lives && !this.#isCompleted; life++) await this.#live();
    await this.#finish();
  }

  #partsOf(image: ForgetfulImage, failing = 0.02): ConstructorParameters<typeof Restore>[0] {
    image.pause = this.#pause;
    const source: BlockDevice = new SlowSource(this.#snapshot, this.#pause, this.#choices, failing);
    return {
      image,
      source,
      geometry: this.#candidate.geometry,
      secret: this.#candidate,
      clock: CLOCK,
      isServed: true,
      profile: this.#choices.chance(0.3) ? [3, 1, 200, 7] : [],
      onFinishing: async () => {
        await this.#pause();
        if (!image.hasEnded) this.#isFinishing = true;
      },
      onCompleted: async () => {
        await this.#pause();
        if (!image.hasEnded) this.#isCompleted = true;
      },
    };
  }

  /** Until a kill or a cut. */
  async #live(): Promise<void> {
    const image = this.#image;
    const restore = new Restore(this.#partsOf(image));
    const fails = this.#choices.chance(0.5) ? 0.03 : 0;
    image.failsWrite = () => this.#choices.chance(fails);
    image.endsAt = image.calls + this.#choices.pick([1, 5, 20, 60, 200, 1000]) * this.#choices.integer(1, 3);
    const running = this.#choices.chance(0.8) ? restore.run().catch(() => undefined) : Promise.resolve();
    await this.#operate(restore, image);
    image.endsAt = 0;
    await restore.close();
    await running;
    const how = this.#choices.chance(0.5) ? 'kill' : 'cut';
    this.counts[how === 'kill' ? 'kills' : 'cuts'] += 1;
    this.#image = how === 'kill' ? image.afterKill() : image.afterCut(this.#random, this.#choices.pick([512, 512, 8]));
    await this.#lookAround(how);
  }

  /** Finds the image again, and reads all of it as a guest would. */
  async #lookAround(how: 'kill' | 'cut'): Promise<void> {
    const stranger = { ...this.#candidate, secret: Buffer.alloc(32, 1) };
    const found = await recogniseImage(this.#image, [stranger, this.#candidate]);
    if (found !== this.#candidate && !this.#isFinishing) throw new Error('the image is not recognised');
    const restore = new Restore(this.#partsOf(this.#image, 0));
    const bytes = Buffer.alloc(this.#snapshot.length);
    await restore.device.read(0, bytes);
    await restore.close();
    this.#oracle.check(0, bytes, how);
    this.#oracle.settle(bytes, how);
  }

  async #operate(restore: Restore, image: ForgetfulImage): Promise<void> {
    const busy: { from: number; to: number }[] = [];
    const underWay = new Set<Promise<void>>();
    for (let step = this.#choices.integer(0, 60); step > 0 && !image.hasEnded; step--) {
      const length = Math.min(this.#choices.pick([1, 8, 512, 4096, 5000, 40_000]), this.#snapshot.length);
      const at = this.#place(length);
      if (busy.some(({ from, to }) => at < to && at + length > from)) continue;
      const extent = { from: at, to: at + length };
      busy.push(extent);
      const work = this.#operation(restore, image, at, length)
        .catch((error: unknown) => {
          if (!image.hasEnded && !PASSING.has((error as SgwError).code)) throw error;
        })
        .finally(() => {
          underWay.delete(work);
          busy.splice(busy.indexOf(extent), 1);
        });
      underWay.add(work);
      if (underWay.size >= 4 || this.#choices.chance(0.3)) await Promise.race(underWay);
      if (this.#choices.chance(0.2)) await this.#pause();
    }
    await Promise.all(underWay);
  }

  #place(length: number): number {
    const last = this.#snapshot.length - length;
    const { blockBytes } = this.#candidate.geometry;
    const at = this.#choices.integer(0, last);
    // Often where a mark is.
    return this.#choices.chance(0.5) ? Math.min(last, at - (at % blockBytes)) : at;
  }

  async #operation({ device }: Restore, image: ForgetfulImage, at: number, length: number): Promise<void> {
    const kind = this.#choices.pick([
      'read',
      'read',
      'write',
      'write',
      'write',
      'zero',
      'trim',
      'flush',
      'extents',
    ] as const);
    if (kind === 'read') {
      const target = Buffer.alloc(length);
      await device.read(at, target);
      this.counts.reads += 1;
      this.#oracle.check(at, target, 'running');
      return;
    }
    if (kind === 'extents') {
      await device.extents(at, length, 5);
      return;
    }
    if (kind === 'flush') {
      const tokens = this.#oracle.flushBegins();
      await device.flush();
      this.counts.flushes += 1;
      this.#oracle.flushEnds(tokens);
      return;
    }
    const data = kind === 'write' ? this.#random.bytes(length) : Buffer.alloc(length);
    const token = this.#oracle.begin(at, data);
    if (kind === 'write') await device.write(at, data);
    else if (kind === 'trim') await device.trim(at, length);
    else await device.writeZeroes(at, length, { mayTrim: this.#choices.chance(0.5) });
    if (image.hasEnded) return;
    this.#oracle.end(token);
    this.counts.writes += 1;
  }

  async #finish(): Promise<void> {
    this.#image.endsAt = undefined;
    const restore = new Restore(this.#partsOf(this.#image));
    const running = restore.run();
    await this.#operate(restore, this.#image);
    await running;
    if (!this.#isFinishing || !restore.progress.isCompleted) throw new Error('it did not come to its end');
    const tokens = this.#oracle.flushBegins();
    await restore.device.flush();
    this.#oracle.flushEnds(tokens);
    await restore.close();
    this.counts.completed += 1;
    this.#oracle.check(0, this.#image.bytes, 'running');
    this.#oracle.check(0, this.#image.afterCut(this.#random, 8).bytes, 'cut');
  }
}
