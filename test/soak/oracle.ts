/**
 * What must hold after any kill: every completed snapshot lists and verifies, and holds the state that it was taken
 * from; every volume holds a state that was really there; nothing came or went that nobody asked for.
 */
import { readFileSync } from 'node:fs';
import { blake3 } from '@napi-rs/blake-hash';
import { openInProcess } from '../../src/core/daemon/index.ts';
import { SgwError } from '../../src/core/kit/index.ts';
import type { Input, OperationName, Result } from '../../src/core/localapi/index.ts';
import type { ObjectStore } from '../../src/core/objectstore/index.ts';
import { hashWith } from '../reader/independent-formats.ts';
import { keyFileBytes, unlock, type StoreKeys } from '../reader/independent-sealing.ts';
import { readSnapshot, readVolume, type Contents } from '../reader/independent-reader.ts';
import { PAGE_BYTES, describeDifference, numberOf, readState, stateName, type DiskState } from './disk-state.ts';
import { oneState, theState, type Model, type ModelSnapshot, type ModelVolume, type States } from './model.ts';

/** Something is lost, wrong or stuck: what the soak looks for. */
export class Loss extends Error {}

/** Where the soak's things are. */
export interface Premises {
  readonly home: string;
  readonly objects: ObjectStore;
  /** Of an encrypted store. */
  readonly keyFile?: string;
  /** Of every disk. */
  readonly pages: number;
}

export interface Listing {
  readonly volumes: Result<'volume.list'>['volumes'];
  readonly snapshots: Result<'snapshot.list'>['snapshots'];
}

export class Oracle {
  readonly #premises: Premises;
  readonly #model: Model;
  #keys: StoreKeys | undefined;

  constructor(premises: Premises, model: Model) {
    hashWith(blake3);
    this.#premises = premises;
    this.#model = model;
  }

  /** What opens the store to other code than the product's; undefined when it is not encrypted. */
  async storeKeys(): Promise<StoreKeys | undefined> {
    const { keyFile } = this.#premises;
    if (keyFile === undefined) return undefined;
    const bytes = keyFileBytes(readFileSync(keyFile, 'utf8'));
    this.#keys ??= await unlock(this.#get, { kind: 'keyFile', bytes });
    return this.#keys;
  }

  async list(): Promise<Listing> {
    const { volumes } = await this.call('volume.list', { deleted: true });
    const { snapshots } = await this.call('snapshot.list', {});
    return { volumes, snapshots };
  }

  /** One operation, by a gateway opened for it alone. @throws Loss when it fails */
  async call<N extends OperationName>(name: N, input: Input<N>): Promise<Result<N>> {
    const { home, keyFile } = this.#premises;
    await using api = await openInProcess({ home });
    const context = {
      signal: new AbortController().signal,
      onProgress: () => undefined,
      lockTimeoutMs: 5000,
      ...(keyFile === undefined
        ? {}
        : { secrets: { unlock: async () => ({ keyFile: readFileSync(keyFile, 'utf8') }) } }),
    };
    try {
      return await api.call(name, input, context);
    } catch (error) {
      const said = error instanceof SgwError ? `[${error.code}] ${error.message}` : String(error);
      throw new Loss(`${name} ${JSON.stringify(input)} fails: ${said}`, { cause: error });
    }
  }

