/**
 * What is written to the volumes of the block API: to the open session of each, which is an upload (C29) over what the volume
 * was before. Making a snapshot seals the session; the next one has its map as the parent's.
 *
 * Invariants:
 * - Sessions of a volume are numbered without holes, and each has one id: whoever goes on from session n begins the same n + 1.
 * - Session n is completed, and so is a snapshot that can be deleted, only when session n + 1 is there and keeps its map.
 *   So at each moment a pending session keeps all that the volume reads as from gc.
 * - The first session that is open is the volume's, whatever its record says; the record only tells where to begin looking.
 */
import {
  isOpenSession,
  Catalog,
  readSnapshotOrSession,
  RecentReads,
  type SnapshotEntry,
} from '../../blockstore/index.ts';
import { idOfSession, isUpload, UploadStore, type SealedAs, type UploadEntry } from '../../blockstore/uploads/index.ts';
import { SgwError, toSgwError, untilAborted, type Logger, type SnapshotId } from '../../kit/index.ts';
import type { ServiceContext } from '../context.ts';
import type { VolumeRecord, VolumeRecords } from './volume-records.ts';

/** A session ends with a snapshot or its volume, and with nothing else: 100 years. */
const SESSION_MS = 100 * 365 * 24 * 60 * 60_000;
/** Sessions that one request goes past: others make snapshots meanwhile. */
const STEPS_MAX = 1000;

export interface Session {
  readonly number: number;
  readonly entry: UploadEntry;
}

export class Sessions {
  readonly store: UploadStore;
  readonly #context: ServiceContext;
  readonly #records: VolumeRecords;
  readonly #log: Logger;
  readonly #entries: RecentReads<SnapshotEntry | undefined>;
  readonly #closed = new AbortController();
  readonly #builds = new Map<string, Promise<SnapshotEntry>>();

