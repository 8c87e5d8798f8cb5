/** Volumes of the block API: what an account does with its own (`sessions.ts` keeps what is written to them). */
import {
  API_BLOCK_BYTES,
  createDocument,
  changeDocument,
  readDocument,
  RecentReads,
  type SnapshotEntry,
} from '../../blockstore/index.ts';
import { BlockReader, type ReadBlock } from '../../blockstore/blocks/index.ts';
import { idOfSession, type SealedAs } from '../../blockstore/uploads/index.ts';
import { SgwError, toSgwError } from '../../kit/index.ts';
import { timeOf, type ServiceContext } from '../context.ts';
import type { Asker, ExportControl } from '../exportcontrol/export-control.ts';
import type { UploadParts } from '../blocks/snapshot-uploads.ts';
import type { Quotas } from '../quotas/quotas.ts';
import { notFoundResource } from '../identity/authorization.ts';
import { serviceKeys } from '../keys.ts';
import { hashOf } from '../secrets.ts';
import { ReadingTimes } from './reading-times.ts';
import { Sessions, type Session } from './sessions.ts';
import { requestHash, tokenReused, VolumeRecords, type VolumeRecord } from './volume-records.ts';

/** Sessions that a write, or a snapshot, may miss because they are sealed at that moment. */
const TRIES_MAX = 16;
/** How long who makes a snapshot waits for its map: mostly it is made by then. */
const WAIT_MS = 20_000;

export interface VolumeWish {
  readonly name: string;
  /** Null: that of the snapshot, in whole blocks. */
  readonly sizeBytes: number | null;
  readonly fromSnapshotId: string | null;
  readonly description: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly clientToken: string | null;
}

export type SnapshotWish = Pick<VolumeWish, 'description' | 'tags' | 'clientToken'> & { readonly name: string | null };

export interface BlockNumbers {
  readonly blocks: readonly number[];
  readonly sizeBytes: number;
  readonly nextToken: string | null;
}

/** A request to make a snapshot, by its client token. */
interface SnapshotToken {
  readonly volumeId: string;
  readonly request: string;
  /** The session that it makes one of; changed when another request was faster. */
  readonly session: number;
  readonly at: string;
}

export class BlockVolumes {
  readonly #context: ServiceContext;
  readonly #exports: ExportControl;
  readonly #quotas: Quotas;
  readonly #records: VolumeRecords;
  readonly #fresh: RecentReads<VolumeRecord>;
  readonly #closed = new AbortController();
  readonly #sessions: Sessions;
  readonly #reader: BlockReader;
  readonly #reading: ReadingTimes;

  constructor({ context, exports, quotas, log }: UploadParts) {
    this.#context = context;
    this.#exports = exports;
    this.#quotas = quotas;
    this.#records = new VolumeRecords(context);
    this.#fresh = new RecentReads(
      async (name, signal) => {
        const [accountId = '', volumeId = ''] = name.split(' ');
        return await this.#records.require(accountId, volumeId, signal);
      },
      { clock: context.blocks.clock, closed: this.#closed.signal },
    );
    this.#sessions = new Sessions(context, this.#records, log);
    this.#reader = new BlockReader(context.blocks);
    this.#reading = new ReadingTimes(context.blocks.clock);
  }

