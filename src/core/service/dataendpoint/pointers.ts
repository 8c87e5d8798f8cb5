/** What maps, heads, snapshots and pins of one account may point to. */
import {
  isSamePointer,
  keys,
  parseDocument,
  placeOfKey,
  type MapRules,
  type NodePointer,
} from '../../blockstore/inspect/index.ts';
import { toSgwError, type SnapshotId, type VolumeId } from '../../kit/index.ts';
import type { GatewayPrincipal } from '../identity/principal.ts';
import { rootsOfHead } from './documents-check.ts';
import { refuseContents } from './rights.ts';
import type { Tenancy } from './tenancy.ts';

export class Pointers {
  readonly rules: MapRules;
  readonly #tenancy: Tenancy;
  readonly #gateway: GatewayPrincipal;

  constructor(tenancy: Tenancy, gateway: GatewayPrincipal) {
    this.#tenancy = tenancy;
    this.#gateway = gateway;
    this.rules = {
      owns: async (key, signal) => {
        const place = placeOfKey(key);
        if (place?.kind === 'map') return await this.#owns(place.volumeId, signal);
        return place?.kind === 'snapshotMap' && (await this.#owns(place.snapshotId, signal));
      },
      allows: async (source, frame, signal) => await this.#allows(source, frame, signal),
    };
  }

  /**
   * Roots that are shown from now on: those that were shown before, those of maps of the account, and what the volume was
   * granted. @throws denied `write-refused`
   */
  async requireRoots(
    key: string,
    volumeId: VolumeId,
    roots: readonly NodePointer[],
    known: readonly NodePointer[],
    signal: AbortSignal,
  ): Promise<void> {
    const grants = await this.#tenancy.records.grantsOf(this.#gateway.accountId, volumeId, signal);
    const taken = [...known, ...grants.map(({ root }) => root)];
    for (const root of roots) {
      if (taken.some((one) => isSamePointer(one, root))) continue;
      if (await this.#tenancy.maps.isOwnRoot(root, this.rules, signal)) continue;
      throw refuseContents(key, 'it shows a map to which nothing gives it a right');
    }
  }

  /** Maps whose places a new map of the volume may keep: what its head shows, and what it was granted. */
  async bases(volumeId: VolumeId, signal: AbortSignal): Promise<NodePointer[]> {
    const headKey = keys.head(volumeId);
    const head = await this.#tenancy.context.blocks.objects.get(headKey, { signal });
    const shown = head === undefined ? [] : rootsOfHead(headKey, parseDocument(headKey, head.bytes).stored);
    const grants = await this.#tenancy.records.grantsOf(this.#gateway.accountId, volumeId, signal);
    const bases: NodePointer[] = [];
    for (const root of [...shown, ...grants.map((grant) => grant.root)])
      if (!bases.some((base) => isSamePointer(base, root))) bases.push(root);
    return bases;
  }

  /** Whether a root is of a map of the account, of a snapshot that it sees, or of one that was granted to it. */
  async maySee(root: NodePointer, signal: AbortSignal): Promise<boolean> {
    if (await this.#tenancy.maps.isOwnRoot(root, this.rules, signal)) return true;
    const { accountId } = this.#gateway;
    const snapshots = await this.#tenancy.access.visibleSnapshots(accountId, signal);
    if (snapshots.some((one) => one.root !== null && isSamePointer(one.root, root))) return true;
    const place = placeOfKey(root.key);
    const id = place && ('volumeId' in place ? place.volumeId : 'snapshotId' in place ? place.snapshotId : undefined);
    if (id === undefined) return false;
    const lineage = await this.#tenancy.access.lineageOf(id, signal);
    if (lineage === undefined) return false;
    const roots = await this.#tenancy.access.roots(accountId, lineage, signal);
    return roots.some((one) => isSamePointer(one.root, root));
  }

  /** Frames of the account's own log; where they may have blocks of others merged into them, as their segment says. */
  async #allows(
    source: { readonly key: string; readonly segmentId: string; readonly creators: readonly string[] },
    frame: number,
    signal: AbortSignal,
  ): Promise<boolean> {
    const place = placeOfKey(source.key);
    if (place?.kind !== 'log' || !(await this.#owns(place.volumeId, signal))) return false;
    const { accountId } = this.#gateway;
    const grants = await this.#tenancy.records.grantsOf(accountId, place.volumeId, signal);
    if (grants.length === 0) return source.creators.length === 1 && source.creators[0] === accountId;
    try {
      const index = await this.#tenancy.segments.index(source, signal);
      const creators = [...(index.footer.creators[index.frame(frame).creators] ?? [])].sort();
      return creators.join() === source.creators.join();
    } catch (error) {
      if (toSgwError(error).kind !== 'corrupt') throw error;
      return false;
    }
  }

  async #owns(id: VolumeId | SnapshotId, signal: AbortSignal): Promise<boolean> {
    return (await this.#tenancy.records.ownerOf(id, signal)) === this.#gateway.accountId;
  }
}
