/**
 * Snapshots that are written block by block through the API (C29, docs/adr/0022-upload-sessions.md). The session is in the
 * snapshot's entry, the blocks are objects under `uploads/<snapshotId>/`; any number of servers write them, without an epoch.
 *
 * States of the entry: `pending` with an upload that is `open`, then `sealing`, then `completed` with one that is `sealed`;
 * from the first two `failed`. Each step is one compare-and-set.
 *
 * Invariants:
 * - A block is acknowledged only when the entry was found open, its object being stored, by a read that began a moment ago at
 *   most (`RECENT_MS`). Who builds waits that long once the entry is `sealing`, and then lists the objects: what is
 *   acknowledged is in the list.
 * - Writes of one block are numbered without holes, each created once: the highest number is the newest write.
 * - The map object of a sealing snapshot is created once, and only by who has checked the list of blocks against what the
 *   client said. Whoever finds it there takes it as it is. So all who complete it, make the same snapshot of it.
 */
import { createHash } from 'node:crypto';
import {
  SgwError,
  assert,
  newServiceSnapshotId,
  newServiceVolumeId,
  serviceSnapshotId,
  type Random,
  type SnapshotId,
  type VolumeId,
} from '../../kit/index.ts';
import type { ReadBlock } from '../blocks/index.ts';
import { Catalog, readSnapshotOrSession } from '../catalog.ts';
import { isCorrupt } from '../damage.ts';
import { createDocument, readDocument } from '../documents.ts';
import type { SnapshotEntry, UploadRecord } from '../entries.ts';
import { API_BLOCK_BYTES, checkVolumeSize } from '../geometry.ts';
import { keys, uploadOfKey } from '../keys.ts';
import type { Checkpoint } from '../map-object.ts';
import { withSignal, type BlockStoreOptions } from '../options.ts';
import { RECENT_SETTLED_MS, RecentReads } from '../recent-reads.ts';
import { expired, isUpload, type UploadEntry } from '../upload-entry.ts';
import { readSegmentIndex } from '../segment-reader.ts';
import { encodeBlockObject } from './block-object.ts';
import { buildUpload } from './build.ts';
import { readUploadedBlock } from './read-block.ts';
import { blocksOf, claimedOtherwise, notFound, notOpen, outOfRange, sealedStore, writeConflict } from './refusals.ts';

/** How long a snapshot that is sealing may take to be completed, by servers that die and come back. */
const SEALING_MS = 24 * 60 * 60_000;
/** A deadline is moved on by this part of the timeout more than it has to be, so that few blocks write the entry. */
const DEADLINE_SLACK = 1.25;
/** Writes of one block. */
const WRITES_MAX = 4096;
/** Enough for all but the frames of a block's object. */
const TAIL_BYTES = 8 * 1024;

export interface NewUpload {
  readonly accountId: string;
  /** Empty: its id. */
  readonly name: string;
  /** A multiple of 512 KiB. */
  readonly sizeBytes: number;
  readonly description: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  /** Completed; the new snapshot reads as it where nothing is written. */
  readonly parent: SnapshotEntry | null;
  /** The same token again, of the same account, with the same request: the snapshot that it began. */
  readonly clientToken: string | null;
  /** Of which volume it is listed as a snapshot; absent: of one that never was. */
  readonly volume?: VolumeOf;
  /**
   * The number of this session, from 0, of a volume of the block API. Such a session has an id that follows from both, is
   * never over, and, but for the first, has the one before as its parent, which is `sealing` still.
   */
  readonly session?: number;
}

/** What a snapshot says of its volume. */
interface VolumeOf {
  readonly volumeId: VolumeId;
  readonly name: string;
  readonly lineage: VolumeId;
}

/** What the client says of what it wrote, when it completes. */
export interface UploadClaim {
  /** Blocks that were written at least once; null: not told. */
  readonly blocks: number | null;
  /** SHA-256 over their SHA-256s (32 bytes each), in the order of blocks, hex; null: not told. */
  readonly checksum: string | null;
}

/** What a session of a volume becomes a snapshot as. */
export type SealedAs = Pick<SnapshotEntry, 'name' | 'description' | 'tags' | 'clientToken'>;

export class UploadStore {
  readonly #options: BlockStoreOptions;
  readonly #catalog: Catalog;
  readonly #entries: RecentReads<SnapshotEntry>;
  readonly #partBlocks: number | undefined;