  /**
   * Creates a volume, or finds the one that the client token has created. Durable when it resolves.
   * @throws invalid `bad-volume-size`, `smaller-than-snapshot`; conflict `client-token-reused`, `snapshot-deleted`,
   * `snapshot-not-completed`; notFound `snapshot-not-found`, `volume-not-found` when it was deleted since; denied
   * `export-denied`, `quota-exceeded`; unsupported `blocks-sealed-store`
   */
  async create(asker: Asker, wish: VolumeWish, signal: AbortSignal): Promise<VolumeRecord> {
    const { accountId } = asker;
    const { clientToken, fromSnapshotId, ...rest } = wish;
    const request = requestHash([wish.name, wish.sizeBytes, fromSnapshotId, wish.description, sorted(wish.tags)]);
    const before =
      clientToken === null ? undefined : await this.#records.begunBy(accountId, clientToken, request, signal);
    if (before !== undefined && before.state !== 'creating') return stillThere(before);
    const from =
      fromSnapshotId === null
        ? null
        : await this.#exports.open(asker, { snapshotId: fromSnapshotId, purpose: 'clone' }, signal);
    const sizeBytes = sizeOf(wish.sizeBytes, from);
    const source = { fromSnapshotId: from?.snapshotId ?? null, lineage: from?.lineage ?? null };
    if (before === undefined) await this.#quotas.require(accountId, { volumes: 1, volumeBytes: sizeBytes }, signal);
    const record = await this.#records.create(
      { ...rest, accountId, sizeBytes, ...source, request, clientToken },
      signal,
    );
    if (record.state !== 'creating') return stillThere(record);
    await this.#sessions.begin(record, from, signal);
    return stillThere(
      await this.#records.change(
        record,
        (now) => (now.state === 'creating' ? { ...now, state: 'available' } : now),
        signal,
      ),
    );
  }

  async list(
    { accountId }: Asker,
    page: { readonly after: string | null; readonly max: number },
    signal: AbortSignal,
  ): ReturnType<VolumeRecords['list']> {
    return await this.#records.list(accountId, page, signal);
  }

  /** @throws notFound `volume-not-found` */
  async show({ accountId }: Asker, volumeId: string, signal: AbortSignal): Promise<VolumeRecord> {
    return await this.#fresh.fresh(`${accountId} ${volumeId.slice(0, 64)}`, signal);
  }

  /** Deletes a volume; false when it was deleted before. Durable when it resolves. @throws notFound `volume-not-found` */
  async delete({ accountId }: Asker, volumeId: string, signal: AbortSignal): Promise<boolean> {
    const record = await this.#records.find(accountId, volumeId, signal);
    if (record === undefined) throw notFoundResource({ kind: 'volume', id: volumeId });
    let isFirst = false;
    const deleted = await this.#records.change(
      record,
      (now) => {
        isFirst = now.state !== 'deleted';
        return isFirst ? { ...now, state: 'deleted', deletedAt: timeOf(this.#context) } : now;
      },
      signal,
    );
    // Also again: who deleted it may have been stopped here.
    await this.#sessions.end(deleted, signal);
    return isFirst;
  }

  /**
   * Stores a block. Durable, and what the next snapshot shows, when it resolves.
   * @throws notFound `volume-not-found`; invalid `block-out-of-range`; conflict `block-write-conflict`, `volume-interrupted`
   */
  async put(
    record: VolumeRecord,
    write: { readonly block: number; readonly bytes: Buffer; readonly sha256: string },
    signal: AbortSignal,
  ): Promise<void> {
    await this.#inSession(record, signal, async ({ entry }) => {
      await this.#sessions.store.put(entry.snapshotId, write, signal);
    });
  }

  /** Does what needs an open session; again with the next one, where it was sealed meanwhile. */
  async #inSession<T>(record: VolumeRecord, signal: AbortSignal, work: (session: Session) => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      const now = tries === 1 ? record : await this.#records.require(record.accountId, record.volumeId, signal);
      const session = await this.#sessions.open(now, signal);
      try {
        return await work(session);
      } catch (error) {
        const { code } = toSgwError(error);
        const isOver = code === 'upload-not-open' || code === 'snapshot-not-found';
        if (!isOver || tries === TRIES_MAX) throw error;
      }
    }
  }

  /** All 512 KiB, as they were written last. @throws as `put`; denied `export-denied`; unsupported `blocks-sealed-store`; corrupt */
  async read(asker: Asker, volumeId: string, block: number, signal: AbortSignal): Promise<ReadBlock> {
    const record = await this.show(asker, volumeId, signal);
    requireInside(record, block);
    const { entry } = await this.#openReading(asker, record, signal);
    const written = await this.#sessions.store.read(entry.snapshotId, block, signal);
    return written ?? (await this.#reader.read(entry.upload.parent?.root ?? null, block, signal));
  }

  /** The blocks from one on in which something is written. @throws as `read` */
  async listBlocks(
    asker: Asker,
    volumeId: string,
    { fromBlock, max }: { readonly fromBlock: number; readonly max: number },
    signal: AbortSignal,
  ): Promise<BlockNumbers> {
    const record = await this.show(asker, volumeId, signal);
    const { entry } = await this.#openReading(asker, record, signal);
    const below = this.#reader.written(entry.upload.parent?.root ?? null, fromBlock, signal);
    const above = this.#sessions.store.written(entry.snapshotId, fromBlock, signal);
    const blocks: number[] = [];
    for await (const block of merged(below, above)) {
      if (blocks.length === max) return { blocks, sizeBytes: record.sizeBytes, nextToken: String(block) };
      blocks.push(block);
    }
    return { blocks, sizeBytes: record.sizeBytes, nextToken: null };
  }

  async #openReading(asker: Asker, record: VolumeRecord, signal: AbortSignal): Promise<Session> {
    const { volumeId } = record;
    const session = await this.#sessions.open(record, signal);
    const reading = { volumeId, session: session.entry.snapshotId, base: session.entry.upload.parent };
    await this.#reading.run(asker, volumeId, async (recorded) => {
      await this.#exports.openVolume(asker, reading, recorded, signal);
    });
    return session;
  }

  /**
   * Makes a snapshot of what was written until now, or finds the one that the client token has made. What was asked for is
   * durable when it resolves; mostly the snapshot is completed.
   * @throws notFound `volume-not-found`; conflict `client-token-reused`, `volume-interrupted`; corrupt
   */
  async snapshot(asker: Asker, volumeId: string, wish: SnapshotWish, signal: AbortSignal): Promise<SnapshotEntry> {
    const record = await this.show(asker, volumeId, signal);
    const { clientToken, name, description, tags } = wish;
    const token = clientToken ?? this.#context.blocks.random.bytes(16).toString('hex');
    const request = requestHash([volumeId, name, description, sorted(tags)]);
    const key = serviceKeys.snapshotToken(asker.accountId, hashOf(token));
    for (let tries = 1; tries <= TRIES_MAX; tries++) {
      const session = await this.#claim(record, key, request, signal);
      const id = idOfSession(record.volumeId, session);
      const as: SealedAs = { name: name ?? id, description, tags, clientToken: token };
      const entry = await this.#sessions.entryOf(record, session, signal);
      if (entry?.state === 'deleted') throw tokenReused(id);
      if (entry?.upload?.sealed === undefined) await this.#seal(record, session, as, signal);
      const sealed = await this.#sessions.entryOf(record, session, signal);
      if (sealed?.clientToken === token && sealed.upload?.sealed !== undefined)
        return await this.#completed(record, session, sealed, signal);
      await this.#claimNext(record, key, session, signal);
    }
    throw new SgwError('unavailable', 'volume-contended', `snapshots of volume ${volumeId} are made all the time`, {
      hint: 'Try again.',
      details: { volumeId },
    });
  }

  /** The session that the token is for. @throws conflict `client-token-reused`; denied `quota-exceeded` */
  async #claim(record: VolumeRecord, key: string, request: string, signal: AbortSignal): Promise<number> {
    const { blocks } = this.#context;
    const there = await readDocument<SnapshotToken>(blocks, key, signal);
    if (there === undefined) {
      await this.#quotas.require(record.accountId, { snapshots: 1 }, signal);
      const { number } = await this.#sessions.open(record, signal);
      const token: SnapshotToken = { volumeId: record.volumeId, request, session: number, at: timeOf(this.#context) };
      if (await createDocument(blocks, key, token, signal)) return number;
    }
    const { value } = there ?? (await readDocument<SnapshotToken>(blocks, key, signal)) ?? {};
    if (value?.request === request) return value.session;
    throw tokenReused(record.volumeId);
  }

  /** Another request has made a snapshot of that session: this one is of the next. */
  async #claimNext(record: VolumeRecord, key: string, session: number, signal: AbortSignal): Promise<void> {
    const { number } = await this.#sessions.open(record, signal);
    const next = (now: SnapshotToken): SnapshotToken => (now.session === session ? { ...now, session: number } : now);
    await changeDocument<SnapshotToken>(this.#context.blocks, key, next, signal);
  }

  async #seal(record: VolumeRecord, session: number, as: SealedAs, signal: AbortSignal): Promise<void> {
    const { number, entry } = await this.#sessions.open(record, signal);
    if (number !== session) return;
    try {
      await this.#sessions.seal({ number, entry }, as, signal);
    } catch (error) {
      if (!['upload-not-open', 'upload-claimed-otherwise'].includes(toSgwError(error).code)) throw error;
    }
  }

  /** As it is once its map is made, or when that takes long. */
  async #completed(
    record: VolumeRecord,
    session: number,
    sealed: SnapshotEntry,
    signal: AbortSignal,
  ): Promise<SnapshotEntry> {
    if (sealed.state !== 'pending') return sealed;
    const late = AbortSignal.timeout(WAIT_MS);
    try {
      const entry = await this.#sessions.complete(record, session, AbortSignal.any([signal, late]));
      await this.#sessions.open(record, signal);
      return entry;
    } catch (error) {
      if (!late.aborted || signal.aborted) throw error;
      return sealed;
    }
  }

  /** Asked before anything else. @throws unsupported `blocks-sealed-store` */
  requireOpenStore(): void {
    if (this.#context.blocks.keys === undefined) return;
    throw new SgwError('unsupported', 'blocks-sealed-store', 'the store has a key that its customer holds', {
      hint: 'Blocks of such a store are read and written by a gateway that has the key.',
    });
  }

  async resume(signal: AbortSignal): Promise<void> {
    await this.#sessions.resume(signal);
  }

  async close(): Promise<void> {
    this.#closed.abort(new SgwError('aborted', 'service-draining', 'this server of the service is stopping'));
    await this.#sessions.close();
  }
}

