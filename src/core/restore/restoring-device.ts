/**
 * An image that is being restored, as a block device (C25). What is not restored yet is read from the snapshot, and restored
 * soon after; a write first restores what is above it in the tree, and fetches only blocks that it does not cover.
 *
 * Invariants: a write is in the kernel's page cache when it is acknowledged, over blocks whose marks are overwritten there; so it
 * survives the end of the process, and, after `flush`, loss of power. No write leaves a mark, or a part of one, where one can be.
 */
import type {
  BlockDevice,
  Completion,
  DeviceCall,
  DeviceExtent,
  DeviceLimits,
  WriteCall,
  ZeroCall,
} from '../blockdevice/index.ts';
import type { ImageFile } from '../image/index.ts';
import { assert, MIB, SgwError, throwIfAborted, type Clock } from '../kit/index.ts';
import type { GivenContent } from './block-content.ts';
import type { BlockTree } from './block-tree.ts';
import type { Demand } from './demand.ts';
import { deviceExtents } from './device-extents.ts';
import { MARK_BYTES } from './geometry.ts';
import { ImageDevice } from './image-device.ts';
import type { Marks } from './marks.ts';
import type { Rounds } from './rounds.ts';
import type { SharedSync } from './shared-sync.ts';

/** Blocks that one trim restores together. */
const TRIM_BLOCKS_MAX = 256;

export interface RestoringDeviceParts {
  readonly tree: BlockTree;
  readonly marks: Marks;
  readonly rounds: Rounds;
  readonly demand: Demand;
  readonly image: ImageFile;
  readonly source: BlockDevice;
  readonly syncs: SharedSync;
  readonly clock: Clock;
  /** Fires when the restore is closed. */
  readonly closing: AbortSignal;
}

type Change = (offset: number, from: number, length: number) => void;

export class RestoringDevice implements BlockDevice {
  readonly limits: DeviceLimits = { blockBytesMin: 1, blockBytesPreferred: 4096, payloadBytesMax: 32 * MIB };
  readonly isReadOnly = false;
  readonly sizeBytes: number;
  readonly #parts: RestoringDeviceParts;
  readonly #image: ImageDevice;
  /** Everything is restored, and no mark means anything any more. */
  #isPlain = false;

  constructor(parts: RestoringDeviceParts) {
    this.#parts = parts;
    this.sizeBytes = parts.tree.blocks.sizeBytes;
    this.#image = new ImageDevice(parts.image, this.sizeBytes, parts.syncs);
    this.#isPlain = parts.tree.blocks.count === 0;
  }

  /** The restore is completed for good: from now on it is an image as any other. */
  becomePlain(): void {
    this.#isPlain = true;
  }

  read(offset: number, target: Buffer, call?: DeviceCall): Completion {
    assert(offset + target.length <= this.sizeBytes, 'a read lies within the image');
    if (target.length === 0) return undefined;
    if (!this.isReady(offset, target.length)) return this.#readMixed(offset, target, call?.signal);
    return this.#image.read(offset, target, call);
  }

  /** Whether all of an extent is in the image, so that reads and writes of it wait for no block; notes that it is touched. */
  isReady(offset: number, length: number): boolean {
    if (this.#isPlain) return true;
    const { tree, demand } = this.#parts;
    const first = tree.blocks.at(offset);
    const last = tree.blocks.at(offset + length - 1);
    demand.touch(first, last);
    return tree.areRestored(first, last);
  }

  async #readMixed(offset: number, target: Buffer, signal = this.#parts.closing): Promise<void> {
    const { tree, source, demand, clock } = this.#parts;
    const { blocks } = tree;
    const startedMs = clock.monotonicMs();
    const end = offset + target.length;
    const reading: Promise<void>[] = [];
    let isFetched = false;
    for (let at = offset; at < end;) {
      const isInImage = await this.#isInImage(blocks.at(at), signal);
      let next = Math.min(blocks.endOf(blocks.at(at)), end);
      const wanted = isInImage ? [] : [blocks.at(at)];
      while (next < end && (await this.#isInImage(blocks.at(next), signal)) === isInImage) {
        if (!isInImage) wanted.push(blocks.at(next));
        next = Math.min(blocks.endOf(blocks.at(next)), end);
      }
      const piece = target.subarray(at - offset, next - offset);
      const read = isInImage ? this.#image.read(at, piece, { signal }) : source.read(at, piece, { signal });
      if (read !== undefined) reading.push(seenLater(read));
      for (const block of wanted) demand.want(block);
      isFetched ||= !isInImage;
      at = next;
    }
    await Promise.all(reading);
    if (isFetched) demand.countRead(startedMs);
  }

  async #isInImage(block: number, signal: AbortSignal): Promise<boolean> {
    const { tree } = this.#parts;
    for (;;) {
      const path = tree.pathTo(block);
      if (path !== undefined) return path.length === 0;
      await tree.learn(block, signal);
    }
  }

  write(offset: number, data: Buffer, call?: WriteCall): Completion {
    const { image } = this.#parts;
    assert(offset + data.length <= this.sizeBytes, 'a write lies within the image');
    if (data.length === 0) return undefined;
    this.#refuseMarks(offset, data);
    if (this.isReady(offset, data.length)) return this.#image.write(offset, data, call);
    const put: Change = (at, from, length) => {
      // What was read to judge parts of sectors may have been overwritten since.
      this.#refuseMarks(at, data.subarray(from, from + length));
      image.write(at, data.subarray(from, from + length));
    };
    return this.#change(offset, data.length, giving({ data }), put, call);
  }

