/**
 * One export of a running gateway, and the clients that use it.
 *
 * States: `opening` -> `serving` -> `detaching` -> `ended`; from `opening`, when it can't be opened, to `waiting`, and from
 * there to `opening` again, by itself or when somebody asks; from `serving` to `waiting` when what is served was lost.
 * Invariants: `opened` is there just in `serving` and `detaching`; clients are there only then, and are told to go before it
 * is closed; it is closed once.
 */
import { SgwError, type SnapshotId } from '../../kit/index.ts';
import type { AttachmentState } from '../../state/index.ts';
import type { ServedVolume } from '../../volume/index.ts';
import { changesOf, listChanges, type ChangesSource } from './changes.ts';
import type { OpenedExport } from './exports.ts';
import type { Opened } from './opened.ts';
import type { Attached, AttachmentPhase, AttachmentReport } from './served.ts';

export class Attachment implements Attached {
  /** Replaced when the throw-away clone is there. */
  record: AttachmentState;
  /** What the settings asked for when it was opened or told of others last. */
  wishes = '';
  readonly #changes: ChangesSource;
  #phase: AttachmentPhase = 'opening';
  #opened: Opened | undefined;
  #name: string | null = null;
  #failure: SgwError | undefined;
  #retryAtMs: number | null = null;
  #clients = new Map<symbol, AbortController>();

  constructor(record: AttachmentState, changes: ChangesSource) {
    this.record = record;
    this.#changes = changes;
  }

  get name(): string {
    return this.record.exportName;
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

  /** No client comes any more, and those that are there are told to go. */
  detach(): void {
    this.#phase = 'detaching';
    this.#letGo(new SgwError('unavailable', 'export-ended', `export ${this.name} was detached`));
  }

  /** After a detaching that was given up. */
  goOn(): void {
    this.#phase = this.#opened === undefined ? 'waiting' : 'serving';
  }

  end(): void {
    this.#phase = 'ended';
    this.#opened = undefined;
  }

  #letGo(reason: SgwError): void {
    for (const client of this.#clients.values()) client.abort(reason);
  }

  /** @throws unavailable `export-not-ready` */
  open(): OpenedExport {
    const opened = this.#opened;
    if (this.#phase !== 'serving' || opened === undefined) throw this.#notReady();
    const id = Symbol(this.name);
    const client = new AbortController();
    this.#clients.set(id, client);
    return {
      name: this.name,
      description: opened.description,
      device: opened.device,
      isMultiConn: true,
      ended: client.signal,
      contexts: async (query, signal) => await listChanges(this.#changes, opened, query, signal),
      openContext: async (name, signal) => await changesOf(this.#changes, opened, name, signal),
      release: () => {
        this.#clients.delete(id);
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
    return {
      record: this.record,
      phase: this.#phase,
      name: this.#name,
      reason: failure?.message ?? null,
      hint: failure?.hint ?? null,
      retryAtMs: this.#phase === 'waiting' ? this.#retryAtMs : null,
      clients: this.#clients.size,
      ...this.#reportOpened(),
    };
  }

  #reportOpened(): Pick<AttachmentReport, 'state' | 'sizeBytes' | 'stats'> & { readonly reason?: string } {
    const opened = this.#opened;
    if (opened === undefined) return { state: null, sizeBytes: null, stats: null };
    const { sizeBytes } = opened.device;
    if (opened.volume === undefined) return { state: 'available', sizeBytes, stats: null };
    const { stats } = opened.volume;
    return { state: stats.state, sizeBytes, stats, ...(stats.reason === null ? {} : { reason: stats.reason }) };
  }
}
