/**
 * Three accounts, each with a gateway, over one store, as the data endpoint shows it to each of them: the block store's own
 * code works on it. Every byte that an account writes names it, so that what is read tells whose it is.
 */
import { blockViews, FrameEncoder } from '../../../../src/core/blockstore/frame-codec.ts';
import {
  BLOCK_BYTES,
  BLOCK_PAGES,
  Catalog,
  createSnapshot,
  createStore,
  openSnapshotView,
  openVolumeView,
  openVolumeWriter,
  PAGE_BYTES,
  type BlockStoreOptions,
  type SnapshotEntry,
  type VolumeEntry,
} from '../../../../src/core/blockstore/index.ts';
import { seededRandom, systemClock, type Clock } from '../../../../src/core/kit/index.ts';
import { memoryStore, type ObjectStore } from '../../../../src/core/objectstore/index.ts';
import { Audit } from '../../../../src/core/service/audit/audit.ts';
import type { ServiceContext } from '../../../../src/core/service/context.ts';
import { AccountStore } from '../../../../src/core/service/dataendpoint/account-store.ts';
import type { Fenced } from '../../../../src/core/service/dataendpoint/events.ts';
import { Tenancy } from '../../../../src/core/service/dataendpoint/tenancy.ts';
import { Quotas } from '../../../../src/core/service/quotas/quotas.ts';
import { ExportControl } from '../../../../src/core/service/exportcontrol/export-control.ts';
import { openProviderStore } from '../../../../src/core/service/providerkeys/index.ts';
import { ServiceKey } from '../../../../src/core/service/server/index.ts';
import { Sharing } from '../../../../src/core/service/exportcontrol/sharing.ts';
import { Accounts } from '../../../../src/core/service/identity/accounts.ts';
import type { GatewayPrincipal } from '../../../../src/core/service/identity/principal.ts';
import { readAll } from '../../blockstore/volume-model.ts';

export type Who = 0 | 1 | 2;
export const EVERYBODY: readonly Who[] = [0, 1, 2];
const LETTERS = 'ABC';
const ACCOUNTS = ['111111111111', '222222222222', '333333333333'] as const;
export const accountOf = (who: Who): string => ACCOUNTS[who];
export const gatewayOf = (who: Who): GatewayPrincipal => ({
  kind: 'gateway',
  gatewayId: `sgw-0000000${String(who + 1)}`,
  accountId: ACCOUNTS[who],
});

const NO_SIGNAL = new AbortController().signal;
export const NONE = { signal: NO_SIGNAL } as const;

/** The machine's clock, which can be put forward. */
export class ShiftedClock implements Clock {
  #shiftMs = 0;

  advance(ms: number): void {
    this.#shiftMs += ms;
  }

  nowMs(): number {
    return systemClock.nowMs() + this.#shiftMs;
  }

  monotonicMs(): number {
    return systemClock.monotonicMs() + this.#shiftMs;
  }

  async sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    await systemClock.sleep(durationMs, signal);
  }
}

export class Tenants {
  readonly clock = new ShiftedClock();
  /** The service's own, with all rights. */
  readonly blocks: BlockStoreOptions;
  readonly context: ServiceContext;
  readonly exports: ExportControl;
  readonly quotas: Quotas;
  readonly tenancy: Tenancy;
  readonly fenced: Fenced[] = [];
  readonly #sharing: Sharing;
  readonly #seen: readonly BlockStoreOptions[];
  #names = 0;
  #fillings = 0;

  private constructor(context: ServiceContext, clock: ShiftedClock) {
    this.clock = clock;
    this.blocks = context.blocks;
    this.context = context;
    const audit = new Audit(this.context);
    this.exports = new ExportControl(this.context, audit);
    this.#sharing = new Sharing(this.context, new Accounts(this.context), audit);
    this.quotas = new Quotas(this.context);
    this.tenancy = this.newTenancy();
    this.#seen = EVERYBODY.map((who) => this.over(this.store(who), who));
  }

  /** `isSealed`: whether the service seals what it stores in `below`. */
  static async start(below: ObjectStore = memoryStore(), seed = 1, isSealed = false): Promise<Tenants> {
    const clock = new ShiftedClock();
    const plain: BlockStoreOptions = { objects: below, clock, random: seededRandom(seed) };
    const serviceKey = new ServiceKey(Buffer.alloc(32, 7), plain.random);
    const how = { mayBegin: true, signal: NO_SIGNAL };
    const sealed = isSealed ? await openProviderStore(plain, serviceKey, how) : undefined;
    const blocks = { ...plain, objects: sealed?.objects ?? below };
    const { storeId } = await createStore(blocks);
    const tenants = new Tenants({ ...sealed, blocks, serviceId: storeId, isEmbedded: false }, clock);
    const accounts = new Accounts(tenants.context);
    for (const who of EVERYBODY)
      await accounts.create(
        { name: `account-${String(who)}`, accountId: accountOf(who), clientToken: null },
        NO_SIGNAL,
      );
    return tenants;
  }

  /** Of another server over the same store. */
  newTenancy(): Tenancy {
    const { context, exports, quotas } = this;
    return new Tenancy({ context, exports, quotas, onFenced: (fenced) => this.fenced.push(fenced) });
  }

