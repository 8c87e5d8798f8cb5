/**
 * Reading what belongs to other accounts: of map objects the nodes, of segments the frames that an account's roots reach, and
 * nothing else (views in blockstore/inspect). What is read by a grant that can be taken back is decided on by export control,
 * with a record, before the first byte of it leaves.
 */
import { createHash } from 'node:crypto';
import {
  BoundedCache,
  MapView,
  SegmentReader,
  SegmentView,
  type KeyPlace,
  type ObjectView,
} from '../../blockstore/inspect/index.ts';
import { SgwError, toSgwError } from '../../kit/index.ts';
import type { ByteSpan, ObjectBody, ObjectInfo } from '../../objectstore/index.ts';
import type { ServiceContext } from '../context.ts';
import type { ExportControl } from '../exportcontrol/export-control.ts';
import type { GatewayPrincipal } from '../identity/principal.ts';
import type { Access, AccessRoot } from './access.ts';

const VIEWS_BYTES_MAX = 64 << 20;
/** Without the tail that a segment's view makes. */
const VIEW_BYTES = 1024;
/** A decision on a snapshot is recorded once in so long for each gateway. */
const RECORDED_MS = 60 * 60_000;
const RECORDED_MAX = 16_384;

/** Of nodes of maps, by which root they are granted does not matter. */
const NO_ROOT = 0;

type PartsPlace = Extract<KeyPlace, { readonly kind: 'log' | 'map' | 'snapshotMap' | 'upload' }>;

/** An object as an account sees it. */
interface Seen {
  readonly view: ObjectView;
  readonly etag: string;
  /** Of the object itself. */
  readonly realEtag: string;
  readonly roots: readonly AccessRoot[];
}

export class Parts {
  readonly #context: ServiceContext;
  readonly #access: Access;
  readonly #exports: ExportControl;
  readonly #segments: SegmentReader;
  readonly #views = new BoundedCache<{ readonly view: ObjectView; readonly bytes: number }>(
    VIEWS_BYTES_MAX,
    ({ bytes }) => bytes,
  );
  /** When a gateway's reading of a snapshot was recorded last. */
  readonly #recorded = new Map<string, number>();

  constructor(context: ServiceContext, access: Access, exports: ExportControl) {
    this.#context = context;
    this.#access = access;
    this.#exports = exports;
    this.#segments = new SegmentReader(context.blocks);
  }

  /** Size and etag of what the account sees; undefined when that is nothing. */
  async head(
    gateway: GatewayPrincipal,
    key: string,
    place: PartsPlace,
    signal: AbortSignal,
  ): Promise<ObjectInfo | undefined> {
    const seen = await this.#seen(gateway.accountId, key, place, signal);
    return seen === undefined ? undefined : { key, sizeBytes: seen.view.sizeBytes, etag: seen.etag };
  }

  /** A part of what the account sees; undefined when nothing of that is granted. */
  async get(
    gateway: GatewayPrincipal,
    key: string,
    place: PartsPlace,
    span: ByteSpan | undefined,
    signal: AbortSignal,
  ): Promise<ObjectBody | undefined> {
    const seen = await this.#seen(gateway.accountId, key, place, signal);
    if (seen === undefined) return undefined;
    const { sizeBytes } = seen.view;
    const { start, end } = rangeIn(key, span, sizeBytes);
    const part = seen.view.visible(start, end);
    if (part === undefined) return undefined;
    for (const number of part.roots) {
      if (number === NO_ROOT) continue;
      // One that came meanwhile is not known to this request: the next one knows it.
      const root = seen.roots[number - 1];
      if (root === undefined) return undefined;
      if (root.use === 'exportable' && !(await this.#isDecided(gateway, root, signal))) return undefined;
    }
    let bytes: Buffer | undefined;
    if (part.read !== undefined) {
      const real = await this.#context.blocks.objects.get(key, { span: part.read, signal });
      if (real?.etag !== seen.realEtag) return undefined;
      ({ bytes } = real);
    }
    return { key, sizeBytes, etag: seen.etag, bytes: part.fill(bytes) };
  }

  async #seen(accountId: string, key: string, place: PartsPlace, signal: AbortSignal): Promise<Seen | undefined> {
    const lineage = await this.#access.lineageOf('volumeId' in place ? place.volumeId : place.snapshotId, signal);
    if (lineage === undefined) return undefined;
    const now = await this.#seenBy(accountId, lineage, key, signal);
    // What was granted through another server a moment ago may not be known here.
    return now ?? (await this.#seenBy(accountId, lineage, key, signal, RETRY_FRESH_MS));
  }

  async #seenBy(
    accountId: string,
    lineage: string,
    key: string,
    signal: AbortSignal,
    freshMs?: number,
  ): Promise<Seen | undefined> {
    const { reach, roots } = await this.#access.reached(accountId, lineage, signal, freshMs);
    const frames = reach.framesOf(key);
    const nodes = frames === undefined ? reach.nodesOf(key) : undefined;
    if (frames === undefined && nodes === undefined) return undefined;
    const info = await this.#context.blocks.objects.head(key, { signal });
    if (info === undefined) return undefined;
    const granted = frames?.roots ?? nodes ?? new Map<number, number>();
    const etag = `view-${digestOf(info.etag, granted, false)}`;
    // Who grants which frame is in the view as well.
    const name = `${key} ${digestOf(info.etag, granted, true)}`;
    const { view } = await this.#views.get(
      name,
      async (stop) => {
        if (frames === undefined) {
          const view = new MapView(info.sizeBytes, nodes ?? new Map());
          return { view, bytes: VIEW_BYTES + 80 * (nodes?.size ?? 0) };
        }
        const ref = { key, segmentId: frames.segmentId, creators: [] };
        const index = await this.#segments.index(ref, stop);
        const view = new SegmentView(index, frames.roots, await this.#segments.pageHashes(ref, stop));
        return { view, bytes: VIEW_BYTES + view.keptBytes };
      },
      signal,
    );
    return { view, etag, realEtag: info.etag, roots };
  }

  /** Asks export control, which records it; false when it has been taken back. */
  async #isDecided(
    { gatewayId, accountId }: GatewayPrincipal,
    root: AccessRoot,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { snapshotId } = root;
    const name = `${gatewayId} ${snapshotId}`;
    const nowMs = this.#context.blocks.clock.monotonicMs();
    const recordedMs = this.#recorded.get(name);
    if (recordedMs !== undefined && nowMs - recordedMs < RECORDED_MS) return true;
    try {
      await this.#exports.decide({ gatewayId, accountId }, { snapshotId, purpose: 'export' }, signal);
    } catch (error) {
      const { kind } = toSgwError(error);
      if (kind !== 'denied' && kind !== 'notFound' && kind !== 'conflict') throw error;
      this.#access.forget(accountId);
      return false;
    }
    this.#recorded.delete(name);
    this.#recorded.set(name, nowMs);
    for (const oldest of this.#recorded.keys()) {
      if (this.#recorded.size <= RECORDED_MAX) break;
      this.#recorded.delete(oldest);
    }
    return true;
  }
}

