/** Export control and sharing (S7), on entries as they are; what is in the snapshots is the laundering tests' matter. */
import { beforeEach, describe, expect, it } from 'vitest';
import { Catalog, createDocument, type SnapshotEntry } from '../../../src/core/blockstore/index.ts';
import { SgwError } from '../../../src/core/kit/index.ts';
import { ANNA, BERT, ServiceRig, type Device } from './rig.ts';

const CLEO = '333333333333';
const SNAPSHOT = 'snap-00000000000000001';

const ENTRY: SnapshotEntry = {
  snapshotId: SNAPSHOT,
  name: 's',
  state: 'completed',
  reason: null,
  volumeId: 'vol-00000000000000001',
  volumeName: 'v',
  lineage: 'vol-00000000000000001',
  seq: 1,
  sizeBytes: 4096,
  mappedPages: 0,
  accountId: ANNA,
  creators: [ANNA],
  createdAt: '2026-01-01T00:00:00.000Z',
  completedAt: '2026-01-01T00:00:00.000Z',
  description: '',
  tags: {},
  clientToken: null,
  root: null,
};

let rig: ServiceRig;
let anna: Device;
let bert: Device;
beforeEach(async () => {
  rig = new ServiceRig();
  await rig.accounts();
  await rig.operator('account.create', { name: 'cleo', accountId: CLEO, clientToken: null });
  anna = await rig.activated(ANNA);
  bert = await rig.activated(BERT);
});

const put = async (change: Partial<SnapshotEntry> = {}): Promise<void> => {
  const entry = { ...ENTRY, ...change };
  await createDocument(rig.blocks, `snapshots/${entry.snapshotId}/snapshot.json`, entry);
};

const decide = async (device: Device, purpose: 'export' | 'clone' = 'export'): Promise<unknown> => {
  const body = { accountId: device.credential?.accountId ?? '', snapshotId: SNAPSHOT, purpose };
  return await rig.gateway('export.decide', device.sign('export.decide', body));
};
const share = async (device: Device, withAccountId: string): Promise<unknown> => {
  const body = { accountId: device.credential?.accountId ?? '', snapshotId: SNAPSHOT, withAccountId };
  return await rig.gateway('snapshot.share', device.sign('snapshot.share', body));
};
const unshare = async (device: Device, withAccountId: string): Promise<unknown> => {
  const body = { accountId: device.credential?.accountId ?? '', snapshotId: SNAPSHOT, withAccountId };
  return await rig.gateway('snapshot.unshare', device.sign('snapshot.unshare', body));
};
/** From now on nothing can be recorded. */
function refuseRecords(): void {
  const { put: store } = rig.objects;
  rig.objects.put = async (key, ...rest) =>
    key.startsWith('service/audit/')
      ? Promise.reject(new Error('no room'))
      : await store.call(rig.objects, key, ...rest);
}
const denied = (creators: string[]): object => ({ kind: 'denied', code: 'export-denied', details: { creators } });
const notFound = { kind: 'notFound', code: 'snapshot-not-found' };

