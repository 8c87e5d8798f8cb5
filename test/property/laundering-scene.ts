/**
 * Accounts that work on each other's blocks, over a real block store and a real service. Every byte that an account writes
 * names it, so that what a snapshot reads as tells whose blocks are in it, whatever the store has noted of them (C17).
 */
import { expect } from 'vitest';
import { blockViews, FrameEncoder } from '../../src/core/blockstore/frame-codec.ts';
import {
  BLOCK_BYTES,
  BLOCK_PAGES,
  Catalog,
  createSnapshot,
  createStore,
  openSnapshotView,
  openVolumeWriter,
  PAGE_BYTES,
  type BlockStoreOptions,
  type SnapshotEntry,
  type VolumeEntry,
} from '../../src/core/blockstore/index.ts';
import { collectGarbage, rewriteVolume } from '../../src/core/blockstore/gc/index.ts';
import { seededRandom, SgwError } from '../../src/core/kit/index.ts';
import { PrivateKey, signRequest, type ServiceConnections, type Signer } from '../../src/core/protocol/index.ts';
import { openService } from '../../src/core/service/index.ts';
import { holder, optionsOver, readAll } from '../unit/blockstore/volume-model.ts';

/** What each account fills with: letters, and a number at odd places, so that pages of one account differ. */
const LETTERS = 'ABC';
const ACCOUNTS = ['111111111111', '222222222222', '333333333333'] as const;
export type Who = 0 | 1 | 2;
export const idOf = (who: Who): string => ACCOUNTS[who];

export interface Held {
  readonly entry: VolumeEntry;
  readonly owner: Who;
}

export interface Taken {
  readonly entry: SnapshotEntry;
  readonly owner: Who;
}

export class Scene {
  readonly blocks: BlockStoreOptions;
  readonly #catalog: Catalog;
  readonly #connections: ServiceConnections;
  readonly #signers: readonly Signer[];
  #names = 0;
  #fillings = 0;

  private constructor(blocks: BlockStoreOptions, connections: ServiceConnections, signers: readonly Signer[]) {
    this.blocks = blocks;
    this.#catalog = new Catalog(blocks);
    this.#connections = connections;
    this.#signers = signers;
  }

  /** A store with three accounts, each with a gateway that acts for it alone. */
  static async start(blocks: BlockStoreOptions = optionsOver()): Promise<Scene> {
    const { storeId } = await createStore(blocks);
    const connections = openService({ blocks, serviceId: storeId, isEmbedded: false });
    const signers: Signer[] = [];
    for (const [who, accountId] of ACCOUNTS.entries()) {
      const account = { name: `account-${String(who)}`, accountId, clientToken: null };
      await connections.operator.request('account.create', account, { signal });
      signers.push(await enrolled(blocks, connections, accountId, who));
    }
    return new Scene(blocks, connections, signers);
  }

