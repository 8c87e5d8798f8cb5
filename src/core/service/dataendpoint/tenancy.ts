/** What all gateways' requests of one server share: the service's records, what roots reach, and what was checked. */
import { MapCheck, nodeLoader, SegmentReader, type NodeLoader } from '../../blockstore/inspect/index.ts';
import { readStoreInfo, type StoreInfo } from '../../blockstore/index.ts';
import { SgwError, type VolumeId } from '../../kit/index.ts';
import type { ServiceContext } from '../context.ts';
import type { ExportControl } from '../exportcontrol/export-control.ts';
import type { Quotas } from '../quotas/quotas.ts';
import { Access } from './access.ts';
import type { OnFenced } from './events.ts';
import { Parts } from './parts.ts';
import { Records } from './records.ts';

const PRESENT_MS = 5000;
const PRESENT_MAX = 16_384;

export interface TenancyParts {
  readonly context: ServiceContext;
  readonly exports: ExportControl;
  readonly quotas: Quotas;
  readonly onFenced: OnFenced;
}

export class Tenancy {
  readonly context: ServiceContext;
  readonly exports: ExportControl;
  readonly quotas: Quotas;
  readonly onFenced: OnFenced;
  readonly records: Records;
  readonly access: Access;
  readonly parts: Parts;
  readonly maps: MapCheck;
  readonly segments: SegmentReader;
  readonly load: NodeLoader;
  #store: Promise<StoreInfo> | undefined;
  /** Volumes that were there a moment ago, and until when that holds; the oldest first. */
  readonly #present = new Map<VolumeId, number>();

  constructor({ context, exports, quotas, onFenced }: TenancyParts) {
    const { blocks } = context;
    this.context = context;
    this.exports = exports;
    this.quotas = quotas;
    this.onFenced = onFenced;
    this.load = nodeLoader(blocks);
    this.records = new Records(context);
    this.access = new Access(context, this.records, this.load);
    this.parts = new Parts(context, this.access, exports);
    this.segments = new SegmentReader(blocks);
    this.maps = new MapCheck({
      load: this.load,
      read: async (key, signal) => (await blocks.objects.get(key, { signal }))?.bytes,
    });
  }

  /** Whose key the store is sealed with; null when it is not. It never changes. */
  async sealed(signal: AbortSignal): Promise<string | null> {
    this.#store ??= this.#readStore().catch((error: unknown) => {
      this.#store = undefined;
      throw error;
    });
    const { keyDerivation } = await this.#store;
    signal.throwIfAborted();
    return keyDerivation?.keyId ?? null;
  }

  async #readStore(): Promise<StoreInfo> {
    const info = await readStoreInfo(this.context.blocks.objects);
    if (info !== undefined) return info;
    throw new SgwError('unavailable', 'store-gone', 'the store of the service is none any more');
  }

  /** Whether a volume has an entry, and is not being purged; or was so a moment ago. */
  async isPresent(volumeId: VolumeId, signal: AbortSignal): Promise<boolean> {
    const nowMs = this.context.blocks.clock.monotonicMs();
    if ((this.#present.get(volumeId) ?? 0) > nowMs) return true;
    const entry = await this.records.entry(volumeId, signal);
    if (entry === undefined || entry['state'] === 'purging') return false;
    this.#present.delete(volumeId);
    this.#present.set(volumeId, nowMs + PRESENT_MS);
    for (const oldest of this.#present.keys()) {
      if (this.#present.size <= PRESENT_MAX) break;
      this.#present.delete(oldest);
    }
    return true;
  }

  close(): void {
    this.access.close();
  }
}

/** A store with a customer's key is that customer's alone. */
export const sealedFor = (keyId: string | null, accountId: string): boolean => keyId === null || keyId === accountId;
