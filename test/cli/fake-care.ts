/** The fake gateway's operations on the store and the service: gc, scrub, keys, accounts, sharing and the end of it. */
import type { SgwError as SgwErrorClass } from '../../src/core/kit/index.ts';
import type { CallContext, Handlers, KeySecret, Result } from '../../src/core/localapi/index.ts';

const TIME = '2026-11-22T23:45:00.000Z';
const LATER = '2026-11-23T23:45:00.000Z';
const DAY_MS = 86_400_000;
export const ACCOUNT = '000000000001';
/** What opens the store of an encrypted fake. */
export const PASSPHRASE = 'correct horse battery';
export const RECOVERY_CODE = 'ABCD-EFGH-0123-4567';

/** What `store.scrub` and the verifications find in a damaged fake. */
export const DAMAGE = [
  {
    key: 'volumes/vol-00000000000000001/log/00000001',
    message: 'frame 3 fails its checksum',
    affects: [
      {
        kind: 'volume',
        id: 'vol-00000000000000001',
        name: 'golden',
        extents: [
          { offset: 4096, length: 8192 },
          { offset: 1_048_576, length: 4096 },
        ],
      },
      { kind: 'snapshot', id: 'snap-aaaaaaaaaaaaaaaa2', name: 'v1', extents: [{ offset: 4096, length: 8192 }] },
    ],
  },
  {
    key: 'volumes/vol-00000000000000004/head.json',
    message: 'it is missing',
    affects: [{ kind: 'volume', id: 'vol-00000000000000004', name: 'other', extents: [] }],
  },
  { key: 'sgw.json', message: 'it is\nolder', affects: [{ kind: 'store', id: 'store-1', name: '', extents: [] }] },
  { key: 'volumes/vol-00000000000000009/log/00000001', message: 'fails its checksum', affects: [] },
] as const;

interface Surroundings {
  readonly SgwError: typeof SgwErrorClass;
  readonly isDamaged: boolean;
  readonly snapshotOf: (ref: string) => { snapshotId: string; name: string };
}

type Care = Pick<
  Handlers,
  | 'snapshot.share'
  | 'snapshot.unshare'
  | 'store.copy'
  | 'store.gc'
  | 'store.scrub'
  | 'store.rekey'
  | 'service.account.create'
  | 'service.account.list'
>;

/** Fails like a gateway whose store this secret does not open. */
export function checkSecret(secret: KeySecret, SgwError: typeof SgwErrorClass): void {
  if ('passphrase' in secret && secret.passphrase === PASSPHRASE) return;
  if ('keyFile' in secret && secret.keyFile.startsWith('sgw-key-1:')) return;
  if ('recoveryCode' in secret && secret.recoveryCode === RECOVERY_CODE) return;
  throw new SgwError('denied', 'wrong-key', 'this passphrase does not open store store-1');
}

/** The kind of slot that the caller's new secret fills. */
export async function newSlotKind({ secrets }: CallContext): Promise<'passphrase' | 'keyFile' | undefined> {
  const secret = await secrets?.renew?.();
  if (secret === undefined) return undefined;
  return 'keyFile' in secret ? 'keyFile' : 'passphrase';
}