  async volume(owner: Who, sizeBytes: number, from?: Taken): Promise<Held> {
    const name = `v${String(this.#names++)}`;
    const clone = from === undefined ? {} : { from: from.entry };
    return { entry: await this.#catalog.createVolume({ name, sizeBytes, accountId: idOf(owner), ...clone }), owner };
  }

  /** Fills whole pages in the name of the volume's owner, and commits. */
  async write(volume: Held, pages: readonly number[]): Promise<void> {
    const encoder = new FrameEncoder();
    for (const block of new Set(pages.map((page) => Math.floor(page / BLOCK_PAGES)).sort((a, b) => a - b))) {
      const bytes = Buffer.alloc(BLOCK_BYTES);
      for (const page of pages.filter((one) => Math.floor(one / BLOCK_PAGES) === block))
        this.page(volume.owner).copy(bytes, (page % BLOCK_PAGES) * PAGE_BYTES);
      encoder.add(block, blockViews(bytes));
    }
    const writer = await this.#open(volume);
    await writer.commit({ encoded: [encoder.finish()], consistent: true });
    await writer.close();
  }

  /** A page of an account's, unlike any other. */
  page(who: Who): Buffer {
    const filling = 1 + (this.#fillings++ % 250);
    const page = Buffer.alloc(PAGE_BYTES, LETTERS.charAt(who));
    for (let at = 1; at < PAGE_BYTES; at += 2) page[at] = filling;
    return page;
  }

  async resize(volume: Held, sizeBytes: number): Promise<void> {
    const writer = await this.#open(volume);
    await writer.resize(sizeBytes);
    await writer.close();
  }

  async snapshot(volume: Held): Promise<Taken> {
    const name = `s${String(this.#names++)}`;
    const { owner } = volume;
    const current = await this.#catalog.getVolume(volume.entry.volumeId);
    return { entry: await createSnapshot(this.blocks, { volume: current, name, accountId: idOf(owner) }), owner };
  }

  async deleteSnapshot({ entry }: Taken): Promise<void> {
    await this.#catalog.updateSnapshot(entry.snapshotId, (now) => ({ ...now, state: 'deleted' }));
  }

  /** Removes what nothing needs, and writes what is live in poor segments anew. Returns how many segments were. */
  async collect(by: Who): Promise<number> {
    const report = await collectGarbage(this.blocks, { graceMs: 0, preview: false });
    let segments = 0;
    for (const [volumeId, candidates] of report.ownSegments) {
      const { snapshotIds } = report;
      const how = { candidates, snapshotIds, holder, accountId: idOf(by) };
      segments += (await rewriteVolume(this.blocks, volumeId, how)).segments;
    }
    await collectGarbage(this.blocks, { graceMs: 0, preview: false });
    return segments;
  }

  async share(by: Who, { entry }: Taken, withWhom: Who): Promise<void> {
    await this.#change('snapshot.share', by, entry, withWhom);
  }

  async unshare(by: Who, { entry }: Taken, withWhom: Who): Promise<void> {
    await this.#change('snapshot.unshare', by, entry, withWhom);
  }

  /** Whether the service lets the account export it, and whether it says the same in all its ways. */
  async mayExport(who: Who, { entry }: Taken): Promise<boolean> {
    const { snapshotId } = entry;
    const accountId = idOf(who);
    const ask = async (purpose: 'export' | 'clone'): Promise<boolean> => {
      const request = signRequest(this.#signer(who), 'export.decide', { accountId, snapshotId, purpose });
      try {
        await this.#connections.gateway.request('export.decide', request, { signal });
        return true;
      } catch (error) {
        if (error instanceof SgwError && (error.kind === 'denied' || error.kind === 'notFound')) return false;
        throw error;
      }
    };
    const list = signRequest(this.#signer(who), 'export.list', { accountId, snapshotIds: [snapshotId] });
    const look = signRequest(this.#signer(who), 'export.assess', { accountId, snapshotId });
    const { exportable } = await this.#connections.gateway.request('export.list', list, { signal });
    const assessed = await this.#connections.gateway.request('export.assess', look, { signal });
    const answers = [await ask('export'), await ask('clone'), exportable.length === 1, assessed.exportable];
    expect(new Set(answers).size).toBe(1);
    return answers[0] === true;
  }

  async read({ entry }: Taken): Promise<Buffer> {
    const now = await this.#catalog.getSnapshot(entry.snapshotId);
    return await readAll(openSnapshotView(this.blocks, now));
  }

  /**
   * C17, S7: the snapshot names everybody whose bytes it reads as, and nobody exports it but its owner and who its owner
   * shares it with, if all of those agree. `grants` are pairs of who grants and to whom.
   */
  async expectNotLaundered(snapshot: Taken, grants: readonly (readonly [by: Who, to: Who])[] = []): Promise<void> {
    const authors = authorsOf(await this.read(snapshot));
    const { creators } = await this.#catalog.getSnapshot(snapshot.entry.snapshotId);
    for (const author of authors) expect(creators).toContain(idOf(author));
    for (const who of [0, 1, 2] as const) {
      const agrees = (by: Who): boolean => by === who || grants.some(([from, to]) => from === by && to === who);
      const allowed = agrees(snapshot.owner) && [...authors].every(agrees);
      if (!allowed) expect(await this.mayExport(who, snapshot), `account ${String(who)}`).toBe(false);
      // And nothing is withheld for no reason: who is named as a creator, and agrees with all the others, may.
      else if (creators.length === authors.size) expect(await this.mayExport(who, snapshot)).toBe(true);
    }
  }

  async creatorsOf({ entry }: Taken): Promise<readonly string[]> {
    return (await this.#catalog.getSnapshot(entry.snapshotId)).creators;
  }

  #signer(who: Who): Signer {
    const signer = this.#signers[who];
    if (signer === undefined) throw new Error('no such account');
    return signer;
  }

  async #change(
    message: 'snapshot.share' | 'snapshot.unshare',
    by: Who,
    { snapshotId }: SnapshotEntry,
    withWhom: Who,
  ): Promise<void> {
    const body = { accountId: idOf(by), snapshotId, withAccountId: idOf(withWhom) };
    await this.#connections.gateway.request(message, signRequest(this.#signer(by), message, body), { signal });
  }

  #open({ entry, owner }: Held): ReturnType<typeof openVolumeWriter> {
    return openVolumeWriter(this.blocks, entry.volumeId, { holder, accountId: idOf(owner) });
  }
}

const { signal } = new AbortController();

/** Whose bytes these are. */
export function authorsOf(bytes: Buffer): Set<Who> {
  const found = new Set<Who>();
  for (let at = 0; at < bytes.length; at += 2) {
    const who = LETTERS.indexOf(String.fromCharCode(bytes[at] ?? 0));
    if (who >= 0) found.add(who as Who);
  }
  return found;
}

/** A gateway of the account, as activation makes it. */
async function enrolled(
  blocks: BlockStoreOptions,
  { serviceId, gateway, operator }: ServiceConnections,
  accountId: string,
  who: number,
): Promise<Signer> {
  const { clock } = blocks;
  const random = seededRandom(100 + who);
  const key = PrivateKey.make(random);
  const metadata = {};
  const registered = await gateway.request('activation.register', { publicKey: key.publicKey, metadata }, { signal });
  const { activationId: signer, challenge } = registered;
  const device = { key, signer, credentialId: null, serviceId, clock, random };
  const proof = signRequest(device, 'activation.prove', { challenge, metadata });
  const { activationKey } = await gateway.request('activation.prove', proof, { signal });
  const words = { gatewayName: `g${String(who)}`, accountId, mode: 'cached', region: 'local' } as const;
  const claim = { activationKey, ...words, gatewayId: null, confirm: true };
  const { gatewayId } = await operator.request('activation.claim', claim, { signal });
  const request = signRequest(device, 'activation.credential', { activationKey, gatewayId, accountId });
  const { credentialId } = await gateway.request('activation.credential', request, { signal });
  return { ...device, signer: gatewayId, credentialId };
}
