/**
 * The attacks that were tried on the data endpoint, by gateways of other accounts: reading, listing, writing, forging. After
 * each, what is another's is as it was, nothing of it has been read, and the service's gc can still walk everything.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { constants, connect, type ClientHttp2Session } from 'node:http2';
import { once } from 'node:events';
import { zstdCompressSync } from 'node:zlib';
import {
  Catalog,
  openSnapshotView,
  openVolumeView,
  type SnapshotEntry,
  type VolumeEntry,
} from '../../src/core/blockstore/index.ts';
import { collectGarbage } from '../../src/core/blockstore/gc/index.ts';
import { decodeLeaf, type LeafRun, type NodePointer } from '../../src/core/blockstore/node-codec.ts';
import { nodeLoader } from '../../src/core/blockstore/map-object.ts';
import { readSegmentIndex } from '../../src/core/blockstore/segment-reader.ts';
import { newVolumeId, seededRandom, SgwError, toSgwError, type SnapshotId } from '../../src/core/kit/index.ts';
import type { Etag } from '../../src/core/objectstore/index.ts';
import { dataEndpoint } from '../../src/core/service/dataendpoint/index.ts';
import { GatewayListener, commonNameOf } from '../support/gateway-listener.ts';
import { forgeDocument, forgeSegment } from '../unit/blockstore/forging.ts';
import { readAll } from '../unit/blockstore/volume-model.ts';
import { ForgedMap } from '../unit/service/dataendpoint/forged-map.ts';
import { accountOf, authorsOf, EVERYBODY, gatewayOf, Tenants, type Who } from '../unit/service/dataendpoint/tenants.ts';

const SEED = Number(process.env['SGW_SEED'] ?? 20261130);
const IF_ABSENT = { condition: { ifAbsent: true } } as const;
const MALLORY: Who = 2;
const seq = (number: number): string => number.toString(16).padStart(16, '0');

let tenants: Tenants;
let annas: VolumeEntry;
let v1: SnapshotEntry;
let clone: VolumeEntry;
let own: VolumeEntry;
let ownSnapshot: SnapshotEntry;

/** Anna (0) has a volume and a snapshot, Bert (1) a clone of it that she agreed to, Mallory (2) a volume of his own. */
beforeEach(async () => {
  tenants = await Tenants.start();
  annas = await tenants.volume(0);
  await tenants.write(0, annas, [0, 5, 20, 40]);
  await tenants.write(0, annas, [5, 100]);
  v1 = await tenants.snapshot(0, annas);
  await tenants.write(0, annas, [20]);
  await tenants.share(0, v1, 1);
  clone = await tenants.volume(1, 0, v1);
  await tenants.write(1, clone, [60]);
  own = await tenants.volume(MALLORY);
  await tenants.write(MALLORY, own, [0, 1]);
  ownSnapshot = await tenants.snapshot(MALLORY, own);
});

/** Whatever a hostile gateway got stored: no account reads as another's bytes but by what it was granted, and gc goes on. */
afterEach(async () => {
  const catalog = new Catalog(tenants.blocks);
  for (const entry of await catalog.listVolumes({ includeDeleted: true })) {
    if (entry.accountId !== accountOf(MALLORY)) continue;
    const view = await openVolumeView(tenants.blocks, entry.volumeId);
    expect([...authorsOf(await readAll(view))].filter((who) => who !== MALLORY)).toEqual([]);
  }
  for (const entry of await catalog.listSnapshots()) {
    if (entry.accountId !== accountOf(MALLORY) || entry.state !== 'completed') continue;
    const bytes = await readAll(openSnapshotView(tenants.blocks, entry));
    expect([...authorsOf(bytes)].filter((who) => who !== MALLORY)).toEqual([]);
  }
  await collectGarbage(tenants.blocks, { graceMs: 60_000 });
  expect(authorsOf(await tenants.truth(annas))).toEqual(new Set([0]));
  expect(authorsOf(await tenants.readVolume(1, clone))).toEqual(new Set([0, 1]));
});

async function failure(work: Promise<unknown>): Promise<SgwError> {
  return await work.then(
    (result) => {
      throw new Error(`it was answered: ${JSON.stringify(result).slice(0, 200)}`);
    },
    (error: unknown) => toSgwError(error),
  );
}

async function bytesAt(key: string): Promise<Buffer> {
  const object = await tenants.blocks.objects.get(key);
  if (object === undefined) throw new Error(`there is no ${key}`);
  return object.bytes;
}

const etagAt = async (key: string): Promise<Etag> => (await tenants.blocks.objects.head(key))?.etag ?? '';
const foreignKeys = async (): Promise<string[]> =>
  [...(await tenants.objects()).keys()].filter(
    (key) => !key.includes(own.volumeId) && !key.includes(ownSnapshot.snapshotId) && key !== 'sgw.json',
  );
/** Names in a refusal what it is of in one word, so that two can be compared. */
const wordsOf = (error: SgwError, key: string): string =>
  `${error.kind} ${error.code} ${error.message.replaceAll(key, 'KEY')}`;

/** The first leaf that a root leads to, and its runs. */
async function firstRuns(root: NodePointer | null): Promise<LeafRun[]> {
  if (root === null) throw new Error('nothing is mapped');
  const load = nodeLoader(tenants.blocks);
  const { decodeInterior } = await import('../../src/core/blockstore/node-codec.ts');
  let pointer = root;
  for (let level = 3; level > 0; level--) {
    const [child] = decodeInterior(await load(pointer), pointer, level).values();
    if (child === undefined) throw new Error('an interior node is empty');
    pointer = child;
  }
  return decodeLeaf(await load(pointer), pointer);
}