  /** The store as a gateway sees it, without the network between. */
  store(who: Who, tenancy = this.tenancy): AccountStore {
    return new AccountStore(tenancy, gatewayOf(who), async () => Promise.resolve(() => undefined));
  }

  over(objects: ObjectStore, who: Who): BlockStoreOptions {
    return { objects, clock: this.clock, random: seededRandom(this.#names++ * 17 + 5 + who) };
  }

  of(who: Who): BlockStoreOptions {
    const seen = this.#seen[who];
    if (seen === undefined) throw new Error('no such account');
    return seen;
  }

  async volume(who: Who, sizeBytes = 1 << 20, from?: SnapshotEntry, blocks = this.of(who)): Promise<VolumeEntry> {
    const name = `v${String(this.#names++)}`;
    const size = from === undefined ? sizeBytes : Math.max(sizeBytes, from.sizeBytes);
    const clone = from === undefined ? {} : { from };
    return await new Catalog(blocks).createVolume({ name, sizeBytes: size, accountId: accountOf(who), ...clone });
  }

  page(who: Who): Buffer {
    const filling = 1 + (this.#fillings++ % 250);
    const page = Buffer.alloc(PAGE_BYTES, LETTERS.charAt(who));
    for (let at = 1; at < PAGE_BYTES; at += 2) page[at] = filling;
    return page;
  }

  /** Fills whole pages in the account's name, and commits. */
  async write(
    who: Who,
    { volumeId }: Pick<VolumeEntry, 'volumeId'>,
    pages: readonly number[],
    {
      creators,
      blocks = this.of(who),
    }: { readonly creators?: readonly string[]; readonly blocks?: BlockStoreOptions } = {},
  ): Promise<void> {
    const encoder = new FrameEncoder();
    for (const block of new Set(pages.map((page) => Math.floor(page / BLOCK_PAGES)).sort((a, b) => a - b))) {
      const bytes = Buffer.alloc(BLOCK_BYTES);
      for (const page of pages.filter((one) => Math.floor(one / BLOCK_PAGES) === block))
        this.page(who).copy(bytes, (page % BLOCK_PAGES) * PAGE_BYTES);
      encoder.add(block, blockViews(bytes));
    }
    const { gatewayId } = gatewayOf(who);
    const holder = { gatewayId, name: `g${String(who)}` };
    const writer = await openVolumeWriter(blocks, volumeId, { holder, accountId: accountOf(who) });
    try {
      const sets = creators === undefined ? {} : { creators: [creators] };
      await writer.commit({ encoded: [encoder.finish()], consistent: true, ...sets });
      await writer.close();
    } finally {
      await writer.abandon();
    }
  }

  async snapshot(who: Who, { volumeId }: Pick<VolumeEntry, 'volumeId'>, blocks = this.of(who)): Promise<SnapshotEntry> {
    const volume = await new Catalog(blocks).getVolume(volumeId);
    const { gatewayId: maker } = gatewayOf(who);
    const name = `s${String(this.#names++)}`;
    return await createSnapshot(blocks, { volume, name, accountId: accountOf(who), maker });
  }

  async share(by: Who, { snapshotId }: Pick<SnapshotEntry, 'snapshotId'>, withWhom: Who): Promise<void> {
    const { gatewayId, accountId } = gatewayOf(by);
    await this.#sharing.share({ gatewayId, accountId }, { snapshotId, withAccountId: accountOf(withWhom) }, NO_SIGNAL);
    this.settle();
  }

  async unshare(by: Who, { snapshotId }: Pick<SnapshotEntry, 'snapshotId'>, withWhom: Who): Promise<void> {
    const { gatewayId, accountId } = gatewayOf(by);
    await this.#sharing.unshare(
      { gatewayId, accountId },
      { snapshotId, withAccountId: accountOf(withWhom) },
      NO_SIGNAL,
    );
    this.settle();
  }

  /** So much time passes that every server knows what the others did. */
  settle(): void {
    this.clock.advance(10_000);
  }

  async readSnapshot(who: Who, { snapshotId }: Pick<SnapshotEntry, 'snapshotId'>): Promise<Buffer> {
    const entry = await new Catalog(this.of(who)).getSnapshot(snapshotId);
    return await readAll(openSnapshotView(this.of(who), entry));
  }

  async readVolume(who: Who, { volumeId }: Pick<VolumeEntry, 'volumeId'>): Promise<Buffer> {
    return await readAll(await openVolumeView(this.of(who), volumeId));
  }

  /** As the service reads it, past all rights. */
  async truth({ volumeId }: Pick<VolumeEntry, 'volumeId'>): Promise<Buffer> {
    return await readAll(await openVolumeView(this.blocks, volumeId));
  }

  /** Everything in the store, by key. */
  async objects(): Promise<Map<string, Buffer>> {
    const found = new Map<string, Buffer>();
    for await (const { key } of this.blocks.objects.list('')) {
      const body = await this.blocks.objects.get(key);
      if (body !== undefined) found.set(key, body.bytes);
    }
    return found;
  }
}

/** Whose bytes these are. */
export function authorsOf(bytes: Buffer): Set<Who> {
  const found = new Set<Who>();
  for (let at = 0; at < bytes.length; at += 2) {
    const who = LETTERS.indexOf(String.fromCharCode(bytes[at] ?? 0));
    if (who >= 0) found.add(who as Who);
  }
  return found;
}