export function careHandlers({ SgwError, isDamaged, snapshotOf }: Surroundings): Care {
  const accounts = [{ accountId: ACCOUNT, name: 'default', createdAt: TIME }];
  const grants = new Map<string, Result<'snapshot.share'>['grants']>();
  const requireAccount = (accountId: string): void => {
    if (accounts.some((account) => account.accountId === accountId)) return;
    throw new SgwError('notFound', 'account-not-found', `account ${accountId} does not exist`);
  };
  return {
    'snapshot.share': async (input) => {
      const { snapshotId, name } = snapshotOf(input.snapshot);
      requireAccount(input.accountId);
      const before = grants.get(snapshotId) ?? [];
      const changed = !before.some((grant) => grant.accountId === input.accountId);
      if (changed) grants.set(snapshotId, [...before, { accountId: input.accountId, by: ACCOUNT, grantedAt: TIME }]);
      return { snapshotId, name, grants: grants.get(snapshotId) ?? [], changed };
    },
    'snapshot.unshare': async (input) => {
      const { snapshotId, name } = snapshotOf(input.snapshot);
      requireAccount(input.accountId);
      const before = grants.get(snapshotId) ?? [];
      const after = before.filter((grant) => grant.accountId !== input.accountId);
      grants.set(snapshotId, after);
      return { snapshotId, name, grants: after, changed: after.length < before.length };
    },
    'store.copy': async ({ from, to, prepare, allowHeld, verifyOnly }) => {
      if (from.endsWith('held') && allowHeld !== true && prepare !== true) {
        throw new SgwError('conflict', 'volumes-held', 'open in a gateway: golden (in lab since today)', {
          hint: 'Stop these gateways first.',
        });
      }
      if (to === from) throw new SgwError('invalid', 'same-store', `${to} is the same place as ${from}`);
      return {
        ...{ from, to, storeId: 'store-1', asOf: TIME, resumed: true, objects: 12, bytes: 1 << 20 },
        state: verifyOnly === true ? 'compared' : prepare === true ? 'unfinished' : 'finished',
        ...{ copiedObjects: 3, copiedBytes: 4096, removedObjects: 1, remarks: ['Two places hold store-1 now.'] },
        damage: isDamaged ? [{ key: DAMAGE[0].key, message: 'frame 3 does not match its checksum' }] : [],
        durationMs: 5,
      };
    },
    'store.gc': async (input, { onProgress }) => {
      onProgress({ label: 'marking', doneBytes: 1, totalBytes: 2 });
      return {
        store: '/home/fake/store',
        preview: input.preview === true,
        graceMs: input.graceMs ?? DAY_MS,
        roots: { volumes: 2, deletedVolumes: 1, snapshots: 3, pins: 0, restores: 0 },
        live: { objects: 20, bytes: 1 << 20 },
        removed: { objects: 2, bytes: 4096 },
        tombstones: 1,
        waiting: { objects: 1, bytes: 8192 },
        removableAt: LATER,
        rewritten: { segments: 1, bytes: 4096 },
        purgedVolumes: ['vol-0000000000000000f'],
        remarks: [],
        durationMs: 5,
      };
    },
    'store.scrub': async () => {
      if (isDamaged) throw damageFound(SgwError);
      return {
        store: '/home/fake/store',
        ok: true,
        objects: 23,
        checkedBytes: 1 << 20,
        damage: [],
        remarks: [],
        durationMs: 5,
      };
    },
    'store.rekey': async (input, context) => {
      const kind = await newSlotKind(context);
      const slots = [
        { slotId: 'slot-1', kind: kind ?? ('passphrase' as const), createdAt: TIME },
        { slotId: 'slot-2', kind: 'recovery' as const, createdAt: TIME },
      ];
      return {
        storeId: 'store-1',
        keyId: ACCOUNT,
        slots,
        recoveryCode: input.recoveryKit === true ? RECOVERY_CODE : null,
      };
    },
    'service.account.create': async (input) => {
      const { name, accountId = '000000000002' } = input;
      const present = accounts.find((account) => account.name === name || account.accountId === accountId);
      if (present !== undefined && input.ifNotExists === true) return { ...present, created: false };
      if (present !== undefined) {
        throw new SgwError('conflict', 'account-exists', `account ${present.accountId} ("${present.name}") exists`);
      }
      const account = { accountId, name, createdAt: TIME };
      accounts.push(account);
      return { ...account, created: true };
    },
    'service.account.list': async () => ({ accounts }),
  };
}

/** The details of an error are flat by their type; those of damage are lists of objects. */
function damageFound(SgwError: typeof SgwErrorClass): SgwErrorClass {
  const details: object = { damage: DAMAGE, remarks: ['One entry is older than it was.'] };
  return new SgwError('corrupt', 'damage-found', '4 objects of the store are damaged', {
    hint: 'Put intact copies of the objects back.',
    details: details as SgwErrorClass['details'],
  });
}

/** What a verification of a damaged volume ends with. */
export function verifyDamage(SgwError: typeof SgwErrorClass): SgwErrorClass {
  const extents = [{ offset: 4096, length: 8192 }];
  const [{ key }] = DAMAGE;
  const damage = [{ key, message: `object ${key} is damaged: frame 3 fails its checksum`, extents }];
  const details: object = { extents, damage };
  return new SgwError('corrupt', 'damage-found', 'volume "golden" is damaged', {
    details: details as SgwErrorClass['details'],
  });
}

/** What `status` says of an encrypted store: whether the caller opened it. */
export async function shutRemark({ secrets }: CallContext): Promise<string> {
  try {
    await secrets?.unlock();
    return 'The store is open.';
  } catch (error) {
    return `The store is shut: ${(error as SgwErrorClass).message}.`;
  }
}