  /** `closed` ends what goes on behind calls. `partBlocks`: how many blocks a part of a map is made of. */
  constructor(options: BlockStoreOptions, closed: AbortSignal, partBlocks?: number) {
    this.#options = options;
    this.#partBlocks = partBlocks;
    this.#catalog = new Catalog(options);
    const { clock } = options;
    this.#entries = new RecentReads(
      async (id, signal) => await readSnapshotOrSession(options, id as SnapshotId, signal),
      {
        clock,
        closed,
      },
    );
  }

  /**
   * Begins a snapshot, or finds the one that the client token has begun. Durable when it resolves.
   * @throws invalid `bad-volume-size`, `smaller-than-snapshot`; conflict `client-token-reused`, `snapshot-deleted` when the
   * parent was deleted meanwhile; unsupported `upload-sealed-store`; what `beforeNew` throws, which is called where there is
   * none yet
   */
  async start(
    wanted: NewUpload,
    signal?: AbortSignal,
    beforeNew?: () => Promise<void>,
  ): Promise<{ readonly entry: UploadEntry; readonly created: boolean }> {
    if (this.#options.keys !== undefined) throw sealedStore();
    checkSize(wanted);
    const fresh = this.#newEntry(wanted);
    const key = keys.snapshot(fresh.snapshotId);
    if (beforeNew !== undefined && (await readDocument(this.#options, key, signal)) === undefined) await beforeNew();
    const created = await createDocument(this.#options, key, fresh, signal);
    const entry = created ? fresh : await this.#begunBefore(fresh, signal);
    // Also of one that was begun before: who began it may have been stopped here. The session before one is there until it is.
    if (entry.state === 'pending' && wanted.parent !== null && (wanted.session ?? 0) === 0)
      await this.#requireParent(entry, wanted.parent, signal);
    return { entry, created };
  }

  #newEntry(wanted: NewUpload): UploadEntry {
    const { clock, random } = this.#options;
    const { accountId, name, sizeBytes, description, tags, timeoutMs, parent, clientToken, volume, session } = wanted;
    const nowMs = clock.nowMs();
    const of = volume ?? uploadedBefore(parent, accountId) ?? volumeThatNeverWas(random, parent);
    const token = clientToken === null ? newServiceSnapshotId(random) : idOfToken(accountId, clientToken);
    const snapshotId = session === undefined ? token : idOfSession(of.volumeId, session);
    return {
      snapshotId,
      name: name === '' ? snapshotId : name,
      state: 'pending',
      reason: null,
      volumeId: of.volumeId,
      volumeName: of.name,
      lineage: of.lineage,
      seq: 0,
      sizeBytes,
      mappedPages: 0,
      accountId,
      creators: [],
      createdAt: new Date(nowMs).toISOString(),
      completedAt: null,
      description,
      tags,
      clientToken,
      root: null,
      upload: {
        state: 'open',
        timeoutMs,
        deadline: deadlineFrom(nowMs, timeoutMs),
        parent: parent && { snapshotId: parent.snapshotId, root: parent.root },
        request: requestOf(wanted),
        ...(session === undefined ? {} : { session }),
      },
    };
  }

  async #begunBefore(wanted: UploadEntry, signal?: AbortSignal): Promise<UploadEntry> {
    const stored = await readDocument<SnapshotEntry>(this.#options, keys.snapshot(wanted.snapshotId), signal);
    const entry = stored?.value;
    if (entry !== undefined && isUpload(entry) && entry.state !== 'deleted') {
      if (entry.upload.request === wanted.upload.request) return entry;
    }
    throw new SgwError(
      'conflict',
      'client-token-reused',
      `the client token was used for snapshot ${wanted.snapshotId} already`,
      { hint: 'Use a new token for a new request.', details: { snapshotId: wanted.snapshotId } },
    );
  }

  /**
   * A parent that is deleted keeps nothing alive for what is being made of it. While it is there after the new entry is, no
   * mark of gc misses what both reach (C11).
   */
  async #requireParent(entry: UploadEntry, parent: SnapshotEntry, signal?: AbortSignal): Promise<void> {
    const now = await readDocument<SnapshotEntry>(this.#options, keys.snapshot(parent.snapshotId), signal);
    if (now?.value.state === 'completed') return;
    await this.fail(entry.snapshotId, `its parent ${parent.snapshotId} was deleted`, signal);
    throw new SgwError(
      'conflict',
      'snapshot-deleted',
      `snapshot ${parent.name} was deleted while it was made a parent`,
      {
        hint: 'Choose another snapshot: `sgw snapshot list`.',
        details: { snapshotId: parent.snapshotId },
      },
    );
  }

  /** The entry as it is now. @throws notFound `snapshot-not-found`, also of one that no upload made */
  async get(snapshotId: SnapshotId, signal?: AbortSignal): Promise<UploadEntry> {
    return requireUpload(await this.#entries.fresh(snapshotId, signal));
  }

  /** The entry of any snapshot, as it was at most a moment ago. @throws notFound `snapshot-not-found` */
  async recent(snapshotId: SnapshotId, signal?: AbortSignal): Promise<SnapshotEntry> {
    return await this.#entries.get(snapshotId, signal);
  }

  /**
   * Stores a block: `bytes` are all its 512 KiB, `sha256` theirs (hex). What was written to it before is replaced. Durable,
   * and part of what completing will find, when it resolves.
   * @throws invalid `block-out-of-range`; conflict `upload-not-open`, `block-write-conflict` when somebody else wrote other
   * bytes to the block at the same time
   */
  async put(
    snapshotId: SnapshotId,
    write: { readonly block: number; readonly bytes: Buffer; readonly sha256: string },
    signal?: AbortSignal,
  ): Promise<void> {
    const { block } = write;
    const entry = requireUpload(await this.#entries.get(snapshotId, signal));
    if (block < 0 || block >= blocksOf(entry.sizeBytes)) throw outOfRange(entry, block);
    this.requireOpen(entry);
    await this.#store(entry, write, signal);
    // Only now: whoever seals it after this finds the block in his list.
    const now = requireUpload(await this.#entries.get(snapshotId, signal));
    this.requireOpen(now);
    await this.#moveDeadline(now, signal);
  }

  /** @throws conflict `upload-not-open` */
  requireOpen(entry: UploadEntry): void {
    if (entry.state === 'pending' && entry.upload.state === 'open' && !this.isExpired(entry)) return;
    throw notOpen(entry, this.isExpired(entry));
  }

  isExpired({ state, upload }: UploadEntry): boolean {
    return state === 'pending' && Date.parse(upload.deadline) <= this.#options.clock.nowMs();
  }

  async #store(
    entry: UploadEntry,
    { block, bytes, sha256 }: { readonly block: number; readonly bytes: Buffer; readonly sha256: string },
    signal?: AbortSignal,
  ): Promise<void> {
    const { objects, random, clock } = this.#options;
    const { snapshotId, volumeId, sizeBytes, accountId } = entry;
    let number = 0;
    for (;;) {
      const key = keys.uploadedWrite(snapshotId, block, number);
      const facts = {
        snapshotId,
        volumeId,
        sizeBytes,
        accountId,
        block,
        sha256,
        segmentId: random.bytes(16).toString('hex'),
        writtenAtMs: clock.nowMs(),
      };
      const { body } = encodeBlockObject(key, facts, bytes);
      const result = await objects.put(key, body, { condition: { ifAbsent: true }, ...withSignal(signal) });
      if (result.outcome === 'stored') return;
      const there = await this.#shaAt(key, signal);
      // At the first number it may be of long ago; at a later one, somebody else took it between our list and our write.
      if (number > 0) {
        if (there === sha256) return;
        throw writeConflict(snapshotId, block);
      }
      const newest = Math.max(0, await this.#newestWrite(snapshotId, block, signal));
      if (newest === 0 && there === sha256) return;
      if (newest > 0 && (await this.#shaAt(keys.uploadedWrite(snapshotId, block, newest), signal)) === sha256) return;
      if (newest + 1 >= WRITES_MAX) throw writeConflict(snapshotId, block);
      number = newest + 1;
    }
  }

  /** The SHA-256 of the block in an object, hex; undefined where that is damaged: then it is as good as another one. */
  async #shaAt(key: string, signal?: AbortSignal): Promise<string | undefined> {
    try {
      return (await readSegmentIndex(this.#options, key, signal, TAIL_BYTES))?.footer.upload?.sha256;
    } catch (error) {
      if (!isCorrupt(error)) throw error;
      return undefined;
    }
  }

  /** -1 when there is none. */
  async #newestWrite(snapshotId: SnapshotId, block: number, signal?: AbortSignal): Promise<number> {
    let newest = -1;
    const prefix = keys.uploadedBlock(snapshotId, block);
    for await (const { key } of this.#options.objects.list(prefix, withSignal(signal))) {
      const name = uploadOfKey(key);
      if (name?.kind === 'block') newest = name.write;
    }
    return newest;
  }

  async #moveDeadline({ snapshotId, upload }: UploadEntry, signal?: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const isDue = ({ deadline, timeoutMs }: UploadRecord): boolean => Date.parse(deadline) - clock.nowMs() < timeoutMs;
    if (!isDue(upload)) return;
    await this.#change(
      snapshotId,
      (now) =>
        now.state === 'pending' && now.upload.state === 'open' && isDue(now.upload)
          ? { ...now, upload: { ...now.upload, deadline: deadlineFrom(clock.nowMs(), now.upload.timeoutMs) } }
          : now,
      signal,
    );
  }

  /** How many blocks were written until now. Costs a list of them. */
  async countBlocks(snapshotId: SnapshotId, signal?: AbortSignal): Promise<number> {
    let blocks = 0;
    for await (const _ of this.written(snapshotId, 0, signal)) blocks += 1;
    return blocks;
  }

  /** What was written to a block last, all 512 KiB; undefined when nothing was. @throws corrupt */
  async read(snapshotId: SnapshotId, block: number, signal?: AbortSignal): Promise<ReadBlock | undefined> {
    const newest = await this.#newestWrite(snapshotId, block, signal);
    if (newest < 0) return undefined;
    return await readUploadedBlock(this.#options, keys.uploadedWrite(snapshotId, block, newest), signal);
  }

  /** The blocks from `fromBlock` on that were written, ascending. */
  async *written(snapshotId: SnapshotId, fromBlock: number, signal?: AbortSignal): AsyncGenerator<number> {
    const startAfter = keys.uploadedBlock(snapshotId, fromBlock);
    let last = -1;
    const listed = this.#options.objects.list(keys.uploadsOf(snapshotId), { startAfter, ...withSignal(signal) });
    for await (const { key } of listed) {
      const name = uploadOfKey(key);
      if (name?.kind !== 'block' || name.block === last) continue;
      last = name.block;
      yield last;
    }
  }

  /**
   * Takes no more blocks from here on; a session of a volume becomes a snapshot `as` is told. Again with the same claim:
   * nothing. Durable when it resolves.
   * @throws conflict `upload-not-open`, `upload-claimed-otherwise`
   */
  async seal(
    snapshotId: SnapshotId,
    { blocks, checksum }: UploadClaim,
    signal?: AbortSignal,
    as?: SealedAs,
  ): Promise<UploadEntry> {
    const { clock } = this.#options;
    return await this.#change(
      snapshotId,
      (now) => {
        const { sealed } = now.upload;
        if (sealed !== undefined) {
          if (sealed.blocks === blocks && sealed.checksum === checksum) return now;
          throw claimedOtherwise(now);
        }
        this.requireOpen(now);
        const nowMs = clock.nowMs();
        return {
          ...now,
          ...(as === undefined ? {} : { ...as, createdAt: new Date(nowMs).toISOString() }),
          upload: {
            ...now.upload,
            state: 'sealing',
            deadline: new Date(nowMs + Math.max(SEALING_MS, as === undefined ? 0 : now.upload.timeoutMs)).toISOString(),
            sealed: { at: new Date(nowMs).toISOString(), blocks, checksum },
          },
        };
      },
      signal,
    );
  }

  /**
   * Makes the map of a snapshot that is sealing, and completes it; one that is not any more stays as it is. May be called by
   * any number of servers, and again after any failure. Returns the entry as it then is: `completed`, or `failed` where what
   * was written is not what the client said. `before` is done when the map is stored and the entry is still `sealing`.
   */
  async build(
    snapshotId: SnapshotId,
    signal?: AbortSignal,
    before?: (root: Checkpoint['root']) => Promise<void>,
  ): Promise<UploadEntry> {
    const entry = await this.get(snapshotId, signal);
    if (entry.state !== 'pending' || entry.upload.state !== 'sealing') return entry;
    // Until nobody takes blocks any more who has read it before it was sealed.
    await this.#options.clock.sleep(RECENT_SETTLED_MS, signal);
    const built = await buildUpload(this.#options, entry, signal, this.#partBlocks);
    if ('problem' in built) return await this.fail(snapshotId, built.problem, signal);
    const { checkpoint } = built;
    await before?.(checkpoint.root);
    return await this.#change(
      snapshotId,
      (now) =>
        now.state === 'pending' && now.upload.state === 'sealing'
          ? {
              ...now,
              state: 'completed',
              mappedPages: checkpoint.mappedPages,
              creators: checkpoint.root?.creators ?? [],
              completedAt: new Date(this.#options.clock.nowMs()).toISOString(),
              root: checkpoint.root,
              upload: { ...now.upload, state: 'sealed' },
            }
          : now,
      signal,
    );
  }

  /** Gives a pending snapshot up, for a reason that people read. One that is not pending stays as it is. */
  async fail(snapshotId: SnapshotId, reason: string, signal?: AbortSignal): Promise<UploadEntry> {
    return await this.#change(
      snapshotId,
      (now) => (now.state === 'pending' ? { ...now, state: 'failed', reason } : now),
      signal,
    );
  }

  /** Gives the snapshot up if its time is over. */
  async expire(snapshotId: SnapshotId, signal?: AbortSignal): Promise<UploadEntry> {
    return await this.#change(snapshotId, (now) => expired(now, this.#options.clock.nowMs()), signal);
  }

  async #change(
    snapshotId: SnapshotId,
    change: (now: UploadEntry) => UploadEntry,
    signal?: AbortSignal,
  ): Promise<UploadEntry> {
    const changed = await this.#catalog.updateSnapshot(
      snapshotId,
      (now) => {
        if (!isUpload(now)) throw notFound(snapshotId);
        return change(now);
      },
      signal,
    );
    assert(isUpload(changed), 'an upload stays one');
    return changed;
  }
}

function requireUpload(entry: SnapshotEntry): UploadEntry {
  if (isUpload(entry) && entry.state !== 'deleted') return entry;
  throw notFound(entry.snapshotId);
}

/** Snapshots that an account writes one on the other are listed as of one volume. */
function uploadedBefore(parent: SnapshotEntry | null, accountId: string): VolumeOf | undefined {
  if (parent?.upload === undefined || parent.accountId !== accountId) return undefined;
  return { volumeId: parent.volumeId, name: parent.volumeName, lineage: parent.lineage };
}

function volumeThatNeverWas(random: Random, parent: SnapshotEntry | null): VolumeOf {
  const volumeId = newServiceVolumeId(random);
  return { volumeId, name: volumeId, lineage: parent?.lineage ?? volumeId };
}

const deadlineFrom = (nowMs: number, timeoutMs: number): string =>
  new Date(nowMs + timeoutMs * DEADLINE_SLACK).toISOString();

/** One account's client token begins one snapshot, whichever server is asked, and however often. */
function idOfToken(accountId: string, clientToken: string): SnapshotId {
  return serviceSnapshotId(createHash('sha256').update(`sgw upload ${accountId} ${clientToken}`, 'utf8').digest('hex'));
}

/** Of a volume of the block API. No client token has such an id. */
export function idOfSession(volumeId: VolumeId, session: number): SnapshotId {
  const hash = createHash('sha256').update(`sgw session ${volumeId} ${String(session)}`, 'utf8');
  return serviceSnapshotId(hash.digest('hex'));
}

function requestOf({ sizeBytes, description, tags, timeoutMs, parent, volume }: NewUpload): string {
  const named = Object.entries(tags).sort(([a], [b]) => (a < b ? -1 : 1));
  const facts = [sizeBytes, description, named, timeoutMs, parent?.snapshotId ?? null, volume?.volumeId ?? null];
  return createHash('sha256').update(JSON.stringify(facts), 'utf8').digest('hex');
}

function checkSize({ sizeBytes, parent }: NewUpload): void {
  checkVolumeSize(sizeBytes);
  if (sizeBytes === 0 || sizeBytes % API_BLOCK_BYTES !== 0)
    throw new SgwError('invalid', 'bad-volume-size', `a snapshot of ${String(sizeBytes)} bytes has no whole blocks`, {
      hint: 'Give a multiple of 512 KiB.',
      details: { sizeBytes },
    });
  if (parent === null || sizeBytes >= parent.sizeBytes) return;
  throw new SgwError(
    'invalid',
    'smaller-than-snapshot',
    `a snapshot of ${String(sizeBytes)} bytes is smaller than its parent ${parent.snapshotId} with ${String(parent.sizeBytes)}`,
    { hint: 'Give a larger size.', details: { sizeBytes, snapshotBytes: parent.sizeBytes } },
  );
}
