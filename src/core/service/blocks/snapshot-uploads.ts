/**
 * Writes snapshots block by block for accounts (C29): what `blockstore/uploads` does, by who may, and within limits.
 *
 * Completing is answered once the snapshot takes no more blocks. Its map is made behind that, once for all who ask here; what a
 * server that died left undone goes on when the client asks again, or when a server starts.
 */
import { Catalog, isOpenSession, type SnapshotEntry } from '../../blockstore/index.ts';
import {
  isUpload,
  UploadStore,
  type NewUpload,
  type UploadClaim,
  type UploadEntry,
} from '../../blockstore/uploads/index.ts';
import { isSnapshotId, SgwError, toSgwError, type Logger } from '../../kit/index.ts';
import type { ServiceContext } from '../context.ts';
import { notFound, type Asker, type ExportControl } from '../exportcontrol/export-control.ts';
import type { Quotas } from '../quotas/quotas.ts';

/** Snapshots that an account may be writing at once, begun by this server. */
const OPEN_MAX = 100;
/** How long who completes waits for the map: mostly it is made by then, and the snapshot can be read. */
const WAIT_MS = 10_000;

export type UploadStatus = 'pending' | 'completed' | 'error';

export interface UploadParts {
  readonly context: ServiceContext;
  readonly exports: ExportControl;
  readonly quotas: Quotas;
  readonly log: Logger;
}

export class SnapshotUploads {
  readonly #context: ServiceContext;
  readonly #exports: ExportControl;
  readonly #log: Logger;
  readonly #quotas: Quotas;
  readonly #store: UploadStore;
  readonly #closed = new AbortController();
  readonly #builds = new Map<string, Promise<UploadEntry>>();
  /** By account: snapshots that were begun here, and may be open still. */
  readonly #open = new Map<string, Set<string>>();

  constructor({ context, exports, quotas, log }: UploadParts) {
    this.#context = context;
    this.#exports = exports;
    this.#log = log;
    this.#quotas = quotas;
    this.#store = new UploadStore(context.blocks, this.#closed.signal);
  }