const sorted = (tags: VolumeWish['tags']): readonly (readonly [string, string])[] =>
  Object.entries(tags).sort(([a], [b]) => (a < b ? -1 : 1));

/** What a client token has created, unless it is deleted by now. @throws notFound `volume-not-found` */
function stillThere(record: VolumeRecord): VolumeRecord {
  if (record.state === 'available') return record;
  throw notFoundResource({ kind: 'volume', id: record.volumeId });
}

function sizeOf(wanted: number | null, from: SnapshotEntry | null): number {
  const least = from === null ? 0 : Math.ceil(from.sizeBytes / API_BLOCK_BYTES) * API_BLOCK_BYTES;
  const sizeBytes = wanted ?? least;
  if (sizeBytes === 0)
    throw new SgwError('invalid', 'bad-volume-size', 'a volume that is made of no snapshot needs a size', {
      hint: 'Give sizeBytes, a multiple of 512 KiB.',
    });
  if (from === null || sizeBytes >= from.sizeBytes) return sizeBytes;
  throw new SgwError(
    'invalid',
    'smaller-than-snapshot',
    `a volume of ${String(sizeBytes)} bytes is smaller than snapshot ${from.snapshotId} with ${String(from.sizeBytes)}`,
    { hint: 'Leave the size out, or give a larger one.', details: { sizeBytes, snapshotBytes: from.sizeBytes } },
  );
}

/** @throws invalid `block-out-of-range` */
export function requireInside({ volumeId, sizeBytes }: VolumeRecord, block: number): void {
  if (block * API_BLOCK_BYTES < sizeBytes) return;
  throw new SgwError('invalid', 'block-out-of-range', `volume ${volumeId} has no block ${String(block)}`, {
    hint: `Its blocks are 0 to ${String(sizeBytes / API_BLOCK_BYTES - 1)}.`,
    details: { volumeId, block },
  });
}

/** What is in one of two ascending lists, ascending, each once. */
async function* merged(a: AsyncGenerator<number>, b: AsyncGenerator<number>): AsyncGenerator<number> {
  try {
    let [left, right] = await Promise.all([a.next(), b.next()]);
    while (left.done !== true || right.done !== true) {
      const first = left.done === true ? Infinity : left.value;
      const second = right.done === true ? Infinity : right.value;
      yield Math.min(first, second);
      if (first <= second) left = await a.next();
      if (second <= first) right = await b.next();
    }
  } finally {
    await a.return(undefined);
    await b.return(undefined);
  }
}