  /**
   * Holds the listing against the model. What is in `uncertain` may have come or gone, and the model follows; the
   * rest must be as it was. `born` may be absent.
   */
  adopt(listing: Listing, uncertain: ReadonlySet<string>, born: ReadonlySet<string>): void {
    for (const volume of [...this.#model.volumes.values()]) {
      const listed = listing.volumes.filter(({ name }) => name === volume.name);
      if (listed.length > 1) throw new Loss(`${listed.length} volumes are named ${volume.name}`);
      this.#adoptVolume(volume, listed[0]?.state, uncertain, born);
    }
    const stranger = listing.volumes.find(({ name }) => !this.#model.volumes.has(name));
    if (stranger !== undefined) throw new Loss(`volume "${stranger.name}" was made by nobody`);
    const completed = listing.snapshots.filter(({ state }) => state === 'completed').map(({ name }) => name);
    for (const snapshot of [...this.#model.snapshots.values()]) {
      const { name } = snapshot;
      const count = completed.filter((other) => other === name).length;
      if (count > 1) throw new Loss(`${count} completed snapshots are named ${name}`);
      if (count === 1) continue;
      if (!uncertain.has(name)) throw new Loss(`snapshot ${name} is gone from the list`);
      this.#model.snapshots.delete(name);
      if (born.has(name)) this.#model.undecided.set(name, snapshot);
    }
    for (const [name, snapshot] of this.#model.undecided) {
      if (completed.includes(name)) this.#model.snapshots.set(name, snapshot);
    }
    const risen = completed.find((name) => !this.#model.snapshots.has(name));
    if (risen !== undefined) throw new Loss(`snapshot ${risen} is listed, though it was deleted`);
    const damaged = [...listing.volumes, ...listing.snapshots].filter(({ state }) => state === 'damaged');
    if (damaged.length > 0) throw new Loss(`damaged entries: ${JSON.stringify(damaged)}`);
  }

  #adoptVolume(
    volume: ModelVolume,
    state: Listing['volumes'][number]['state'] | undefined,
    uncertain: ReadonlySet<string>,
    born: ReadonlySet<string>,
  ): void {
    if (state === volume.status) return;
    if (!uncertain.has(volume.name))
      throw new Loss(`volume ${volume.name} is ${String(state)} in the list, not ${volume.status}`);
    if (state === 'damaged') throw new Loss(`volume ${volume.name} is damaged`);
    if (state !== undefined) volume.status = state;
    else if (born.has(volume.name)) this.#model.volumes.delete(volume.name);
    else throw new Loss(`volume ${volume.name} is gone from the list`);
  }

  /** Every completed snapshot verifies. */
  async verifyAll(): Promise<void> {
    for (const { name } of this.#model.snapshots.values()) await this.call('snapshot.verify', { snapshot: name });
  }

  /** Reads a snapshot by other code than the product's; it holds a state that it may have, and that one from now on. */
  async checkSnapshot(snapshot: ModelSnapshot, snapshotId: string): Promise<void> {
    const what = `snapshot ${snapshot.name}`;
    const keys = await this.storeKeys();
    const state = await this.#read(what, async () => readSnapshot(this.#get, snapshotId, keys));
    snapshot.states = oneState(oneOf(what, state, snapshot.states));
  }

  /** Reads a volume's last consistent state likewise. */
  async checkVolume(volume: ModelVolume, volumeId: string): Promise<DiskState> {
    const what = `volume ${volume.name}`;
    const keys = await this.storeKeys();
    const state = await this.#read(what, async () => readVolume(this.#get, volumeId, 'consistent', keys));
    return oneOf(what, state, volume.possible);
  }

  /** An export holds the very bytes of its snapshot's state. */
  checkExport(snapshot: ModelSnapshot, path: string): void {
    const found = readState(path, this.#premises.pages);
    oneOf(`the export of ${snapshot.name}`, found, oneState(theState(snapshot.states)));
  }

  readonly #get = async (key: string): Promise<Buffer | undefined> => (await this.#premises.objects.get(key))?.bytes;

  async #read(what: string, open: () => Promise<Contents>): Promise<DiskState> {
    try {
      const contents = await open();
      if (contents.sizeBytes !== this.#premises.pages * PAGE_BYTES)
        throw new Error(`it has ${contents.sizeBytes} bytes`);
      const state = new Uint32Array(this.#premises.pages);
      for await (const { page, bytes } of contents.pages) state[page] = numberOf(bytes, page);
      return state;
    } catch (error) {
      throw new Loss(`${what} can not be read: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
  }
}

function oneOf(what: string, found: DiskState, allowed: States): DiskState {
  const state = allowed.get(stateName(found));
  if (state !== undefined) return state;
  const differences = [...allowed.values()].map((other) => describeDifference(found, other));
  throw new Loss(`${what} holds a state that was never there: ${differences.join(', or ')}`);
}
