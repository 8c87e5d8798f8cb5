/** What an NBD server serves: the interface that whoever has volumes implements. */
import type { BlockDevice } from '../blockdevice/index.ts';

/** Bytes with the same status flags; what the flags mean is the context's. */
export interface StatusExtent {
  readonly length: number;
  readonly flags: number;
}

/** A metadata context beside `base:allocation`, such as `qemu:dirty-bitmap:since`. */
export interface MetaContext {
  readonly name: string;
  /** The status from `offset` on: at least one extent, at most `extentsMax`, covering at most `length` bytes. */
  query(offset: number, length: number, extentsMax: number, signal: AbortSignal): Promise<readonly StatusExtent[]>;
}

export interface ExportEntry {
  readonly name: string;
  readonly description: string;
}

/** Who writes what is served: the id of the volume, and the epoch, which grows with every new writer. */
export interface Writer {
  readonly volume: string;
  readonly epoch: number;
}

/** An export that one connection uses. */
export interface OpenedExport {
  readonly device: BlockDevice;
  /** The export's own name, also when the client asked for the default. */
  readonly name: string;
  readonly description: string;
  readonly isReadOnly: boolean;
  /** A flush on one connection covers what others were acknowledged. */
  readonly isMultiConn: boolean;
  /** What clients that follow a volume are told; absent where nothing is written. */
  readonly writer?: Writer;
  /** Those that are known; see `findContexts`. */
  readonly contexts: readonly MetaContext[];
  /**
   * Where finding contexts costs something: makes `contexts` hold those whose names a query names in full or begins (every one
   * for no query), of this opening and of later ones of the same export. Called when a client asks for contexts.
   */
  findContexts?(queries: readonly string[], signal: AbortSignal): Promise<void>;
  /** The connection uses it no more. Called once. */
  release(): Promise<void>;
}

export interface OpenRequest {
  readonly connectionId: number;
  /** The client's certificate or PSK identity; undefined without TLS. */
  readonly user: string | undefined;
  readonly signal: AbortSignal;
}

export interface ExportDirectory {
  /** Whether LIST is answered. */
  readonly isListed: boolean;
  list(): Promise<readonly ExportEntry[]>;
  /**
   * Opens an export for one connection; the empty name is the default export.
   * @throws notFound when there is none; denied; unavailable
   */
  open(name: string, request: OpenRequest): Promise<OpenedExport>;
}
