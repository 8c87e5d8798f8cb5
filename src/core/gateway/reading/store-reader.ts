/**
 * What can be read of a store without a gateway, by the code that answers a gateway too.
 *
 * States: unopened -> open -> closed. The store is opened by the first call, and its key unlocked then; calls share both.
 */
import type * as Api from '../../localapi/index.ts';
import type { ObjectStore } from '../../objectstore/index.ts';
import type { Gateway } from '../gateway.ts';
import type { GatewayParts } from '../parts.ts';
import type { Session } from '../session.ts';
import { listSnapshots, showSnapshot } from '../snapshots.ts';
import { listVolumes, showVolume } from '../volumes.ts';
import { openStoreSession } from './open-store.ts';

type In<N extends Api.OperationName> = Api.Input<N>;
type Out<N extends Api.OperationName> = Promise<Api.Result<N>>;
type Call = Api.CallContext;

/** What a gateway answers, and a store alone as well. */
export type Reads = Pick<
  Gateway,
  | 'listVolumes'
  | 'showVolume'
  | 'listRecoveryPoints'
  | 'listSnapshots'
  | 'showSnapshot'
  | 'exportSnapshot'
  | 'verifySnapshot'
  | 'copyStore'
>;

export class StoreReader implements Reads, AsyncDisposable {
  readonly #parts: GatewayParts;
  readonly #place: string;
  #objects: Promise<ObjectStore> | undefined;
  #session: Promise<Session> | undefined;

  /** `place`: a directory or the URL of a bucket. Of the parts, the home is never looked at. */
  constructor(parts: GatewayParts, place: string) {
    this.#parts = parts;
    this.#place = place;
  }

  async listVolumes(input: In<'volume.list'>, call: Call): Out<'volume.list'> {
    return await listVolumes(await this.#open(call), input, call);
  }

  async showVolume(input: In<'volume.show'>, call: Call): Out<'volume.show'> {
    return await showVolume(await this.#open(call), input, call);
  }

  async listRecoveryPoints(input: In<'recovery-point.list'>, call: Call): Out<'recovery-point.list'> {
    const { listPoints } = await import('../recovery-points.ts');
    return await listPoints(await this.#open(call), input, call);
  }

  async listSnapshots(input: In<'snapshot.list'>, call: Call): Out<'snapshot.list'> {
    return await listSnapshots(await this.#open(call), input, call);
  }

  async showSnapshot(input: In<'snapshot.show'>, call: Call): Out<'snapshot.show'> {
    return await showSnapshot(await this.#open(call), input, call);
  }

  async exportSnapshot(input: In<'snapshot.export'>, call: Call): Out<'snapshot.export'> {
    const { exportSnapshot } = await import('../snapshot-export.ts');
    return await exportSnapshot(await this.#open(call), input, call);
  }

  async verifySnapshot(input: In<'snapshot.verify'>, call: Call): Out<'snapshot.verify'> {
    const { verifySnapshot } = await import('../verification.ts');
    return await verifySnapshot(await this.#open(call), input, call);
  }

  async copyStore(input: In<'store.copy'>, call: Call): Out<'store.copy'> {
    const { copyStores } = await import('../store-copy.ts');
    return await copyStores(this.#parts, input, call);
  }

  /** Closes what was opened. Idempotent. */
  async close(): Promise<void> {
    const opened = this.#objects;
    this.#objects = undefined;
    await (await opened?.catch(() => undefined))?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #open(call: Call): Promise<Session> {
    this.#objects ??= this.#parts.openStore(this.#place, { create: false });
    this.#session ??= openStoreSession(this.#parts, await this.#objects, call);
    return await this.#session;
  }
}