describe('reading what is another account’s', () => {
  it('no key of it has bytes, a size, an etag or a place in a list', async () => {
    const mallory = tenants.store(MALLORY);
    for (const key of await foreignKeys()) {
      expect(await mallory.get(key), key).toBeUndefined();
      expect(await mallory.get(key, { span: { suffix: 64 } }), key).toBeUndefined();
      expect(await mallory.get(key, { span: { offset: 0, length: 1 } }), key).toBeUndefined();
      expect(await mallory.head(key), key).toBeUndefined();
      expect(await mallory.delete(key).catch((error: unknown) => toSgwError(error).kind), key).not.toBe(true);
      expect(await Array.fromAsync(mallory.list(key)), key).toEqual([]);
    }
    const all = (await Array.fromAsync(mallory.list(''))).map(({ key }) => key);
    expect(all.filter((key) => !key.includes(own.volumeId) && !key.includes(ownSnapshot.snapshotId))).toEqual([
      'sgw.json',
    ]);
    for (const folder of ['service/', 'service/accounts/', 'gc/', 'uploads/', `volumes/${annas.volumeId}/`])
      expect(await Array.fromAsync(mallory.listFolders(folder)), folder).toEqual([]);
  });

  it('a clone’s account gets zeroes or nothing for every byte that the snapshot does not reach', async () => {
    const random = seededRandom(SEED);
    const bert = tenants.store(1);
    // What each byte may be: that of a frame that v1 shows, or of a node of its map.
    for (let number = 1; number <= 3; number++) {
      const key = `volumes/${annas.volumeId}/log/${seq(number)}`;
      const real = await bytesAt(key);
      const index = await readSegmentIndex(tenants.blocks, key);
      const granted = new Set<number>();
      for (const run of await firstRuns(v1.root)) if (run.source.key === key) granted.add(run.frame);
      const isGranted = (at: number): boolean =>
        [...granted].some((frame) => {
          const entry = index?.frame(frame);
          return entry !== undefined && at >= entry.offset && at < entry.offset + entry.storedLength;
        });
      const framesEnd = index?.footer.pageHashes.offset ?? 0;
      for (let round = 0; round < 60; round++) {
        const offset = Math.floor(random.float() * framesEnd);
        const length = 1 + Math.floor(random.float() * 2000);
        const got = await bert.get(key, { span: { offset, length } }).catch(() => undefined);
        for (const [i, byte] of (got?.bytes ?? Buffer.alloc(0)).entries()) {
          const at = offset + i;
          if (at < framesEnd) expect(byte === 0 || (isGranted(at) && byte === real[at])).toBe(true);
        }
      }
      if (granted.size === 0) expect(await bert.head(key)).toBeUndefined();
    }
    // Times, records, sizes and what became zeroes are not told.
    const tail = (await bert.get(`volumes/${annas.volumeId}/log/${seq(2)}`))?.bytes.toString('latin1') ?? '';
    expect(tail).toContain('"commitTimeMs":0');
    expect(tail).toContain('"extents":{"offset":');
    expect(tail).not.toContain('"consistent":true');
  });

  it('a snapshot’s map shows nodes of the snapshot, and no byte beside them', async () => {
    const bert = tenants.store(1);
    const key = v1.root?.key ?? '';
    const real = await bytesAt(key);
    const seen = await bert.get(key);
    expect(seen?.bytes.length).toBe(real.length);
    // The footer, which tells of the volume's log, is none of a node.
    expect(seen?.bytes.subarray(-48).every((byte) => byte === 0)).toBe(true);
    expect(seen?.bytes.includes('"kind":"map"')).toBe(false);
  });

  it('fuzzed keys lead nowhere', async () => {
    const random = seededRandom(SEED);
    const mallory = tenants.store(MALLORY);
    const real = await foreignKeys();
    const bodies = [...(await tenants.objects()).entries()].filter(([key]) => real.includes(key));
    const pieces = [
      '..',
      '.',
      '',
      '/',
      '%2e%2e',
      '@',
      '\0',
      'sgw.json',
      'service',
      'volumes',
      annas.volumeId,
      own.volumeId,
    ];
    for (let round = 0; round < 1500; round++) {
      const parts = (real[Math.floor(random.float() * real.length)] ?? '').split('/');
      const at = Math.floor(random.float() * (parts.length + 1));
      const piece = pieces[Math.floor(random.float() * pieces.length)] ?? '';
      const cut = Math.floor(random.float() * 2);
      parts.splice(at, cut, ...(random.float() < 0.8 ? [piece] : [piece.toUpperCase()]));
      const key = parts.join('/');
      const got = await mallory.get(key).catch((error: unknown) => {
        expect(toSgwError(error).kind, key).toBe('invalid');
        return undefined;
      });
      if (got !== undefined) for (const [foreign, body] of bodies) expect(got.bytes.equals(body), foreign).toBe(false);
    }
  });

  it('fuzzed lists show nothing of it', async () => {
    const random = seededRandom(SEED);
    const mallory = tenants.store(MALLORY);
    const keys = [...(await tenants.objects()).keys()];
    for (let round = 0; round < 400; round++) {
      const any = (): string => keys[Math.floor(random.float() * keys.length)] ?? '';
      const prefix = any().slice(0, Math.floor(random.float() * 40));
      const startAfter = any().slice(0, Math.floor(random.float() * 60));
      const listed = await Array.fromAsync(mallory.list(prefix, { startAfter, limit: 50 })).catch(() => []);
      for (const { key } of listed)
        expect(key === 'sgw.json' || key.includes(own.volumeId) || key.includes(ownSnapshot.snapshotId), key).toBe(
          true,
        );
    }
  });
});