  constructor(context: ServiceContext, records: VolumeRecords, log: Logger) {
    this.#context = context;
    this.#records = records;
    this.#log = log;
    this.store = new UploadStore(context.blocks, this.#closed.signal);
    this.#entries = new RecentReads(async (id, signal) => await this.#find(id as SnapshotId, signal), {
      clock: context.blocks.clock,
      closed: this.#closed.signal,
    });
  }

  /** Begins the first session of a volume; nothing where it was begun. @throws conflict `snapshot-deleted` */
  async begin(record: VolumeRecord, parent: SnapshotEntry | null, signal: AbortSignal): Promise<void> {
    await this.#start(record, 0, parent, signal);
  }

  /** The session that is open. One that is sealing is completed first. @throws conflict `volume-interrupted`; corrupt */
  async open(record: VolumeRecord, signal: AbortSignal): Promise<Session> {
    let found: Session | undefined;
    let number = record.session;
    for (let step = 0; found === undefined; step++) {
      if (step === STEPS_MAX) throw busy(record);
      const entry = await this.entryOf(record, number, signal);
      if (entry !== undefined && isUpload(entry) && entry.state === 'pending' && entry.upload.state === 'open') {
        found = { number, entry };
        break;
      }
      if (entry?.state === 'failed') throw interrupted(record, entry);
      // Session n + 1 is there before n can be gone.
      if (entry === undefined && step > 0) throw interrupted(record);
      if (entry?.state === 'pending') await this.complete(record, number, signal);
      number += 1;
    }
    if (number > record.session) await this.#note(record, number, signal);
    return found;
  }

  async entryOf(record: VolumeRecord, number: number, signal: AbortSignal): Promise<SnapshotEntry | undefined> {
    return await this.#entries.fresh(idOfSession(record.volumeId, number), signal);
  }

  /** Takes no more blocks; the snapshot is made of what was acknowledged. @throws what `UploadStore.seal` throws */
  async seal({ entry }: Session, as: SealedAs, signal: AbortSignal): Promise<UploadEntry> {
    return await this.store.seal(entry.snapshotId, { blocks: null, checksum: null }, signal, as);
  }

  /** Makes the snapshot of a session that is sealed, once for all who ask here. */
  async complete(record: VolumeRecord, number: number, signal: AbortSignal): Promise<SnapshotEntry> {
    const id = idOfSession(record.volumeId, number);
    const running = this.#builds.get(id) ?? this.#build(record, number, id);
    return await untilAborted(running, signal);
  }

  #build(record: VolumeRecord, number: number, id: SnapshotId): Promise<SnapshotEntry> {
    const signal = this.#closed.signal;
    const build = (async () => {
      const sealed = await this.store.get(id, signal);
      return await this.store.build(id, signal, async (root) => {
        await this.#start(record, number + 1, { ...sealed, root }, signal);
      });
    })().finally(() => this.#builds.delete(id));
    this.#builds.set(id, build);
    build.catch((error: unknown) => {
      if (!this.#closed.signal.aborted) this.#log.warn({ snapshotId: id, err: error }, 'a snapshot was not completed');
    });
    return build;
  }

  async #start(record: VolumeRecord, number: number, parent: SnapshotEntry | null, signal: AbortSignal): Promise<void> {
    const { accountId, volumeId, name, lineage, sizeBytes } = record;
    await this.store.start(
      {
        ...{ accountId, name: '', sizeBytes, description: '', tags: {}, timeoutMs: SESSION_MS, parent },
        ...{ clientToken: null, volume: { volumeId, name, lineage }, session: number },
      },
      signal,
    );
  }

  async #note(record: VolumeRecord, number: number, signal: AbortSignal): Promise<void> {
    const forward = (now: VolumeRecord): VolumeRecord =>
      now.state === 'deleted' || now.session >= number ? now : { ...now, session: number };
    await this.#records.change(record, forward, signal);
  }

  /** Ends the pending sessions of a volume that is deleted: gc takes what only they keep. Again: nothing. */
  async end(record: VolumeRecord, signal: AbortSignal): Promise<void> {
    const at = new Date(this.#context.blocks.clock.nowMs()).toISOString();
    const catalog = new Catalog(this.#context.blocks);
    for (let number = record.session; ; number++) {
      let entry = await this.entryOf(record, number, signal);
      if (entry === undefined && number > record.session) return;
      if (entry?.state === 'pending' && entry.upload?.state === 'open')
        entry = await catalog.updateSnapshot(
          entry.snapshotId,
          (now) =>
            now.state === 'pending' && now.upload?.state === 'open' ? { ...now, state: 'deleted', deletedAt: at } : now,
          signal,
        );
      // A snapshot that was asked for stays one.
      if (entry?.state === 'pending') await this.complete(record, number, signal);
    }
  }

  /** Goes on with what servers that died left: sessions that are sealing, and those of volumes that are deleted. */
  async resume(signal: AbortSignal): Promise<void> {
    const entries = await new Catalog(this.#context.blocks).listSnapshots({ includeSessions: true, signal });
    for (const entry of entries) {
      if (!isOpenSession(entry)) continue;
      const record = await this.#records.find(entry.accountId, entry.volumeId, signal);
      if (record === undefined) continue;
      try {
        if (record.state === 'deleted') await this.end({ ...record, session: entry.upload?.session ?? 0 }, signal);
        else if (entry.upload?.state === 'sealing') await this.open(record, signal);
      } catch (error) {
        if (signal.aborted) throw error;
        this.#log.warn({ volumeId: record.volumeId, err: error }, 'a volume could not be gone on with');
      }
    }
  }

  async #find(id: SnapshotId, signal: AbortSignal): Promise<SnapshotEntry | undefined> {
    try {
      return await readSnapshotOrSession(this.#context.blocks, id, signal);
    } catch (error) {
      if (toSgwError(error).kind !== 'notFound') throw error;
      return undefined;
    }
  }

  /** Stops what is being made; another server, or this one later, goes on. */
  async close(): Promise<void> {
    this.#closed.abort(new SgwError('aborted', 'service-draining', 'this server of the service is stopping'));
    await Promise.allSettled(this.#builds.values());
  }
}

const busy = ({ volumeId }: VolumeRecord): SgwError =>
  new SgwError('unavailable', 'volume-contended', `snapshots of volume ${volumeId} are made all the time`, {
    hint: 'Try again.',
    details: { volumeId },
  });

function interrupted({ volumeId }: VolumeRecord, entry?: SnapshotEntry): SgwError {
  const why = entry?.reason ?? 'what is written to it is missing from the store';
  return new SgwError('conflict', 'volume-interrupted', `volume ${volumeId} can not be used: ${why}`, {
    hint: 'Delete it, and create another one of its last snapshot.',
    details: { volumeId },
  });
}
