/** Several servers of the EBS direct API over one store: streams, limits, and what one leaves that another one ends. */
import { Readable } from 'node:stream';
import {
  CompleteSnapshotCommand,
  EBSClient,
  PutSnapshotBlockCommand,
  type EBSServiceException,
} from '@aws-sdk/client-ebs';
import { afterEach, describe, expect, it } from 'vitest';
import { Catalog } from '../../../../src/core/blockstore/index.ts';
import { SgwError, type SnapshotId } from '../../../../src/core/kit/index.ts';
import { memoryStore, type PutBody, type PutOptions, type PutResult } from '../../../../src/core/objectstore/index.ts';
import { StoreLayer } from '../../../../src/core/objectstore/layer.ts';
import { blockOf, BLOCK, digests, EbsRig, putBlock, readSnapshot, REGION, sha256, startSnapshot } from './ebs-rig.ts';

/** A store that takes no put of some keys, for as long as it is told so. */
class RefusingStore extends StoreLayer {
  refused: RegExp | undefined;

  override async put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult> {
    if (this.refused?.test(key) === true) throw new SgwError('unavailable', 'store-away', 'the store is away');
    return await super.put(key, body, options);
  }
}

const rigs: EbsRig[] = [];
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig[Symbol.asyncDispose]();
});

async function begin(...args: Parameters<typeof EbsRig.start>): Promise<EbsRig> {
  const rig = await EbsRig.start(...args);
  rigs.push(rig);
  return rig;
}

const put = (
  snapshotId: string,
  index: number,
  bytes: Buffer,
): ConstructorParameters<typeof PutSnapshotBlockCommand>[0] => ({
  ...{ SnapshotId: snapshotId, BlockIndex: index, DataLength: BLOCK, BlockData: bytes },
  ...{ Checksum: sha256(bytes), ChecksumAlgorithm: 'SHA256' },
});

describe('a block', () => {
  it('is taken as a stream whose body nobody signed, in pieces of any size, and held against its checksum', async () => {
    const rig = await begin();
    const { client } = await rig.user('anna');
    const snapshotId = await startSnapshot(client);
    for (const [index, pieceBytes] of [
      [0, 100_000],
      [1, 1013],
      [2, BLOCK],
    ] as const) {
      const bytes = blockOf(index);
      const pieces = Array.from({ length: Math.ceil(BLOCK / pieceBytes) }, (_, i) =>
        bytes.subarray(i * pieceBytes, (i + 1) * pieceBytes),
      );
      await client.send(
        new PutSnapshotBlockCommand({ ...put(snapshotId, index, bytes), BlockData: Readable.from(pieces) }),
      );
    }
    const forged = { ...put(snapshotId, 3, blockOf(3)), BlockData: Readable.from([blockOf(4)]) };
    await expect(client.send(new PutSnapshotBlockCommand(forged))).rejects.toMatchObject({ Reason: 'INVALID_BLOCK' });
    const short = { ...put(snapshotId, 3, blockOf(3)), BlockData: Readable.from([blockOf(3).subarray(1)]) };
    await expect(client.send(new PutSnapshotBlockCommand(short))).rejects.toMatchObject({
      name: 'ValidationException',
    });
    await client.send(new CompleteSnapshotCommand({ SnapshotId: snapshotId, ChangedBlocksCount: 3 }));
    expect(digests(await readSnapshot(client, snapshotId))).toEqual(
      digests(new Map([0, 1, 2].map((index) => [index, blockOf(index)]))),
    );
  });

  it('waits while others are under way, and is put off by name when too many wait', async () => {
    const rig = await begin(memoryStore(), { underWayMax: 1, ofAccountMax: 1, waitingMax: 2 });
    const { credentials } = await rig.user('anna');
    const client = new EBSClient({ endpoint: rig.endpoint, region: REGION, credentials, maxAttempts: 1 });
    const snapshotId = await startSnapshot(client);
    const bytes = blockOf(1);
    const outcomes = await Promise.all(
      Array.from({ length: 16 }, async (_, index) => {
        try {
          await client.send(new PutSnapshotBlockCommand(put(snapshotId, index, bytes)));
          return 'stored';
        } catch (error) {
          return `${(error as EBSServiceException).name} ${String((error as { Reason?: unknown }).Reason)}`;
        }
      }),
    );
    client.destroy();
    expect(new Set(outcomes)).toEqual(new Set(['stored', 'RequestThrottledException RESOURCE_LEVEL_THROTTLE']));
  });
});

describe('a snapshot', () => {
  it('is written by one server and another at once, and completed by both, once', async () => {
    const rig = await begin();
    const one = await rig.user('anna');
    const other = rig.client(one.credentials, await rig.server());
    const snapshotId = await startSnapshot(one.client);
    const blocks = new Map(Array.from({ length: 12 }, (_, i) => [i, blockOf(i)] as const));
    await Promise.all(
      [...blocks].map(async ([index, bytes]) => {
        await putBlock(index % 2 === 0 ? one.client : other, snapshotId, index, bytes);
      }),
    );
    const complete = (): CompleteSnapshotCommand =>
      new CompleteSnapshotCommand({ SnapshotId: snapshotId, ChangedBlocksCount: 12 });
    const answers = await Promise.all([
      one.client.send(complete()),
      other.send(complete()),
      one.client.send(complete()),
    ]);
    for (const { Status } of answers) expect(['pending', 'completed']).toContain(Status);
    expect(digests(await readSnapshot(other, snapshotId))).toEqual(digests(blocks));
  });

  it('that a server left sealing is completed by one that starts later, or when it is asked again', async () => {
    const store = new RefusingStore(memoryStore());
    const rig = await begin(store);
    const { client, credentials } = await rig.user('anna');
    const left: string[] = [];
    for (const value of [1, 2]) {
      const snapshotId = await startSnapshot(client);
      await putBlock(client, snapshotId, 0, blockOf(value));
      // Between sealing and the map.
      store.refused = /^snapshots\/[^/]+\/map$/;
      const complete = new CompleteSnapshotCommand({ SnapshotId: snapshotId, ChangedBlocksCount: 1 });
      await expect(client.send(complete)).rejects.toMatchObject({ $metadata: { httpStatusCode: 503 } });
      const { state, upload } = await new Catalog(rig.blocks).getSnapshot(snapshotId as SnapshotId);
      expect([state, upload?.state]).toEqual(['pending', 'sealing']);
      await expect(putBlock(client, snapshotId, 1, blockOf(9))).rejects.toMatchObject({
        Reason: 'INVALID_SNAPSHOT_ID',
      });
      left.push(snapshotId);
      store.refused = undefined;
    }
    const [asked = '', resumed = ''] = left;
    const again = new CompleteSnapshotCommand({ SnapshotId: asked, ChangedBlocksCount: 1 });
    await client.send(again);
    expect(await client.send(again)).toMatchObject({ Status: 'completed' });
    const later = rig.client(credentials, await rig.server());
    await expect
      .poll(async () => (await new Catalog(rig.blocks).getSnapshot(resumed as SnapshotId)).state)
      .toBe('completed');
    expect(digests(await readSnapshot(later, resumed))).toEqual(digests(new Map([[0, blockOf(2)]])));
    expect(digests(await readSnapshot(later, asked))).toEqual(digests(new Map([[0, blockOf(1)]])));
  });
});
