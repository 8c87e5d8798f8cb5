/**
 * One export of a running gateway, and the clients that use it.
 *
 * States: `opening` -> `serving` -> `detaching` -> `ended`; from `opening`, when it can't be opened, to `waiting`, and from
 * there to `opening` again, by itself or when somebody asks; from `serving` to `waiting` when what is served was lost.
 * Invariants: `opened` is there just in `serving` and `detaching`; clients are there only then, and are let go before it is
 * closed; it is closed once.
 */
import { SgwError, type SnapshotId } from '../../kit/index.ts';
import type { AttachmentState } from '../../state/index.ts';
import type { ServedVolume } from '../../volume/index.ts';
import type { OpenedExport, Writer } from '../../nbd/index.ts';
import { ChangesContext, listChanges, type ChangesSource } from './changes.ts';
import type { Opened } from './opened.ts';
import type { Attached, AttachmentPhase, AttachmentReport, ConnectedClient } from './served.ts';

export interface AttachmentSources extends ChangesSource {
  /** Who is connected to an export. */
  readonly connected: (exportName: string) => readonly ConnectedClient[];
}

export class Attachment implements Attached {
  /** Replaced when the throw-away clone is there. */
  record: AttachmentState;
  /** What the settings asked for when it was opened or told of others last. */
  wishes = '';
  readonly #sources: AttachmentSources;
  #phase: AttachmentPhase = 'opening';
  #opened: Opened | undefined;
  #name: string | null = null;
  #failure: SgwError | undefined;
  #retryAtMs: number | null = null;
  readonly #clients = new Set<symbol>();
  /** Over iSCSI, of clients that have left. */
  #endedRequests = 0;
  /** Names of contexts that clients asked for. */
  readonly #contexts = new Set<string>();

  constructor(record: AttachmentState, sources: AttachmentSources) {
    this.record = record;
    this.#sources = sources;
  }

  get name(): string {
    return this.record.exportName;
  }

  get isOverNbd(): boolean {
    return this.record.protocols.includes('nbd');
  }

  get phase(): AttachmentPhase {
    return this.#phase;
  }

  get opened(): Opened | undefined {
    return this.#opened;
  }

  get volume(): ServedVolume | undefined {
    return this.#opened?.volume;
  }

  noteChange(offset: number, length: number): void {
    this.#opened?.watched?.note(offset, length);
  }

  get clients(): number {
    return this.#clients.size;
  }

  get failure(): SgwError | undefined {
    return this.#failure ?? this.#opened?.volume?.failure;
  }

  /** The volume that is written through this export, whatever its state; null where none is. */
  get volumeId(): string | null {
    const { scratchVolumeId, volumeId, recoveryPointSeq } = this.record;
    return scratchVolumeId ?? (recoveryPointSeq === null ? volumeId : null);
  }

  get snapshotId(): SnapshotId | null {
    return this.record.snapshotId as SnapshotId | null;
  }

  /** It is being opened. */
  begin(): void {
    this.#phase = 'opening';
    this.#retryAtMs = null;
  }

  /** It can be used from now on. */
  serve(opened: Opened): void {
    this.#opened = opened;
    this.#name = opened.name;
    this.#failure = undefined;
    this.#phase = 'serving';
  }

  /** It could not be opened, or was lost; `retryAtMs` is null when nobody tries again. */
  wait(failure: SgwError, retryAtMs: number | null): void {
    this.#failure = failure;
    this.#retryAtMs = retryAtMs;
    this.#phase = 'waiting';
    this.#opened = undefined;
  }

  /** No client comes any more; those that are there are let go by who serves them. */
  detach(): void {
    this.#phase = 'detaching';
  }

  /** After a detaching that was given up. */
  goOn(): void {
    this.#phase = this.#opened === undefined ? 'waiting' : 'serving';
  }

  end(): void {
    this.#phase = 'ended';
    this.#opened = undefined;
  }

  /**
   * A client begins to use what is served, until it leaves and tells how many requests over iSCSI it had.
   * @throws unavailable `export-not-ready`
   */
  enter(): { readonly opened: Opened; readonly leave: (iscsiRequests: number) => void } {
    const opened = this.#opened;
    if (this.#phase !== 'serving' || opened === undefined) throw this.#notReady();
    const client = Symbol(this.name);
    this.#clients.add(client);
    return {
      opened,
      leave: (iscsiRequests) => {
        if (this.#clients.delete(client)) this.#endedRequests += iscsiRequests;
      },
    };
  }

  /** For a client over NBD. @throws unavailable `export-not-ready` */
  open(): OpenedExport {
    const { opened, leave } = this.enter();
    const made = new Map<string, ChangesContext>();
    const contextOf = (name: string): ChangesContext => {
      const context = made.get(name) ?? new ChangesContext(name, this.#sources, opened);
      made.set(name, context);
      return context;
    };
    const known = this.#contexts;
    return {
      name: this.name,
      description: opened.description,
      device: opened.device,
      isReadOnly: opened.device.isReadOnly,
      isMultiConn: true,
      ...(opened.volume === undefined ? {} : { writer: writerOf(opened.volume) }),
      get contexts() {
        return [...known].map(contextOf);
      },
      findContexts: async (queries, signal) => {
        for (const query of queries.length === 0 ? [''] : queries)
          for (const name of await listChanges(this.#sources, opened, query, signal)) known.add(name);
      },
      release: async () => {
        for (const context of made.values()) context.close();
        leave(0);
        return Promise.resolve();
      },
    };
  }

  #notReady(): SgwError {
    const why =
      this.#phase === 'waiting' ? `: ${this.#failure?.message ?? 'it is not open'}` : `, it is ${this.#phase}`;
    return new SgwError('unavailable', 'export-not-ready', `export ${this.name} can not be used now${why}`, {
      ...(this.#failure === undefined ? {} : { cause: this.#failure }),
    });
  }

  get report(): AttachmentReport {
    const { failure } = this;
    const connected = this.#sources.connected(this.name);
    const overIscsi = connected.filter(({ protocol }) => protocol === 'iscsi');
    return {
      record: this.record,
      phase: this.#phase,
      name: this.#name,
      reason: failure?.message ?? null,
      hint: failure?.hint ?? null,
      retryAtMs: this.#phase === 'waiting' ? this.#retryAtMs : null,
      clients: this.#clients.size,
      connected,
      iscsiRequests: overIscsi.reduce((sum, { requests }) => sum + requests, this.#endedRequests),
      ...this.#reportOpened(),
    };
  }

  #reportOpened(): Pick<AttachmentReport, 'state' | 'sizeBytes' | 'stats' | 'restore'> & {
    readonly reason?: string;
    readonly hint?: string | null;
  } {
    const opened = this.#opened;
    if (opened === undefined) return { state: null, sizeBytes: null, stats: null, restore: null };
    const { sizeBytes } = opened.device;
    const restore = opened.restore?.() ?? null;
    const { message, hint = null } = restore?.failure ?? {};
    if (opened.volume === undefined) {
      const why = message === undefined ? {} : { reason: message, hint };
      return { state: message === undefined ? 'available' : 'degraded', sizeBytes, stats: null, restore, ...why };
    }
    const { stats } = opened.volume;
    const reason = stats.reason ?? message;
    return {
      state: message !== undefined && stats.state === 'available' ? 'degraded' : stats.state,
      sizeBytes,
      stats,
      restore,
      ...(reason === undefined ? {} : { reason, hint: stats.reason === null ? hint : null }),
    };
  }
}

const writerOf = ({ volumeId, stats }: ServedVolume): Writer => ({ volume: volumeId, epoch: stats.epoch });