describe('writing what is another account’s', () => {
  it('is refused in the same words whether it exists, under every condition', async () => {
    const before = await tenants.objects();
    const mallory = tenants.store(MALLORY);
    for (const key of await foreignKeys()) {
      const real = await bytesAt(key);
      for (const options of [{}, IF_ABSENT, { condition: { ifMatch: await etagAt(key) } }] as const)
        expect(await failure(mallory.put(key, real, options)), key).toMatchObject({ kind: 'denied' });
    }
    for (const [present, absent] of [
      [`volumes/${annas.volumeId}/log/${seq(1)}`, `volumes/vol-${'0'.repeat(17)}/log/${seq(1)}`],
      [`volumes/${annas.volumeId}/map/${seq(1)}`, `volumes/vol-${'0'.repeat(17)}/map/${seq(1)}`],
      [`snapshots/${v1.snapshotId}/map`, `snapshots/snap-${'0'.repeat(17)}/map`],
      ['service/root.json', 'service/toor.json'],
      [`service/accounts/${accountOf(0)}.json`, 'service/accounts/999999999999.json'],
      [`uploads/${v1.snapshotId}/00000000-0000`, `uploads/snap-${'0'.repeat(17)}/00000000-0000`],
    ] as const) {
      const there = await failure(mallory.put(present, Buffer.from('x'), IF_ABSENT));
      const gone = await failure(mallory.put(absent, Buffer.from('x'), IF_ABSENT));
      expect(wordsOf(there, present)).toBe(wordsOf(gone, absent));
    }
    const after = await tenants.objects();
    for (const [key, bytes] of before) expect(after.get(key)?.equals(bytes), key).toBe(true);
  });

  it('nobody gives himself accounts, grants, owners, records, leases or keys', async () => {
    const mallory = tenants.store(MALLORY);
    for (const key of [
      `service/grants/${accountOf(MALLORY)}/${own.volumeId}.json`,
      `service/owners/${annas.volumeId}.json`,
      'service/audit/20260101T000000.000Z-0000000000000000.json',
      'service/leases/gc.json',
      'service/ca.json',
      'gc/condemned.json',
      `gc/tombstones/${annas.volumeId}.json`,
      'gc/purged/2026-01-01.json',
      'sgw.json',
      'copy.json',
      `keys/${accountOf(MALLORY)}.json`,
      `volumes/${own.volumeId}/other.json`,
      `volumes/${own.volumeId}/log/1`,
      'anything',
    ]) {
      expect(await failure(mallory.put(key, Buffer.from('{}'), IF_ABSENT)), key).toMatchObject({
        code: 'store-rights',
      });
      expect(await failure(mallory.delete(key)), key).toMatchObject({ code: 'store-rights' });
    }
  });

  it('committed objects are not replaced and not removed, also one’s own', async () => {
    const mallory = tenants.store(MALLORY);
    const key = `volumes/${own.volumeId}/log/${seq(1)}`;
    const bytes = await bytesAt(key);
    expect(await failure(mallory.put(key, bytes))).toMatchObject({ kind: 'denied' });
    expect(await failure(mallory.put(key, bytes, { condition: { ifMatch: await etagAt(key) } }))).toMatchObject({
      kind: 'denied',
    });
    expect(await failure(mallory.delete(key))).toMatchObject({ kind: 'denied' });
    expect(await mallory.put(key, bytes, IF_ABSENT)).toMatchObject({ outcome: 'preconditionFailed' });
  });

  it('a pin of another gateway is neither seen, nor moved, nor taken away; and pins keep only what one sees', async () => {
    const { withPin } = await import('../../src/core/blockstore/gc/index.ts');
    const mallory = tenants.store(MALLORY);
    const request = { purpose: 'export', holder: gatewayOf(0).gatewayId, check: async () => Promise.resolve() };
    await withPin(tenants.of(0), { ...request, roots: [v1.root] }, async () => {
      const [pin] = [...(await tenants.objects()).keys()].filter((key) => key.startsWith('pins/'));
      const key = pin ?? '';
      expect(await mallory.get(key)).toBeUndefined();
      expect(await mallory.delete(key)).toBe(false);
      const stolen = forgeDocument(await bytesAt(key), (fields) => (fields['holder'] = gatewayOf(MALLORY).gatewayId));
      expect(await failure(mallory.put(key, stolen, { condition: { ifMatch: await etagAt(key) } }))).toMatchObject({
        kind: 'denied',
      });
      const free = key === 'pins/001.json' ? 'pins/002.json' : 'pins/001.json';
      const forged = forgeDocument(await bytesAt(key), (fields) => {
        fields['key'] = free;
        fields['holder'] = gatewayOf(MALLORY).gatewayId;
      });
      // Anna's root, which Mallory does not see.
      expect(await failure(mallory.put(free, forged, IF_ABSENT))).toMatchObject({ code: 'write-refused' });
      const forEver = forgeDocument(forged, (fields) => {
        fields['roots'] = [ownSnapshot.root];
        fields['deadline'] = '2999-01-01T00:00:00.000Z';
      });
      expect(await failure(mallory.put(free, forEver, IF_ABSENT))).toMatchObject({ code: 'write-refused' });
    });
  });
});

