/**
 * An image in memory. Cutting the power keeps what was synced, and any part, sector by sector, of what was written since; the end
 * of the process keeps everything. Notes every state that it ever had.
 */
import { createHash } from 'node:crypto';
import type { Clock, Random } from '../../src/core/kit/index.ts';
import type { SgwError } from '../../src/core/kit/index.ts';
import type { ImageFacts, ImageFile } from '../../src/core/image/index.ts';

const SECTOR_BYTES = 512;
const PAGE_BYTES = 4096;

interface Written {
  readonly at: number;
  readonly bytes: Buffer;
}

export class NotedImage implements ImageFile {
  readonly path = '/images/disk.img';
  readonly kind = 'file';
  readonly fd = undefined;
  protected readonly clock: Clock;
  /** Of `live`. */
  #hash = new Uint32Array(4);
  /** Hashes of every state, shared with what comes after. */
  readonly states: Set<string>;
  live: Buffer;
  durable: Buffer;
  unsynced: Written[] = [];
  modifiedMs: number;
  /** Writes fail with this from now on, after half of them. */
  failWrites: SgwError | undefined;
  readsWait = false;
  /** How often a restore of it came to its end. */
  completed = 0;

  constructor(clock: Clock, live: Buffer, states = new Set<string>(), modifiedMs = clock.nowMs()) {
    this.clock = clock;
    this.live = live;
    this.durable = Buffer.from(live);
    this.states = states;
    this.modifiedMs = modifiedMs;
    this.note();
  }

  get sizeBytes(): number {
    return this.live.length;
  }

  /** Before it is used, and after each end of the process. */
  async begin(): Promise<void> {
    await Promise.resolve();
  }

  /** As it is found after the process has ended at any moment. */
  afterKill(): NotedImage {
    const next = new NotedImage(this.clock, Buffer.from(this.live), this.states, this.modifiedMs);
    next.durable = Buffer.from(this.durable);
    next.unsynced = [...this.unsynced];
    return next;
  }

  /** As it is found when the power is back. */
  afterCut(random: Random): NotedImage {
    const kept = random.float();
    const live = Buffer.from(this.durable);
    for (const { at, bytes } of this.unsynced)
      for (let sector = 0; sector < bytes.length;) {
        const end = Math.min(bytes.length, sector + SECTOR_BYTES - ((at + sector) % SECTOR_BYTES));
        if (random.float() < kept) bytes.copy(live, at + sector, sector, end);
        sector = end;
      }
    return new NotedImage(this.clock, live, this.states, this.modifiedMs);
  }

  /** Somebody else writes to it. */
  writeBehind(at: number, bytes: Buffer): void {
    bytes.copy(this.live, at);
    bytes.copy(this.durable, at);
    this.modifiedMs = this.clock.nowMs();
    this.note();
  }

  /** What was cut off by somebody else. */
  cut = Buffer.alloc(0);
  #cutTo: number | undefined;

  /** Somebody else cuts off its end, which reads as a hole from then on. */
  truncate(sizeBytes: number): void {
    this.cut = Buffer.from(this.live.subarray(sizeBytes));
    this.live.fill(0, sizeBytes);
    this.#cutTo = sizeBytes;
    this.modifiedMs = this.clock.nowMs();
  }

  protected note(): void {
    this.#hash = hashOf(this.live);
    this.states.add(named(this.#hash));
  }

  /**
   * Applies a write page by page in the order in which the log takes them, the parts of pages first: the records of a write
   * may be cut in between, as a power cut would.
   */
  protected apply(position: number, bytes: Buffer): void {
    const end = position + bytes.length;
    const firstWhole = Math.ceil(position / PAGE_BYTES);
    const endWhole = Math.floor(end / PAGE_BYTES);
    const ends = [Math.floor(position / PAGE_BYTES), Math.floor((end - 1) / PAGE_BYTES)];
    const parts = new Set(ends.filter((page) => page < firstWhole || page >= endWhole));
    const whole = Array.from({ length: Math.max(0, endWhole - firstWhole) }, (_, i) => firstWhole + i);
    for (const page of [...parts, ...whole]) {
      const from = Math.max(position, page * PAGE_BYTES);
      const to = Math.min(end, (page + 1) * PAGE_BYTES);
      mix(this.#hash, this.live, page);
      bytes.copy(this.live, from, from - position, to - position);
      mix(this.#hash, this.live, page);
      this.states.add(named(this.#hash));
    }
  }

  readNow(position: number, target: Uint8Array): boolean {
    if (this.readsWait) return false;
    target.set(this.live.subarray(position, position + target.length));
    return true;
  }

  async read(position: number, target: Uint8Array): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    target.set(this.live.subarray(position, position + target.length));
  }

  readSync(position: number, target: Uint8Array): void {
    target.set(this.live.subarray(position, position + target.length));
  }

  write(position: number, data: Uint8Array): void {
    const fails = this.failWrites;
    const bytes = Buffer.from(fails === undefined ? data : data.subarray(0, data.length >> 1));
    this.apply(position, bytes);
    this.unsynced.push({ at: position, bytes });
    this.modifiedMs = this.clock.nowMs();
    if (fails !== undefined) throw fails;
  }

  zero(position: number, length: number): void {
    this.write(position, Buffer.alloc(length));
  }

  async sync(): Promise<void> {
    const count = this.unsynced.length;
    await new Promise((resolve) => setImmediate(resolve));
    for (const { at, bytes } of this.unsynced.splice(0, count)) bytes.copy(this.durable, at);
  }

  async *dataExtents(from: number, to: number): AsyncIterable<{ readonly offset: number; readonly length: number }> {
    await Promise.resolve();
    const end = Math.min(to, this.sizeBytes);
    if (from < end) yield { offset: from, length: end - from };
  }

  facts(): ImageFacts {
    const modifiedAtNs = BigInt(Math.round(this.modifiedMs * 1e6));
    return {
      ...{ sizeBytes: this.#cutTo ?? this.sizeBytes, device: '1', inode: '2', links: 1 },
      ...{ modifiedAtNs, changedAtNs: modifiedAtNs },
    };
  }

  isInPlace(): boolean {
    return true;
  }

  async close(): Promise<void> {
    await Promise.resolve();
  }
}

/** Adds a page to a sum of hashes, or takes it out again. */
function mix(sum: Uint32Array, bytes: Uint8Array, page: number): void {
  const index = Buffer.alloc(4);
  index.writeUInt32LE(page);
  const own = bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
  const digest = createHash('sha1').update(index).update(own).digest();
  for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] ?? 0) ^ digest.readUInt32LE(i * 4);
}

function hashOf(bytes: Uint8Array): Uint32Array<ArrayBuffer> {
  const sum = new Uint32Array(4);
  for (let page = 0; page * PAGE_BYTES < bytes.length; page++) mix(sum, bytes, page);
  return sum;
}

const named = (sum: Uint32Array): string => sum.join('.');

/** The name of a state, as images note it. */
export const stateOf = (bytes: Uint8Array): string => named(hashOf(bytes));