describe('a decision', () => {
  it("S7 is granted to the owner of what is all the owner's, and binds where the service is no one's own", async () => {
    await put();
    expect(await decide(anna)).toEqual({ binding: true });
    await expect(decide(bert)).rejects.toMatchObject(notFound);
  });

  it('S7 is refused for one creator that did not share, and names those that did not', async () => {
    await put({ creators: [ANNA, BERT, CLEO] });
    await expect(decide(anna)).rejects.toMatchObject(denied([BERT, CLEO]));
    await expect(decide(anna, 'clone')).rejects.toMatchObject(denied([BERT, CLEO]));
    await share(bert, ANNA);
    await expect(decide(anna)).rejects.toMatchObject(denied([CLEO]));
  });

  it('S7 counts the creators that the map has, whatever the list says', async () => {
    await put({ creators: [ANNA], root: { creators: [BERT] } as unknown as NonNullable<SnapshotEntry['root']> });
    await expect(decide(anna)).rejects.toMatchObject(denied([BERT]));
  });

  it('S7 needs the word of the owner and of every creator, each for the account that asks', async () => {
    await put({ creators: [CLEO] });
    await share(anna, BERT);
    await expect(decide(bert)).rejects.toMatchObject(denied([CLEO]));
    const cleo = await rig.activated(CLEO);
    await share(cleo, ANNA);
    await expect(decide(bert)).rejects.toMatchObject(denied([CLEO]));
    await share(cleo, BERT);
    await decide(bert);
    // A creator opens its own blocks, not the owner's snapshot.
    await unshare(anna, BERT);
    await expect(decide(bert)).rejects.toMatchObject(notFound);
  });

  it('S7 an owner can not grant in the name of a creator', async () => {
    await put({ creators: [BERT] });
    await expect(share(anna, ANNA)).rejects.toMatchObject({ code: 'share-with-self' });
    await share(anna, BERT);
    await expect(decide(anna)).rejects.toMatchObject(denied([BERT]));
  });

  it('is refused for what is not completed', async () => {
    await put({ state: 'pending' });
    await expect(decide(anna)).rejects.toMatchObject({ kind: 'conflict', code: 'snapshot-not-completed' });
  });

  it('each one leaves a record, granted or not; so does a listing; looking leaves none', async () => {
    await put({ creators: [ANNA] });
    await decide(anna);
    await expect(decide(bert, 'clone')).rejects.toMatchObject(notFound);
    const body = { accountId: ANNA, snapshotIds: [SNAPSHOT, 'snap-0000000000000ffff'] };
    expect(await rig.gateway('export.list', anna.sign('export.list', body))).toEqual({ exportable: [SNAPSHOT] });
    const look = { accountId: ANNA, snapshotId: SNAPSHOT };
    expect(await rig.gateway('export.assess', anna.sign('export.assess', look))).toEqual({
      exportable: true,
      grants: [],
    });
    const records = await rig.documents('service/audit/');
    const [annas, berts] = [anna, bert].map((device) => device.credential?.gatewayId);
    const byKind = (kind: string): unknown => records.filter((record) => record['kind'] === kind);
    expect(records).toHaveLength(3);
    expect(byKind('export')).toMatchObject([
      { accountId: ANNA, gatewayId: annas, snapshotId: SNAPSHOT, granted: true, missing: [] },
    ]);
    expect(byKind('clone')).toMatchObject([{ accountId: BERT, gatewayId: berts, granted: false, missing: [ANNA] }]);
    expect(byKind('list')).toMatchObject([{ listed: [SNAPSHOT], leftOut: ['snap-0000000000000ffff'] }]);
  });

  it('that can not be recorded is none', async () => {
    await put();
    refuseRecords();
    await expect(decide(anna)).rejects.toMatchObject({ kind: 'internal' });
  });

  it('a gateway acts for its own account; an embedded one for any that there is', async () => {
    await put();
    const asAnna = { accountId: ANNA, snapshotId: SNAPSHOT, purpose: 'export' } as const;
    await expect(rig.gateway('export.decide', bert.sign('export.decide', asAnna))).rejects.toMatchObject({
      kind: 'denied',
      code: 'gateway-of-other-account',
    });
    rig = new ServiceRig({ isEmbedded: true });
    await rig.accounts();
    bert = await rig.activated(BERT);
    await put();
    expect(await rig.gateway('export.decide', bert.sign('export.decide', asAnna))).toEqual({ binding: false });
    const asNobody = { ...asAnna, accountId: '999999999999' };
    await expect(rig.gateway('export.decide', bert.sign('export.decide', asNobody))).rejects.toMatchObject({
      code: 'account-not-found',
    });
  });
});

describe('sharing', () => {
  it('is kept in the entry, once each, and taken back by who gave it', async () => {
    await put({ creators: [ANNA, BERT] });
    expect(await share(anna, CLEO)).toMatchObject({ changed: true, grants: [{ accountId: CLEO, by: ANNA }] });
    expect(await share(anna, CLEO)).toMatchObject({ changed: false });
    await share(bert, CLEO);
    const catalog = new Catalog(rig.blocks);
    expect((await catalog.getSnapshot(SNAPSHOT)).grants).toHaveLength(2);
    expect(await unshare(bert, CLEO)).toMatchObject({ changed: true, grants: [] });
    expect((await catalog.getSnapshot(SNAPSHOT)).grants).toMatchObject([{ accountId: CLEO, by: ANNA }]);
    const kinds = (await rig.documents('service/audit/')).map((record) => record['kind']);
    expect(kinds.sort()).toEqual(['share', 'share', 'share', 'unshare']);
  });

  it('that can not be recorded grants nothing, and takes nothing back', async () => {
    await put();
    await share(anna, BERT);
    refuseRecords();
    await expect(share(anna, CLEO)).rejects.toMatchObject({ kind: 'internal' });
    await expect(unshare(anna, BERT)).rejects.toMatchObject({ kind: 'internal' });
    expect((await new Catalog(rig.blocks).getSnapshot(SNAPSHOT)).grants).toMatchObject([{ accountId: BERT }]);
  });

  it('is refused alike for what there is not and for what is none of the asking account', async () => {
    const refusal = async (): Promise<unknown> =>
      await share(bert, CLEO).catch((error: unknown) => (error instanceof SgwError ? error.toDocument() : error));
    const absent = await refusal();
    await put();
    expect(await refusal()).toEqual(absent);
    expect(absent).toMatchObject(notFound);
  });

  it('two at once are both kept', async () => {
    await put({ creators: [ANNA, BERT] });
    await Promise.all([share(anna, CLEO), share(bert, CLEO), share(anna, BERT)]);
    expect((await new Catalog(rig.blocks).getSnapshot(SNAPSHOT)).grants).toHaveLength(3);
  });

  it('is for the owner and for who has blocks in it; to others the snapshot does not exist, or is not theirs', async () => {
    await put();
    await expect(share(bert, CLEO)).rejects.toMatchObject(notFound);
    await share(anna, BERT);
    await expect(share(bert, CLEO)).rejects.toMatchObject({ kind: 'denied', code: 'not-owner' });
    await expect(share(anna, '999999999999')).rejects.toMatchObject({ code: 'account-not-found' });
  });

  it('a deleted snapshot is shared with nobody', async () => {
    await put({ state: 'deleted' });
    await expect(share(anna, BERT)).rejects.toMatchObject(notFound);
  });
});