describe('forged documents', () => {
  const forge = async (key: string, change: (fields: Record<string, unknown>) => void): Promise<SgwError> => {
    const forged = forgeDocument(await bytesAt(key), change);
    return await failure(tenants.store(MALLORY).put(key, forged, { condition: { ifMatch: await etagAt(key) } }));
  };

  it('a volume stays whose it is, and of what it was cloned', async () => {
    const key = `volumes/${own.volumeId}/volume.json`;
    for (const [field, value] of [
      ['accountId', accountOf(0)],
      ['parentSnapshotId', v1.snapshotId],
      ['lineage', annas.volumeId],
      ['volumeId', annas.volumeId],
      ['createdAt', '2020-01-01T00:00:00.000Z'],
    ] as const)
      expect(await forge(key, (fields) => (fields[field] = value)), field).toMatchObject({ code: 'write-refused' });
  });

  it('no id of another account’s volume is taken', async () => {
    const entry = forgeDocument(await bytesAt(`volumes/${own.volumeId}/volume.json`), (fields) => {
      fields['key'] = `volumes/${annas.volumeId}/volume.json`;
      fields['volumeId'] = annas.volumeId;
      fields['lineage'] = annas.volumeId;
    });
    const mallory = tenants.store(MALLORY);
    expect(await failure(mallory.put(`volumes/${annas.volumeId}/volume.json`, entry, IF_ABSENT))).toMatchObject({
      code: 'store-rights',
    });
  });

  it('a new volume shows nothing, or what its account may clone', async () => {
    const mallory = tenants.of(MALLORY);
    const { firstHead, entry } = await newClone(v1.root, v1.snapshotId);
    // Not shared with Mallory: as if it did not exist.
    expect(await firstHead()).toMatchObject({ outcome: 'stored' });
    expect(await failure(entry())).toMatchObject({ code: 'snapshot-not-found' });
    // Of no snapshot, and yet with a map; and of a snapshot of his own, with Anna's map.
    for (const parent of [null, ownSnapshot.snapshotId]) {
      const forged = await newClone(v1.root, parent);
      expect(await forged.firstHead()).toMatchObject({ outcome: 'stored' });
      expect(await failure(forged.entry())).toMatchObject({ code: 'write-refused' });
      const view = await openVolumeView(mallory, forged.volumeId);
      expect(await failure(readAll(view))).toMatchObject({ kind: 'corrupt' });
    }
    // Nor has he read anything by it meanwhile.
    expect(await tenants.store(MALLORY).get(v1.root?.key ?? '')).toBeUndefined();
  });

  it('a head shows maps of its own only, under its own gateway’s name, and no older epoch', async () => {
    const key = `volumes/${own.volumeId}/head.json`;
    const withRoot = (name: string) => (fields: Record<string, unknown>) => {
      fields[name] = { ...(fields['checkpoint'] as object), root: v1.root };
    };
    for (const change of [
      withRoot('checkpoint'),
      withRoot('consistent'),
      (fields: Record<string, unknown>) => {
        const point = { ...(fields['checkpoint'] as object), root: v1.root };
        fields['recovery'] = { policy: { allForMs: 1, allMax: 1, tiers: [] }, points: [point] };
      },
      (fields: Record<string, unknown>) => (fields['epoch'] = 0),
      (fields: Record<string, unknown>) => (fields['epoch'] = 'high'),
      (fields: Record<string, unknown>) => {
        fields['epoch'] = 99;
        fields['holder'] = { gatewayId: gatewayOf(0).gatewayId, name: 'annas', since: 'now' };
      },
      (fields: Record<string, unknown>) => (fields['checkpoint'] = { root: { key: v1.root?.key } }),
      (fields: Record<string, unknown>) => delete fields['checkpoint'],
    ])
      expect(await forge(key, change)).toMatchObject({ kind: 'denied' });
  });

  it('a snapshot begins with nothing, is completed with a map of its own, and is shared by the service alone', async () => {
    const key = `snapshots/${ownSnapshot.snapshotId}/snapshot.json`;
    for (const [field, value] of [
      ['root', v1.root],
      ['creators', []],
      ['accountId', accountOf(0)],
      ['volumeId', annas.volumeId],
      ['grants', [{ accountId: accountOf(0), by: accountOf(MALLORY), grantedAt: 'now' }]],
      ['state', 'pending'],
      ['seq', 99],
    ] as const)
      expect(await forge(key, (fields) => (fields[field] = value)), field).toMatchObject({ code: 'write-refused' });
    const mallory = tenants.store(MALLORY);
    const begin = async (id: string, change: (fields: Record<string, unknown>) => void): Promise<unknown> => {
      const name = `snapshots/${id}/snapshot.json`;
      const pending = forgeDocument(await bytesAt(key), (fields) => {
        Object.assign(fields, { key: name, snapshotId: id, state: 'pending', root: null, creators: [] });
        change(fields);
      });
      return await mallory.put(name, pending, IF_ABSENT);
    };
    const id = (digit: number): string => `snap-${String(digit).repeat(17)}`;
    expect(await failure(begin(id(1), (fields) => (fields['state'] = 'completed')))).toMatchObject({ kind: 'denied' });
    expect(await failure(begin(id(2), (fields) => (fields['root'] = v1.root)))).toMatchObject({ kind: 'denied' });
    expect(await failure(begin(id(3), (fields) => (fields['volumeId'] = annas.volumeId)))).toMatchObject({
      kind: 'denied',
    });
    const grant = [{ accountId: accountOf(1), by: accountOf(0), grantedAt: 'now' }];
    expect(await failure(begin(id(4), (fields) => (fields['grants'] = grant)))).toMatchObject({ kind: 'denied' });
    expect(await begin(id(5), () => undefined)).toMatchObject({ outcome: 'stored' });
    // Completed with Anna's map, under her name or his.
    for (const creators of [[accountOf(0)], [accountOf(MALLORY)]]) {
      const name = `snapshots/${id(5)}/snapshot.json`;
      const done = forgeDocument(await bytesAt(name), (fields) => {
        Object.assign(fields, { state: 'completed', creators, mappedPages: v1.mappedPages, completedAt: 'now' });
        fields['root'] = { ...v1.root, creators };
      });
      expect(await failure(mallory.put(name, done, { condition: { ifMatch: await etagAt(name) } }))).toMatchObject({
        kind: 'denied',
      });
    }
  });

  it('what was deleted is not brought back, since gc may have begun to take it away', async () => {
    await new Catalog(tenants.of(MALLORY)).updateSnapshot(ownSnapshot.snapshotId, (now) => ({
      ...now,
      state: 'deleted',
    }));
    const key = `snapshots/${ownSnapshot.snapshotId}/snapshot.json`;
    expect(await forge(key, (fields) => (fields['state'] = 'completed'))).toMatchObject({ code: 'write-refused' });
    await new Catalog(tenants.of(MALLORY)).updateVolume(own.volumeId, (now) => ({ ...now, state: 'purging' }));
    const volume = `volumes/${own.volumeId}/volume.json`;
    expect(await forge(volume, (fields) => (fields['state'] = 'available'))).toMatchObject({ code: 'write-refused' });
  });

  it('a restore takes data out: of another’s snapshot only when that agrees, and of what it shows', async () => {
    const mallory = tenants.store(MALLORY);
    const restore = (snapshotId: SnapshotId, root: NodePointer | null) => {
      const restoreId = `${snapshotId}-00000001`;
      const key = `restores/${restoreId}.json`;
      const fields = {
        ...{ key, restoreId, snapshotId, state: 'restoring', accountId: accountOf(MALLORY), sizeBytes: 1 << 20 },
        ...{ createdAt: 'now', endedAt: null, secret: '00', blockBytes: 1 << 20, isFinishing: false, image: {} },
        ...{ gatewayId: gatewayOf(MALLORY).gatewayId, profile: [], version: 1, changeId: '0'.repeat(24), format: 1 },
        snapshot: { name: 's', volumeName: 'v', seq: 1, createdAt: 'now', root },
      };
      const blank = Buffer.from(JSON.stringify({ check: '' }));
      const document = forgeDocument(blank, (empty) => Object.assign(empty, fields));
      return mallory.put(key, document, IF_ABSENT);
    };
    expect(await failure(restore(v1.snapshotId, v1.root))).toMatchObject({ code: 'snapshot-not-found' });
    expect(await failure(restore(ownSnapshot.snapshotId, v1.root))).toMatchObject({ code: 'write-refused' });
    expect(await restore(ownSnapshot.snapshotId, ownSnapshot.root)).toMatchObject({ outcome: 'stored' });
  });

  it('what is no document is refused', async () => {
    const mallory = tenants.store(MALLORY);
    const key = `volumes/${own.volumeId}/volume.json`;
    const real = await bytesAt(key);
    const condition = { condition: { ifMatch: await etagAt(key) } };
    const other = forgeDocument(real, (fields) => (fields['key'] = `volumes/${annas.volumeId}/volume.json`));
    for (const body of [Buffer.alloc(0), Buffer.from('{}'), real.subarray(0, -20), other, Buffer.alloc(100_000, '{')])
      expect(await failure(mallory.put(key, body, condition))).toMatchObject({ code: 'write-refused' });
  });

  /** A volume's first two documents as a gateway makes them, for Mallory, with any root and parent. */
  async function newClone(root: NodePointer | null, parent: string | null) {
    const volumeId = newVolumeId(tenants.blocks.random);
    const mallory = tenants.store(MALLORY);
    const headKey = `volumes/${volumeId}/head.json`;
    const checkpoint = {
      ...{ seq: 0, root, sizeBytes: 1 << 20, mappedPages: root?.mappedPages ?? 0, epoch: 0, commitTimeMs: 0 },
      ...{ logHash: '0'.repeat(64), consistent: true },
    };
    const head = forgeDocument(await bytesAt(`volumes/${own.volumeId}/head.json`), (fields) => {
      Object.assign(fields, { key: headKey, epoch: 0, holder: null, inSync: [], checkpoint, consistent: checkpoint });
      delete fields['closedBy'];
      delete fields['recovery'];
    });
    const entryKey = `volumes/${volumeId}/volume.json`;
    const lineage = parent === v1.snapshotId ? v1.lineage : parent === null ? volumeId : own.volumeId;
    const entry = forgeDocument(await bytesAt(`volumes/${own.volumeId}/volume.json`), (fields) =>
      Object.assign(fields, { key: entryKey, volumeId, lineage, parentSnapshotId: parent }),
    );
    return {
      volumeId,
      firstHead: async () => mallory.put(headKey, head, IF_ABSENT),
      entry: async () => mallory.put(entryKey, entry, IF_ABSENT),
    };
  }
});

