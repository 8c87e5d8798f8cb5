/** What the wire protocols ask of a gateway: the names that it serves, and the devices behind them. */
import type { BlockDevice } from '../../blockdevice/index.ts';

export interface ListedExport {
  readonly name: string;
  readonly description: string;
}

/** Consecutive bytes that changed, or did not, as a context says. */
export interface ChangedExtent {
  readonly length: number;
  readonly isChanged: boolean;
}

/** A meta context beside `base:allocation`. */
export interface ChangesContext {
  readonly name: string;
  /** As `BlockDevice.extents`. What changed while it was asked counts as changed. */
  extents(offset: number, length: number, piecesMax: number, signal?: AbortSignal): Promise<ChangedExtent[]>;
  /** Nobody asks any more. Idempotent. */
  close(): void;
}

/** One client's use of an export. */
export interface OpenedExport {
  readonly name: string;
  readonly description: string;
  readonly device: BlockDevice;
  /** A flush over one connection covers writes that were acknowledged over any other. */
  readonly isMultiConn: boolean;
  /** Fires, with an SgwError, when the export ends: the client is to be let go. */
  readonly ended: AbortSignal;
  /** Names of contexts that begin with `query`, all of them when it is empty. */
  contexts(query: string, signal?: AbortSignal): Promise<readonly string[]>;
  /** @throws notFound for a name that `contexts` does not tell */
  openContext(name: string, signal?: AbortSignal): Promise<ChangesContext>;
  /** The client is gone. Idempotent. */
  release(): void;
}

export interface ExportDirectory {
  /** The exports that clients may see; undefined when they may not ask. */
  list(): readonly ListedExport[] | undefined;
  /**
   * Opens the export of this name; the default one for an empty name.
   * @throws notFound `export-not-found`; unavailable `export-not-ready` while it is being opened, or can't be
   */
  open(name: string, signal?: AbortSignal): Promise<OpenedExport>;
}