  /**
   * Begins a snapshot, or finds the one that the client token has begun. Durable when it resolves.
   * @throws what `UploadStore.start` throws; notFound `snapshot-not-found`, denied `export-denied`, conflict
   * `snapshot-not-completed` of the parent; exhausted `too-many-uploads`; denied `quota-exceeded`
   */
  async start(
    asker: Asker,
    wanted: Omit<NewUpload, 'parent' | 'accountId'> & { readonly parentId: string | null },
    signal: AbortSignal,
  ): Promise<UploadEntry> {
    const { parentId, ...rest } = wanted;
    const { accountId } = asker;
    const parent = parentId === null ? null : await this.#parent(asker, parentId, signal);
    await this.#requireRoom(accountId, signal);
    const { entry } = await this.#store.start({ ...rest, accountId, parent }, signal, async () => {
      await this.#quotas.require(accountId, { snapshots: 1 }, signal);
    });
    if (entry.state === 'pending') this.#openOf(accountId).add(entry.snapshotId);
    return entry;
  }

  /** A snapshot made of another account's is a clone of it, and is decided like one. */
  async #parent(asker: Asker, parentId: string, signal: AbortSignal): Promise<SnapshotEntry> {
    const entry = await this.#find(parentId, signal);
    if (entry?.accountId !== asker.accountId)
      return await this.#exports.open(asker, { snapshotId: parentId, purpose: 'clone' }, signal);
    if (entry.state === 'completed') return entry;
    throw new SgwError('conflict', 'snapshot-not-completed', `snapshot ${parentId} is ${entry.state}`, {
      details: { snapshotId: parentId, state: entry.state },
    });
  }

  async #find(snapshotId: string, signal: AbortSignal): Promise<SnapshotEntry | undefined> {
    if (!isSnapshotId(snapshotId)) return undefined;
    try {
      const entry = await new Catalog(this.#context.blocks).getSnapshot(snapshotId, signal);
      return entry.state === 'deleted' ? undefined : entry;
    } catch (error) {
      if (toSgwError(error).kind !== 'notFound') throw error;
      return undefined;
    }
  }

  /** As it was at most a moment ago: many blocks of one snapshot come at once. */
  async #recent(snapshotId: string, signal: AbortSignal): Promise<SnapshotEntry | undefined> {
    if (!isSnapshotId(snapshotId)) return undefined;
    try {
      const entry = await this.#store.recent(snapshotId, signal);
      return entry.state === 'deleted' || isOpenSession(entry) ? undefined : entry;
    } catch (error) {
      if (toSgwError(error).kind !== 'notFound') throw error;
      return undefined;
    }
  }

  #openOf(accountId: string): Set<string> {
    const open = this.#open.get(accountId) ?? new Set<string>();
    this.#open.set(accountId, open);
    return open;
  }

  /** @throws exhausted `too-many-uploads` */
  async #requireRoom(accountId: string, signal: AbortSignal): Promise<void> {
    const open = this.#openOf(accountId);
    if (open.size < OPEN_MAX) return;
    for (const snapshotId of open) {
      const entry = await this.#find(snapshotId, signal);
      if (
        entry?.state !== 'pending' ||
        entry.upload?.state !== 'open' ||
        Date.parse(entry.upload.deadline) <= this.#nowMs
      )
        open.delete(snapshotId);
    }
    if (open.size < OPEN_MAX) return;
    throw new SgwError(
      'exhausted',
      'too-many-uploads',
      `account ${accountId} writes ${String(OPEN_MAX)} snapshots already`,
      {
        hint: 'Complete some of them first.',
      },
    );
  }

  get #nowMs(): number {
    return this.#context.blocks.clock.nowMs();
  }

  /** The snapshot, if it is the account's, and written through the API. @throws notFound `snapshot-not-found` */
  async find(asker: Asker, snapshotId: string, signal: AbortSignal): Promise<UploadEntry> {
    const entry = await this.#recent(snapshotId, signal);
    if (entry?.accountId !== asker.accountId) throw notFound(snapshotId);
    if (isUpload(entry)) return entry;
    throw new SgwError(
      'conflict',
      'upload-not-open',
      `snapshot ${snapshotId} was made by a gateway, and takes no blocks`,
      {
        hint: 'Start another snapshot, with this one as its parent.',
        details: { snapshotId },
      },
    );
  }

  /**
   * Stores a block of a snapshot that `find` gave. Durable when it resolves.
   * @throws what `UploadStore.put` throws
   */
  async put(
    entry: UploadEntry,
    write: { readonly block: number; readonly bytes: Buffer; readonly sha256: string },
    signal: AbortSignal,
  ): Promise<void> {
    if (this.#store.isExpired(entry)) await this.#store.expire(entry.snapshotId, signal);
    await this.#store.put(entry.snapshotId, write, signal);
  }

  /**
   * Takes no more blocks, and completes the snapshot behind the answer. Again with the same claim: tells how far it is.
   * @throws notFound `snapshot-not-found`; conflict `upload-not-open`, `upload-claimed-otherwise`; invalid
   * `block-count-wrong`: then the snapshot stays open
   */
  async complete(asker: Asker, snapshotId: string, claim: UploadClaim, signal: AbortSignal): Promise<UploadStatus> {
    const known = await this.find(asker, snapshotId, signal);
    const now = await this.#store.get(known.snapshotId, signal);
    const found = this.#store.isExpired(now) ? await this.#store.expire(known.snapshotId, signal) : now;
    if (found.state === 'failed') return 'error';
    const wasOpen = found.upload.state === 'open';
    if (wasOpen && found.state === 'pending') await this.#requireCount(found, claim, signal);
    const sealed = await this.#store.seal(found.snapshotId, claim, signal);
    this.#openOf(asker.accountId).delete(snapshotId);
    if (sealed.state !== 'pending') return statusOf(sealed);
    const built = await this.#waitFor(this.#build(sealed), signal);
    // What it was when it was sealed; the next question tells what became of it.
    return wasOpen && built?.state !== 'failed' ? 'pending' : built === undefined ? 'pending' : statusOf(built);
  }

  async #requireCount(entry: UploadEntry, claim: UploadClaim, signal: AbortSignal): Promise<void> {
    this.#store.requireOpen(entry);
    const blocks = await this.#store.countBlocks(entry.snapshotId, signal);
    if (claim.blocks === null || blocks === claim.blocks) return;
    throw new SgwError(
      'invalid',
      'block-count-wrong',
      `${String(blocks)} blocks were written to snapshot ${entry.snapshotId}, not ${String(claim.blocks)}`,
      { hint: 'Write those that are missing, then complete it again.', details: { blocks, claimed: claim.blocks } },
    );
  }

  /** Makes the map, once for all who ask here. */
  async #build({ snapshotId }: UploadEntry): Promise<UploadEntry> {
    const running = this.#builds.get(snapshotId);
    if (running !== undefined) return await running;
    const build = this.#store.build(snapshotId, this.#closed.signal).finally(() => this.#builds.delete(snapshotId));
    this.#builds.set(snapshotId, build);
    build.catch((error: unknown) => {
      if (!this.#closed.signal.aborted) this.#log.warn({ snapshotId, err: error }, 'a snapshot was not completed');
    });
    return await build;
  }

  /** What it ends with; undefined when that takes long. @throws what it fails with meanwhile */
  async #waitFor(build: Promise<UploadEntry>, signal: AbortSignal): Promise<UploadEntry | undefined> {
    const done = new AbortController();
    const stop = AbortSignal.any([signal, done.signal, this.#closed.signal]);
    try {
      const late = this.#context.blocks.clock.sleep(WAIT_MS, stop).then(
        () => undefined,
        () => undefined,
      );
      return await Promise.race([build, late]);
    } finally {
      done.abort();
    }
  }

  /** Goes on with what servers that died left sealing. */
  async resume(signal: AbortSignal): Promise<void> {
    const entries = await new Catalog(this.#context.blocks).listSnapshots({ signal });
    for (const entry of entries) {
      if (entry.state !== 'pending' || entry.upload?.state !== 'sealing' || !isUpload(entry)) continue;
      this.#log.info({ snapshotId: entry.snapshotId }, 'a snapshot that another server left is being completed');
      await this.#build(entry).catch(() => undefined);
    }
  }

  /** Stops what is being made; another server, or this one later, goes on. */
  async close(): Promise<void> {
    this.#closed.abort(new SgwError('aborted', 'service-draining', 'this server of the service is stopping'));
    await Promise.allSettled(this.#builds.values());
  }
}

function statusOf({ state }: UploadEntry): UploadStatus {
  return state === 'completed' ? 'completed' : state === 'pending' ? 'pending' : 'error';
}