describe('forged maps', () => {
  const put = async (who: Who, volume: VolumeEntry, forged: ForgedMap, root: NodePointer | null): Promise<unknown> =>
    await tenants.store(who).put(forged.key, forged.body(volume.volumeId, root), IF_ABSENT);
  const mapKey = (volume: VolumeEntry, number: number): string => `volumes/${volume.volumeId}/map/${seq(number)}`;

  it('a leaf that points to another account’s frames is refused, whatever creators it names', async () => {
    const runs = await firstRuns(v1.root);
    for (const [i, creators] of [[accountOf(0)], [accountOf(MALLORY)], []].entries()) {
      const forged = new ForgedMap(mapKey(own, 50 + i));
      const leaf = forged.leaf(runs.map((run) => ({ ...run, source: { ...run.source, creators } })));
      expect(await failure(put(MALLORY, own, forged, forged.above(leaf, 0)))).toMatchObject({ code: 'map-refused' });
    }
  });

  it('a node that points to another account’s nodes is refused', async () => {
    if (v1.root === null) throw new Error('v1 maps something');
    const forged = new ForgedMap(mapKey(own, 50));
    expect(await failure(put(MALLORY, own, forged, v1.root))).toMatchObject({ code: 'map-refused' });
    const renamed = { ...v1.root, creators: [accountOf(MALLORY)] };
    expect(await failure(put(MALLORY, own, new ForgedMap(mapKey(own, 50)), renamed))).toMatchObject({
      code: 'map-refused',
    });
  });

  it('who was granted frames keeps their creators, and their places', async () => {
    const runs = await firstRuns(v1.root);
    const laundered = new ForgedMap(mapKey(clone, 50));
    const leaf = laundered.leaf(runs.map((run) => ({ ...run, source: { ...run.source, creators: [accountOf(1)] } })));
    expect(await failure(put(1, clone, laundered, laundered.above(leaf, 0)))).toMatchObject({ code: 'map-refused' });
    const moved = new ForgedMap(mapKey(clone, 50));
    const elsewhere = moved.leaf(runs.map((run) => ({ ...run, page: run.page + 300 })));
    expect(await failure(put(1, clone, moved, moved.above(elsewhere, 0)))).toMatchObject({ code: 'map-refused' });
    // A frame of the same segment that the snapshot does not show: it was overwritten before.
    const [first] = runs;
    if (first === undefined) throw new Error('v1 maps something');
    const hidden = new ForgedMap(mapKey(clone, 50));
    const other = hidden.leaf([{ ...first, frame: first.frame + 1 }]);
    expect(await failure(put(1, clone, hidden, hidden.above(other, 0)))).toMatchObject({ code: 'map-refused' });
    // As it was, it is taken.
    const honest = new ForgedMap(mapKey(clone, 50));
    expect(await put(1, clone, honest, honest.above(honest.leaf(runs), 0))).toMatchObject({ outcome: 'stored' });
  });

  it('what was hidden in an object of one’s own, or inside a node, is not pointed to later', async () => {
    const stolen = await firstRuns(v1.root);
    const [mine] = await firstRuns(ownSnapshot.root);
    if (mine === undefined) throw new Error('his snapshot maps something');
    const first = new ForgedMap(mapKey(own, 60));
    const hidden = first.leaf(
      stolen.map((run) => ({ ...run, source: { ...run.source, creators: [accountOf(MALLORY)] } })),
    );
    // Not reached by its root, so nobody looks at it; and a node's bytes may be a part of another one's.
    expect(await put(MALLORY, own, first, first.above(first.leaf([mine]), 0))).toMatchObject({ outcome: 'stored' });
    const second = new ForgedMap(mapKey(own, 61));
    expect(await failure(put(MALLORY, own, second, second.above(hidden, 0)))).toMatchObject({ code: 'map-refused' });
    const inner = new ForgedMap(mapKey(own, 62));
    const sound = inner.leaf([mine]);
    const shifted = { ...sound, offset: sound.offset + 1, length: sound.length - 1 };
    expect(await failure(put(MALLORY, own, inner, inner.above(shifted, 0)))).toMatchObject({ kind: 'denied' });
  });

  it('what a map says of itself is true: levels, pages, creators, owner, shape', async () => {
    const [mine] = await firstRuns(ownSnapshot.root);
    if (mine === undefined) throw new Error('his snapshot maps something');
    const attempt = async (make: (forged: ForgedMap) => NodePointer | null, owner = own.volumeId as string) => {
      const forged = new ForgedMap(mapKey(own, 70));
      const root = make(forged);
      return await failure(tenants.store(MALLORY).put(forged.key, forged.body(owner, root), IF_ABSENT));
    };
    const lies: ((forged: ForgedMap) => NodePointer | null)[] = [
      (forged) => forged.leaf([mine]),
      (forged) => forged.interior(1, [[0, forged.leaf([mine])]]),
      (forged) => ({ ...forged.above(forged.leaf([mine]), 0), mappedPages: 1_000_000 }),
      (forged) => ({ ...forged.above(forged.leaf([mine]), 0), creators: [] }),
      (forged) => forged.above({ ...forged.leaf([mine]), creators: [accountOf(0)] }, 0),
      (forged) => {
        const twice = forged.leaf([mine]);
        const pair = forged.interior(1, [
          [0, twice],
          [1, twice],
        ]);
        return forged.above(pair, 1);
      },
      (forged) => forged.above(forged.node(Buffer.from([7, 1, 2, 3]), { mappedPages: 1, creators: [] }), 0),
      // It would be 200 MiB.
      (forged) => {
        const bomb = Buffer.concat([Buffer.of(1), zstdCompressSync(Buffer.alloc(200 << 20))]);
        return forged.above(forged.node(bomb, { mappedPages: 1, creators: [] }), 0);
      },
    ];
    for (const lie of lies) expect(await attempt(lie)).toMatchObject({ kind: 'denied' });
    expect(await attempt((forged) => forged.above(forged.leaf([mine]), 0), annas.volumeId)).toMatchObject({
      code: 'map-refused',
    });
    const sound = new ForgedMap(mapKey(own, 70));
    const body = sound.body(own.volumeId, sound.above(sound.leaf([mine]), 0));
    for (const broken of [Buffer.alloc(0), body.subarray(0, -1), Buffer.concat([Buffer.alloc(1), body])])
      expect(await failure(tenants.store(MALLORY).put(sound.key, broken, IF_ABSENT))).toMatchObject({ kind: 'denied' });
    const flipped = Buffer.from(body);
    flipped[20] = (flipped[20] ?? 0) ^ 1;
    expect(await failure(tenants.store(MALLORY).put(sound.key, flipped, IF_ABSENT))).toMatchObject({ kind: 'denied' });
  });
});