/** So old may be what says that there is nothing. */
const RETRY_FRESH_MS = 250;

export const isPartsPlace = (place: KeyPlace): place is PartsPlace =>
  place.kind === 'log' || place.kind === 'map' || place.kind === 'snapshotMap' || place.kind === 'upload';

/** @throws invalid `span-past-end` as a store does */
function rangeIn(
  key: string,
  span: ByteSpan | undefined,
  sizeBytes: number,
): { readonly start: number; readonly end: number } {
  if (span === undefined) return { start: 0, end: sizeBytes };
  const start = 'suffix' in span ? Math.max(0, sizeBytes - span.suffix) : span.offset;
  if (start >= sizeBytes) {
    const message = `${JSON.stringify(span)} lies past the end of ${key} (${String(sizeBytes)} bytes)`;
    throw new SgwError('invalid', 'span-past-end', message, { details: { key, sizeBytes } });
  }
  return { start, end: 'suffix' in span ? sizeBytes : Math.min(sizeBytes, span.offset + span.length) };
}

/** The same grants of the same object have the same digest, on every server; with `numbers` also the roots of each frame. */
function digestOf(etag: string, granted: Uint16Array | ReadonlyMap<number, number>, numbers: boolean): string {
  const hash = createHash('sha256').update(etag).update('\n');
  if (granted instanceof Uint16Array) {
    const shown = numbers ? granted : granted.map((root) => (root === 0 ? 0 : 1));
    // What is behind the last granted frame says nothing.
    const last = shown.findLastIndex((root) => root !== 0);
    hash.update(Buffer.from(shown.slice(0, last + 1).buffer));
  } else hash.update([...granted.keys()].sort((a, b) => a - b).join());
  return hash.digest('hex').slice(0, 32);
}
