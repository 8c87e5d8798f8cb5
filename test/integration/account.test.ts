/** Accounts over one home and over one store, through the handlers as they are composed. */
import { access, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openInProcess } from '../../src/core/daemon/index.ts';
import { ERROR_KINDS, type SgwError } from '../../src/core/kit/index.ts';
import type { CallContext, Input, LocalApi, OperationName, Result } from '../../src/core/localapi/index.ts';

const CALL: CallContext = {
  signal: new AbortController().signal,
  onProgress: () => undefined,
  lockTimeoutMs: 10_000,
};
const ANNA = '111111111111';
const BERT = '222222222222';
const CLEO = '333333333333';
const PAGE = 4096;

let folder: string;
let home: string;
const opened: LocalApi[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sgw-account-'));
  home = join(folder, 'home');
});
afterEach(async () => {
  for (const api of opened.splice(0)) await api[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

type Caller = <N extends OperationName>(name: N, input: Input<N>) => Promise<Result<N>>;

/** Calls as one account; the home's own when none is named. */
async function as(accountId?: string): Promise<Caller> {
  const api = await openInProcess({ home, ...(accountId === undefined ? {} : { accountId }) });
  opened.push(api);
  return async (name, input) => await api.call(name, input, CALL);
}

/** A home of Anna's, in a store with accounts for all three. */
async function threeAccounts(): Promise<Record<'anna' | 'bert' | 'cleo', Caller>> {
  const anna = await as(ANNA);
  await anna('activate', { name: 'lab', mode: 'cached' });
  await anna('service.account.create', { name: 'bert', accountId: BERT });
  await anna('service.account.create', { name: 'cleo', accountId: CLEO });
  return { anna, bert: await as(BERT), cleo: await as(CLEO) };
}

async function image(name: string, byte: number, pages = 64): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, Buffer.alloc(pages * PAGE, byte));
  return path;
}

describe('accounts', () => {
  it('the account that is named must exist; that of the first activation is made with the store', async () => {
    const { anna } = await threeAccounts();
    const nobody = await as('999999999999');
    const unknown = { kind: 'notFound', code: 'account-not-found' };
    await expect(nobody('volume.list', {})).rejects.toMatchObject(unknown);
    await expect(nobody('status', {})).rejects.toMatchObject(unknown);
    expect((await anna('service.account.list', {})).accounts.map((account) => account.accountId)).toEqual([
      ANNA,
      BERT,
      CLEO,
    ]);
    const other = await openInProcess({ home: join(folder, 'other'), accountId: '999999999999' });
    opened.push(other);
    const store = join(home, 'store');
    await expect(other.call('activate', { store }, CALL)).rejects.toMatchObject(unknown);
  });

  it('are created once: by name, by id, by token', async () => {
    const { anna } = await threeAccounts();
    const taken = { kind: 'conflict', code: 'account-exists' };
    await expect(anna('service.account.create', { name: 'bert' })).rejects.toMatchObject(taken);
    await expect(anna('service.account.create', { name: 'dora', accountId: BERT })).rejects.toMatchObject(taken);
    expect(await anna('service.account.create', { name: 'bert', ifNotExists: true })).toMatchObject({
      accountId: BERT,
      created: false,
    });
    await expect(
      anna('service.account.create', { name: 'bert', accountId: CLEO, ifNotExists: true }),
    ).rejects.toMatchObject({ code: 'different-parameters' });
    const made = await anna('service.account.create', { name: 'dora', clientToken: 't' });
    expect(made).toMatchObject({ created: true, accountId: expect.stringMatching(/^[1-9]\d{11}$/) as string });
    expect(await anna('service.account.create', { name: 'dora', clientToken: 't' })).toEqual({
      ...made,
      created: false,
    });
    await expect(anna('service.account.create', { name: 'emil', clientToken: 't' })).rejects.toMatchObject({
      code: 'client-token-reused',
    });
  });

  it("see only their own volumes and snapshots, and may use each other's names", async () => {
    const { anna, bert } = await threeAccounts();
    const { volumeId } = await anna('volume.create', { name: 'data', sizeBytes: 16 * PAGE });
    const { snapshotId } = await anna('snapshot.create', { volume: 'data', name: 'v1' });
    expect((await bert('volume.list', { deleted: true })).volumes).toEqual([]);
    expect((await bert('snapshot.list', {})).snapshots).toEqual([]);
    expect(await bert('status', {})).toMatchObject({ volumes: { count: 0 }, snapshots: { count: 0 } });
    const gone = { kind: 'notFound' };
    for (const volume of ['data', volumeId, volumeId.slice(0, 12)]) {
      await expect(bert('volume.show', { volume })).rejects.toMatchObject(gone);
      await expect(bert('volume.delete', { volume })).rejects.toMatchObject(gone);
      await expect(bert('volume.rename', { volume, name: 'mine' })).rejects.toMatchObject(gone);
      await expect(bert('volume.map', { volume })).rejects.toMatchObject(gone);
      await expect(bert('volume.verify', { volume })).rejects.toMatchObject(gone);
      await expect(bert('snapshot.create', { volume })).rejects.toMatchObject(gone);
    }
    for (const snapshot of ['v1', snapshotId, snapshotId.slice(0, 12)]) {
      await expect(bert('snapshot.show', { snapshot })).rejects.toMatchObject(gone);
      await expect(bert('snapshot.verify', { snapshot })).rejects.toMatchObject(gone);
      await expect(bert('snapshot.export', { snapshot, path: join(folder, 'x') })).rejects.toMatchObject(gone);
      await expect(bert('snapshot.delete', { snapshot })).rejects.toMatchObject(gone);
      await expect(bert('volume.create', { name: 'c', fromSnapshot: snapshot })).rejects.toMatchObject(gone);
      await expect(bert('snapshot.share', { snapshot, accountId: CLEO })).rejects.toMatchObject(gone);
    }
    expect(await bert('volume.create', { name: 'data', sizeBytes: PAGE })).toMatchObject({ accountId: BERT });
    await bert('snapshot.create', { volume: 'data', name: 'v1' });
    expect(await anna('volume.show', { volume: 'data' })).toMatchObject({ volumeId });
    // What is done to the whole store knows no accounts.
    expect(await bert('store.stats', {})).toMatchObject({ volumes: 2, snapshots: 2 });
  });
});

describe('export control', () => {
  it("one block of another account: not listed for export, not exported (exit 8); shared: it works; unshared: it doesn't", async () => {
    const { anna, bert } = await threeAccounts();
    await anna('volume.import', { file: await image('golden', 1), name: 'golden' });
    const golden = await anna('snapshot.create', { volume: 'golden', name: 'v1' });
    await anna('snapshot.share', { snapshot: 'v1', accountId: BERT });
    await bert('volume.create', { name: 'mine', fromSnapshot: 'v1' });
    // All but the last page become Bert's.
    const changed = Buffer.alloc(64 * PAGE, 2);
    changed.fill(1, 63 * PAGE);
    await writeFile(join(folder, 'changed'), changed);
    await bert('volume.import', { file: join(folder, 'changed'), into: 'mine' });
    const mine = await bert('snapshot.create', { volume: 'mine', name: 'mine-1' });
    const path = join(folder, 'out.img');
    const names = async (): Promise<string[]> =>
      (await bert('snapshot.list', { exportable: true })).snapshots.map((snapshot) => snapshot.name);

    expect(await names()).toEqual(['v1']);
    expect(await bert('snapshot.show', { snapshot: 'mine-1' })).toMatchObject({
      creators: [ANNA, BERT],
      exportable: false,
    });
    const failure = (await bert('snapshot.export', { snapshot: 'mine-1', path }).catch(
      (error: unknown) => error,
    )) as SgwError;
    expect(failure).toMatchObject({ kind: 'denied', code: 'export-denied', details: { creators: [ANNA] } });
    expect(failure).toMatchObject({ hint: expect.stringContaining(`--account ${ANNA}`) as string });
    expect(ERROR_KINDS[failure.kind].exitCode).toBe(8);
    await expect(access(path)).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(anna('snapshot.show', { snapshot: mine.snapshotId })).rejects.toMatchObject({ kind: 'notFound' });

    // Whoever has blocks in it can name it by its id, and share them.
    expect(await anna('snapshot.share', { snapshot: mine.snapshotId, accountId: BERT })).toMatchObject({
      changed: true,
      grants: [{ accountId: BERT, by: ANNA }],
    });
    expect(await anna('snapshot.share', { snapshot: mine.snapshotId, accountId: BERT })).toMatchObject({
      changed: false,
    });
    expect(await names()).toEqual(['v1', 'mine-1']);
    const exported = await bert('snapshot.export', { snapshot: 'mine-1', path });
    expect(exported.remarks).toEqual([expect.stringContaining('advisory')]);
    expect((await readFile(path)).equals(changed)).toBe(true);

    await anna('snapshot.unshare', { snapshot: mine.snapshotId, accountId: BERT });
    expect(await names()).toEqual(['v1']);
    await expect(bert('snapshot.export', { snapshot: 'mine-1', path, force: true })).rejects.toMatchObject({
      code: 'export-denied',
    });
    await anna('snapshot.unshare', { snapshot: golden.snapshotId, accountId: BERT });
    expect(await names()).toEqual([]);
    await expect(bert('snapshot.show', { snapshot: 'v1' })).rejects.toMatchObject({ kind: 'notFound' });
    await expect(bert('volume.create', { name: 'two', fromSnapshot: 'v1' })).rejects.toMatchObject({
      kind: 'notFound',
    });
    // What is Bert's stays usable in place.
    await bert('volume.create', { name: 'again', fromSnapshot: 'mine-1' });
    expect(await bert('volume.verify', { volume: 'again' })).toMatchObject({ ok: true });
  });

  it("an owner can not share what is another's in it: neither export nor clone, until that one shares too", async () => {
    const { anna, bert, cleo } = await threeAccounts();
    await anna('volume.import', { file: await image('golden', 1), name: 'golden' });
    await anna('snapshot.create', { volume: 'golden', name: 'v1' });
    await anna('snapshot.share', { snapshot: 'v1', accountId: BERT });
    await bert('volume.create', { name: 'mine', fromSnapshot: 'v1' });
    const { snapshotId } = await bert('snapshot.create', { volume: 'mine', name: 'copy' });
    await bert('snapshot.share', { snapshot: 'copy', accountId: CLEO });
    expect(await cleo('snapshot.list', {})).toMatchObject({ snapshots: [{ name: 'copy', accountId: BERT }] });
    expect(await cleo('snapshot.verify', { snapshot: 'copy' })).toMatchObject({ ok: true });
    const denied = { kind: 'denied', code: 'export-denied', details: { creators: [ANNA] } };
    const path = join(folder, 'out.img');
    await expect(cleo('snapshot.export', { snapshot: 'copy', path })).rejects.toMatchObject(denied);
    await expect(cleo('volume.create', { name: 'c', fromSnapshot: 'copy' })).rejects.toMatchObject(denied);
    const notOwner = { kind: 'denied', code: 'not-owner' };
    await expect(cleo('snapshot.delete', { snapshot: 'copy' })).rejects.toMatchObject(notOwner);
    await expect(cleo('snapshot.delete', { snapshot: 'copy', preview: true })).rejects.toMatchObject(notOwner);
    await expect(cleo('snapshot.rename', { snapshot: 'copy', name: 'x' })).rejects.toMatchObject(notOwner);
    await expect(cleo('snapshot.share', { snapshot: 'copy', accountId: ANNA })).rejects.toMatchObject(notOwner);
    await anna('snapshot.share', { snapshot: snapshotId, accountId: CLEO });
    await cleo('volume.create', { name: 'c', fromSnapshot: 'copy' });
    await cleo('snapshot.export', { snapshot: 'copy', path });
    // A creator's word alone opens what is the owner's to nobody.
    await bert('snapshot.unshare', { snapshot: 'copy', accountId: CLEO });
    await expect(cleo('snapshot.show', { snapshot: 'copy' })).rejects.toMatchObject({ kind: 'notFound' });
  });

  it('sharing needs another account that exists', async () => {
    const { anna } = await threeAccounts();
    await anna('volume.create', { name: 'v', sizeBytes: PAGE });
    await anna('snapshot.create', { volume: 'v', name: 's' });
    await expect(anna('snapshot.share', { snapshot: 's', accountId: ANNA })).rejects.toMatchObject({
      kind: 'invalid',
      code: 'share-with-self',
    });
    await expect(anna('snapshot.share', { snapshot: 's', accountId: '999999999999' })).rejects.toMatchObject({
      code: 'account-not-found',
    });
    expect(await anna('snapshot.unshare', { snapshot: 's', accountId: BERT })).toMatchObject({ changed: false });
  });
});