describe('forged segments', () => {
  const attempt = async (
    volume: VolumeEntry,
    who: Who,
    change: (footer: Record<string, unknown>) => void,
    at = 9,
  ): Promise<SgwError> => {
    const forged = forgeSegment(await bytesAt(`volumes/${volume.volumeId}/log/${seq(1)}`), ({ footer }) => {
      footer['seq'] = at;
      change(footer);
    });
    return await failure(tenants.store(who).put(`volumes/${volume.volumeId}/log/${seq(9)}`, forged, IF_ABSENT));
  };

  it('every frame names who writes it, and nobody whose frames were not granted', async () => {
    for (const creators of [[[accountOf(0)]], [[]], [[accountOf(0), accountOf(MALLORY)]], ['x'], [[7]]])
      expect(await attempt(own, MALLORY, (footer) => (footer['creators'] = creators))).toMatchObject({
        kind: 'denied',
      });
    // Bert was granted Anna's frames, and no other's.
    const third = [[accountOf(1), accountOf(2)]];
    expect(await attempt(clone, 1, (footer) => (footer['creators'] = third))).toMatchObject({ kind: 'denied' });
    const withoutHimself = [[accountOf(0)]];
    expect(await attempt(clone, 1, (footer) => (footer['creators'] = withoutHimself))).toMatchObject({
      kind: 'denied',
    });
  });

  it('it is of its volume and its seq, and no tombstone', async () => {
    expect(await attempt(own, MALLORY, () => undefined, 8)).toMatchObject({ code: 'write-refused' });
    expect(await attempt(own, MALLORY, (footer) => (footer['volumeId'] = annas.volumeId))).toMatchObject({
      code: 'write-refused',
    });
    expect(await attempt(own, MALLORY, (footer) => (footer['kind'] = 'tombstone'))).toMatchObject({ kind: 'denied' });
    const mallory = tenants.store(MALLORY);
    for (const body of [Buffer.alloc(0), Buffer.alloc(100), seededRandom(SEED).bytes(50_000)])
      expect(await failure(mallory.put(`volumes/${own.volumeId}/log/${seq(9)}`, body, IF_ABSENT))).toMatchObject({
        kind: 'denied',
      });
  });
});