  /**
   * Restores all of an extent for somebody who will write it anew as a whole, through `write` or `writeZeroes`: blocks within
   * hold `content` from here on, and are not fetched.
   */
  async prepare(offset: number, length: number, content: GivenContent, signal?: AbortSignal): Promise<void> {
    if ('data' in content) this.#refuseMarks(offset, content.data);
    const call = signal === undefined ? {} : { signal };
    await this.#change(offset, length, giving(content), () => undefined, call);
  }

  trim(offset: number, length: number, call?: WriteCall): Completion {
    return this.writeZeroes(offset, length, { ...call, mayTrim: true });
  }

  writeZeroes(offset: number, length: number, call?: ZeroCall): Completion {
    const { image } = this.#parts;
    assert(offset + length <= this.sizeBytes, 'zeroes lie within the image');
    if (length === 0) return undefined;
    const mayTrim = call?.mayTrim === true;
    if (this.isReady(offset, length)) return this.#image.writeZeroes(offset, length, call);
    if (call?.fastOnly === true)
      throw new SgwError('unsupported', 'zeroes-slow', 'what is not restored yet is not made zero fast');
    const put: Change = (at, _from, count) => {
      image.zero(at, count, mayTrim);
    };
    return this.#change(offset, length, giving({ zero: true, mayTrim }), put, call);
  }

  /** Restores what a change needs, block by block up to a bound, and makes it. */
  async #change(
    offset: number,
    length: number,
    give: (from: number, length: number) => GivenContent,
    put: Change,
    call: WriteCall | undefined,
  ): Promise<void> {
    const { tree, rounds, demand, closing } = this.#parts;
    const { blocks } = tree;
    const signal = call?.signal === undefined ? closing : AbortSignal.any([call.signal, closing]);
    const end = offset + length;
    for (let at = offset; at < end;) {
      throwIfAborted(signal);
      const first = blocks.at(at);
      const last = Math.min(blocks.at(end - 1), first + TRIM_BLOCKS_MAX - 1);
      const stop = Math.min(blocks.endOf(last), end);
      const targets = Array.from({ length: last - first + 1 }, (_, i) => first + i);
      const given = new Map<number, GivenContent>();
      for (const block of targets) {
        const from = blocks.offsetOf(block);
        if (from >= at && blocks.endOf(block) <= stop) given.set(block, give(from - offset, blocks.lengthOf(block)));
      }
      demand.wait();
      const used = await rounds.restore(targets, signal, given);
      // From here on nothing waits: a later call sees all of it.
      for (const block of targets) {
        if (used.has(block)) continue;
        const from = Math.max(at, blocks.offsetOf(block));
        put(from, from - offset, Math.min(stop, blocks.endOf(block)) - from);
      }
      at = stop;
    }
    if (call?.fua === true) await this.flush();
  }

  flush(): Completion {
    return this.#image.flush();
  }

  prefetch(offset: number, length: number, call?: DeviceCall): Completion {
    if (length === 0 || this.isReady(offset, length)) return undefined;
    return this.#parts.source.prefetch(offset, length, call);
  }

  async extents(offset: number, length: number, piecesMax: number, call?: DeviceCall): Promise<DeviceExtent[]> {
    if (this.#isPlain) return await this.#image.extents(offset, length, piecesMax, call);
    const { image, source, tree, closing } = this.#parts;
    const signal = call?.signal ?? closing;
    const isInImage = async (block: number): Promise<boolean> => this.#isInImage(block, signal);
    const from = { image, source, blocks: tree.blocks, isInImage };
    return await deviceExtents(from, { offset, length, piecesMax }, signal);
  }

  /** @throws denied `mark-refused` when a sector where a mark can be would have a part of it */
  #refuseMarks(offset: number, data: Buffer): void {
    if (this.#isPlain) return;
    const { tree, marks, image } = this.#parts;
    const { blocks } = tree;
    const end = offset + data.length;
    for (let block = blocks.at(offset); block < blocks.count && blocks.offsetOf(block) < end; block++) {
      const at = blocks.offsetOf(block);
      if (at + MARK_BYTES <= offset) continue;
      const sector = Buffer.alloc(MARK_BYTES);
      const isWhole = offset <= at && end >= at + MARK_BYTES;
      if (!isWhole && tree.isRestored(block)) image.readSync(at, sector);
      data.copy(sector, Math.max(0, offset - at), Math.max(0, at - offset));
      if (marks.isIn(block, sector)) throw markRefused(at);
    }
  }
}

const giving =
  (content: GivenContent) =>
  (from: number, length: number): GivenContent =>
    'data' in content ? { data: content.data.subarray(from, from + length) } : content;

/** A failure is seen by who waits for it; until then it must not count as unhandled. */
function seenLater(work: Promise<void>): Promise<void> {
  work.catch(() => undefined);
  return work;
}

const markRefused = (offset: number): SgwError =>
  new SgwError(
    'denied',
    'mark-refused',
    `a write at ${String(offset)} holds what marks an unrestored block of this image, and is refused`,
    { hint: 'It was read from the image itself, behind the gateway. It can be written when the restore is completed.' },
  );
