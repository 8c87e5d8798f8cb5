/**
 * A session over a store alone: its place and, where it is encrypted, its key are all that it takes. No home is read or
 * written, no gateway is needed, and the store is written to for nothing but pins, which go again.
 */
import { Catalog, readStoreInfo, type BlockStoreOptions, type StoreInfo } from '../../blockstore/index.ts';
import { SgwError } from '../../kit/index.ts';
import type { CallContext } from '../../localapi/index.ts';
import type { ObjectStore } from '../../objectstore/index.ts';
import { newServingSettings } from '../../state/index.ts';
import { AccountCatalog } from '../account-catalog.ts';
import { Locks } from '../locks.ts';
import type { GatewayParts } from '../parts.ts';
import type { Session } from '../session.ts';
import type { Service } from '../service-access.ts';
import { refuseNameless } from '../store-place.ts';
import { ReaderService } from './reader-service.ts';

/** Of volumes from before there were accounts. */
const DEFAULT_ACCOUNT_ID = '000000000001';
const ACCOUNTS_NAMED_MAX = 20;
const READER_ID_BYTES = 4;

/**
 * What a call works with that only reads the store `objects`.
 * @throws notFound `store-missing` when there is no store of sgw, `account-not-found`; invalid `account-missing` when there
 * are several accounts and none is named; what unlocking throws; corrupt
 */
export async function openStoreSession(parts: GatewayParts, objects: ObjectStore, call: CallContext): Promise<Session> {
  const { home, clock, random, openPool, openService, accountId: wanted } = parts;
  const { signal } = call;
  const info = await readStoreInfo(objects, { signal });
  if (info === undefined) throw await noStore(objects, signal);
  const blocks = await unlocked({ objects, clock, random }, info, call);
  const { storeId } = info;
  const service = new ReaderService(async () => openService(blocks, storeId));
  const accountId = await accountOf(service, blocks, wanted, call);
  const gatewayId = `reader-${random.bytes(READER_ID_BYTES).toString('hex')}`;
  return {
    home,
    storeId,
    identity: { gatewayId, name: 'reader', mode: 'cached', accountId },
    blocks,
    catalog: new AccountCatalog(blocks, accountId),
    service,
    locks: new Locks(home),
    settings: { serving: newServingSettings(), volumeSettings: {}, attachments: [] },
    serving: undefined,
    openServing: undefined,
    isReader: true,
    openPool,
  };
}

/** Why there is no store of sgw to read. @throws it, where more is known */
export async function noStore(objects: ObjectStore, signal: AbortSignal): Promise<SgwError> {
  await refuseNameless(objects, signal);
  return new SgwError('notFound', 'store-missing', `${objects.description} holds no sgw store`, {
    hint: 'Check the directory, or the bucket and the prefix.',
    details: { store: objects.description },
  });
}

async function unlocked(shut: BlockStoreOptions, info: StoreInfo, call: CallContext): Promise<BlockStoreOptions> {
  const { openKeys, refuseKeys } = await import('../key-source.ts');
  if (info.keyDerivation !== null) return { ...shut, keys: await openKeys(shut, call) };
  await refuseKeys(shut, info, call.signal);
  return shut;
}

/** Who is acted for: the account that is named, or the only one. */
async function accountOf(
  service: Service,
  blocks: BlockStoreOptions,
  wanted: string | undefined,
  call: CallContext,
): Promise<string> {
  const { accounts } = await service.operate('account.list', {}, call);
  const known = accounts.length > 0 ? accounts : await owners(blocks, call.signal);
  if (wanted !== undefined) {
    if (known.some(({ accountId }) => accountId === wanted)) return wanted;
    throw new SgwError('notFound', 'account-not-found', `there is no account ${wanted} in this store`, {
      hint: `There ${known.length === 1 ? 'is' : 'are'}: ${named(known)}.`,
      details: { accountId: wanted },
    });
  }
  if (known.length > 1) {
    const count = String(known.length);
    throw new SgwError('invalid', 'account-missing', `the store has ${count} accounts, and none was named`, {
      hint: `Add --account with one of: ${named(known)}.`,
      details: { accountIds: known.map(({ accountId }) => accountId) },
    });
  }
  return known[0]?.accountId ?? DEFAULT_ACCOUNT_ID;
}

interface Known {
  readonly accountId: string;
  readonly name?: string;
}

/** Of a store from before there were accounts. */
async function owners(blocks: BlockStoreOptions, signal: AbortSignal): Promise<Known[]> {
  const catalog = new Catalog(blocks);
  const entries = [...(await catalog.listVolumes({ signal })), ...(await catalog.listSnapshots({ signal }))];
  return [...new Set(entries.map(({ accountId }) => accountId))].sort().map((accountId) => ({ accountId }));
}

function named(accounts: readonly Known[]): string {
  const shown = accounts.slice(0, ACCOUNTS_NAMED_MAX);
  const texts = shown.map(({ accountId, name }) => (name === undefined ? accountId : `${accountId} (${name})`));
  return accounts.length > shown.length ? `${texts.join(', ')} and others` : texts.join(', ') || 'none';
}