describe('over the network', () => {
  let listener: GatewayListener;
  let session: ClientHttp2Session;

  beforeEach(async () => {
    const { context, exports, quotas } = tenants;
    const ignore = (): void => undefined;
    const log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
    const endpoint = dataEndpoint({
      parts: { context, exports, quotas, log },
      principalOf: (request) => {
        const who = EVERYBODY.find((one) => gatewayOf(one).gatewayId === commonNameOf(request));
        if (who === undefined) throw new SgwError('denied', 'gateway-unknown', 'no such gateway');
        return gatewayOf(who);
      },
      onFenced: ignore,
    });
    listener = await GatewayListener.start(endpoint.add);
    await begin();
  });
  afterEach(async () => {
    session.destroy();
    await listener[Symbol.asyncDispose]();
  });

  const begin = async (): Promise<void> => {
    const { ca, certificate, privateKey } = await listener.authority.identity(gatewayOf(MALLORY).gatewayId);
    session = connect(`https://127.0.0.1:${String(listener.port)}`, { ca, cert: certificate, key: privateKey });
    session.on('error', () => undefined);
  };

  const ask = async (headers: Record<string, string>, body?: Buffer): Promise<{ status: number; text: string }> => {
    const stream = session.request(headers, { endStream: body === undefined });
    stream.on('error', () => undefined);
    if (body !== undefined) stream.end(body);
    const answer = await new Promise<Record<string, unknown>>((resolve) => {
      stream.once('response', (received) => {
        resolve(received);
      });
      stream.once('close', () => {
        resolve({});
      });
    });
    const chunks = await Array.fromAsync(stream as AsyncIterable<Buffer>).catch(() => []);
    return {
      status: Number(answer[constants.HTTP2_HEADER_STATUS] ?? 0),
      text: Buffer.concat(chunks).toString('latin1'),
    };
  };

  it('fuzzed requests are answered by refusals, and the server goes on', async () => {
    const random = seededRandom(SEED);
    const pick = <T>(of: readonly T[]): T => of[Math.floor(random.float() * of.length)] as T;
    const key = `volumes/${annas.volumeId}/log/${seq(1)}`;
    const paths = [
      `/objects/${key}`,
      `/objects/${own.volumeId}/../${key}`,
      `/objects/volumes/${own.volumeId}/..%2f${annas.volumeId}/volume.json`,
      `/objects//${key}`,
      `/objects/%76olumes/${annas.volumeId}/volume.json`,
      `/objects/service/root.json?prefix=volumes/`,
      '/objects?prefix=service/',
      '/objects?prefix=..%2F',
      '/objects?prefix=volumes/&startAfter=zzz&limit=-1',
      '/objects?limit=NaN',
      '/folders?prefix=volumes',
      '/folders?prefix=service/',
      '/objects/',
    ];
    const ranges = [
      'bytes=0-',
      'bytes=-0',
      'bytes=9-3',
      'bytes=0-9,20-30',
      'lines=1-2',
      `bytes=-${'9'.repeat(15)}`,
      '',
    ];
    const values = ['"x"', '*', 'W/"1"', '"a","b"', '\u00ff', 'x'.repeat(2000)];
    const anna = await bytesAt(key);
    const statuses = new Map<number, number>();
    for (let round = 0; round < 250; round++) {
      const method = pick(['GET', 'HEAD', 'PUT', 'DELETE', 'POST', 'PATCH', 'OPTIONS']);
      const headers: Record<string, string> = { ':method': method, ':path': pick(paths) };
      if (random.float() < 0.4) headers['range'] = pick(ranges);
      if (random.float() < 0.3) headers['if-match'] = pick(values);
      if (random.float() < 0.3) headers['if-none-match'] = pick(values);
      if (random.float() < 0.3) headers['x-sgw-call-id'] = pick(values);
      if (random.float() < 0.3) headers['x-sgw-sha256'] = pick(['0'.repeat(64), 'no']);
      if (random.float() < 0.3) headers['content-length'] = pick(['0', '-5', '99999999999999', '1']);
      const body = method === 'PUT' && random.float() < 0.7 ? Buffer.from(pick(['', 'x', '{}'])) : undefined;
      const { status, text } = await ask(headers, body);
      // What is answered at all is a list, without what is another's.
      if (status === 200) expect(headers[':path']).toMatch(/^\/(?:objects|folders)\?/);
      if (status === 200) expect(text).not.toContain(annas.volumeId);
      expect(text.includes(anna.toString('latin1', 64, 128))).toBe(false);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      // Some break the rules of HTTP/2 itself: then the connection is over.
      if (session.destroyed || session.closed) await begin();
    }
    expect((statuses.get(404) ?? 0) + (statuses.get(403) ?? 0) + (statuses.get(400) ?? 0)).toBeGreaterThan(60);
    expect(await ask({ ':method': 'GET', ':path': '/objects/sgw.json' })).toMatchObject({ status: 200 });
  });

  it('a body that is not what it says is not stored', async () => {
    const { createHash } = await import('node:crypto');
    const { crc32 } = await import('node:zlib');
    const body = Buffer.from('a trial');
    const put = (name: string, more: Record<string, string>): Promise<{ status: number; text: string }> =>
      ask(
        {
          ...{ ':method': 'PUT', ':path': `/objects/probe/${name}`, 'content-length': String(body.length) },
          'x-sgw-sha256': createHash('sha256').update(body).digest('hex'),
          'x-sgw-crc32': crc32(body).toString(16).padStart(8, '0'),
          ...more,
        },
        body,
      );
    expect((await put('good', {})).status).toBe(200);
    expect((await put('hash', { 'x-sgw-sha256': '0'.repeat(64) })).status).toBe(503);
    expect((await put('crc', { 'x-sgw-crc32': '00000000' })).status).toBe(503);
    expect((await put('large', { 'content-length': String(1 << 30) })).status).not.toBe(200);
    const names = [...(await tenants.objects()).keys()].filter((key) => key.startsWith('probe/'));
    expect(names).toEqual([`probe/${accountOf(MALLORY)}.good`]);
  });

  it('who shows no certificate of the service gets no connection', async () => {
    const { ca } = await listener.authority.identity('sgw-00000009');
    const stranger = connect(`https://127.0.0.1:${String(listener.port)}`, { ca });
    stranger.on('error', () => undefined);
    const stream = stranger.request({ ':method': 'GET', ':path': '/objects/sgw.json' });
    stream.on('error', () => undefined);
    const answered = await Promise.race([
      once(stream, 'response').then(() => true),
      once(stream, 'close').then(() => false),
    ]).catch(() => false);
    expect(answered).toBe(false);
    stranger.destroy();
  });
});
