/** The EBS direct API, as AWS's own client uses it. */
import { randomBytes } from 'node:crypto';
import { CompleteSnapshotCommand, ListSnapshotBlocksCommand, StartSnapshotCommand } from '@aws-sdk/client-ebs';
import { afterEach, describe, expect, it } from 'vitest';
import {
  BLOCK,
  blockOf,
  changedBlocks,
  digests,
  EbsRig,
  getBlock,
  listBlocks,
  putBlock,
  readSnapshot,
  sha256,
  startSnapshot,
  writeSnapshot,
} from './ebs-rig.ts';

/** docs/formats/segment.md */
const SEGMENT_HEADER_BYTES = 64;

const rigs: EbsRig[] = [];
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig[Symbol.asyncDispose]();
});

async function start(...args: Parameters<typeof EbsRig.start>): Promise<EbsRig> {
  const rig = await EbsRig.start(...args);
  rigs.push(rig);
  return rig;
}

describe.each([
  ['in plain', false],
  ['by keys that the provider holds', true],
])('a snapshot that is written with EBS direct, kept %s', (_name, isSealed) => {
  const begin = async (): Promise<EbsRig> => await start(undefined, {}, { isSealed });

  it('reads back block by block as it was written', async () => {
    const rig = await begin();
    const { client, accountId } = await rig.user('anna');
    const started = await client.send(
      new StartSnapshotCommand({ VolumeSize: 3, Description: 'golden', Tags: [{ Key: 'Name', Value: 'gold' }] }),
    );
    expect(started).toMatchObject({
      OwnerId: accountId,
      Status: 'pending',
      VolumeSize: 3,
      BlockSize: 524288,
      Description: 'golden',
      Tags: [{ Key: 'Name', Value: 'gold' }],
    });
    expect(Math.abs((started.StartTime?.getTime() ?? 0) - Date.now())).toBeLessThan(60_000);
    const written = new Map([3, 0, 4095, 7].map((index) => [index, blockOf(index)]));
    const snapshotId = await writeSnapshot(client, written, { VolumeSize: 2 });
    expect(digests(await readSnapshot(client, snapshotId))).toEqual(digests(written));
  });

  it('C29: reads back as it was written, many blocks at once, what shrinks and what does not', async () => {
    const rig = await begin();
    const { client } = await rig.user('anna');
    const mixed = Buffer.concat([randomBytes(5 * 65_536), Buffer.alloc(65_536), blockOf(1).subarray(0, 2 * 65_536)]);
    const made = (index: number): Buffer => [randomBytes(BLOCK), blockOf(index), mixed][index % 3] ?? mixed;
    const written = new Map(Array.from({ length: 48 }, (_, index) => [index, made(index)]));
    const snapshotId = await startSnapshot(client);
    // More than there is memory for at once, so that all of it is used again.
    for (let first = 0; first < 48; first += 24)
      await Promise.all(
        [...written].slice(first, first + 24).map(async ([index, bytes]) => putBlock(client, snapshotId, index, bytes)),
      );
    await client.send(new CompleteSnapshotCommand({ SnapshotId: snapshotId, ChangedBlocksCount: written.size }));
    const tokens = await listBlocks(client, snapshotId);
    const read = await Promise.all(
      [...tokens].map(async ([index, token]) => [index, await getBlock(client, snapshotId, index, token)] as const),
    );
    expect(digests(new Map(read))).toEqual(digests(written));
  });

  it('is pending when it is completed, and completed when that is asked again', async () => {
    const rig = await begin();
    const { client } = await rig.user('anna');
    const snapshotId = await startSnapshot(client);
    await putBlock(client, snapshotId, 1, blockOf(1));
    const complete = new CompleteSnapshotCommand({ SnapshotId: snapshotId, ChangedBlocksCount: 1 });
    expect((await client.send(complete)).Status).toBe('pending');
    expect((await client.send(complete)).Status).toBe('completed');
    const page = await client.send(new ListSnapshotBlocksCommand({ SnapshotId: snapshotId }));
    expect(page).toMatchObject({ VolumeSize: 1, BlockSize: 524288 });
    expect(Math.abs((page.ExpiryTime?.getTime() ?? 0) - Date.now() - 7 * 86_400_000)).toBeLessThan(60_000);
  });

  it('takes a block that was written twice as it was written last, and counts it once', async () => {
    const rig = await begin();
    const { client } = await rig.user('anna');
    const snapshotId = await startSnapshot(client);
    for (const value of [1, 2, 1, 3]) await putBlock(client, snapshotId, 5, blockOf(value));
    await client.send(new CompleteSnapshotCommand({ SnapshotId: snapshotId, ChangedBlocksCount: 1 }));
    expect(digests(await readSnapshot(client, snapshotId))).toEqual(digests(new Map([[5, blockOf(3)]])));
  });

  it('reads as its parent where nothing was written, and differs from it where something was', async () => {
    const rig = await begin();
    const { client } = await rig.user('anna');
    const base = new Map([0, 1, 2, 900].map((index) => [index, blockOf(index)]));
    const parent = await writeSnapshot(client, base);
    const zeroes = Buffer.alloc(524288);
    const child = await writeSnapshot(
      client,
      new Map([
        [1, blockOf(77)],
        [2, zeroes],
        [3, blockOf(3)],
      ]),
      {
        ParentSnapshotId: parent,
      },
    );
    expect(digests(await readSnapshot(client, child))).toEqual(
      digests(
        new Map([
          [0, blockOf(0)],
          [1, blockOf(77)],
          [3, blockOf(3)],
          [900, blockOf(900)],
        ]),
      ),
    );
    const changed = await changedBlocks(client, parent, child);
    expect(changed.map(({ index, first, second }) => [index, first !== undefined, second !== undefined])).toEqual([
      [1, true, true],
      [2, true, false],
      [3, false, true],
    ]);
    expect(sha256(await getBlock(client, parent, 1, changed[0]?.first ?? ''))).toBe(sha256(blockOf(1)));
    expect(sha256(await getBlock(client, child, 1, changed[0]?.second ?? ''))).toBe(sha256(blockOf(77)));
    expect((await changedBlocks(client, undefined, child)).map(({ index }) => index)).toEqual([0, 1, 3, 900]);
    expect(await changedBlocks(client, child, child)).toEqual([]);
  });

  it('is listed page by page, in the order of blocks', async () => {
    const rig = await begin();
    const { client } = await rig.user('anna');
    const same = blockOf(1);
    const indexes = Array.from({ length: 250 }, (_, i) => i * 8);
    const snapshotId = await writeSnapshot(client, new Map(indexes.map((index) => [index, same])));
    expect([...(await listBlocks(client, snapshotId)).keys()]).toEqual(indexes);
    const from = await client.send(
      new ListSnapshotBlocksCommand({ SnapshotId: snapshotId, StartingBlockIndex: 1993, MaxResults: 100 }),
    );
    expect(from.Blocks?.map(({ BlockIndex }) => BlockIndex)).toEqual([]);
    const last = await client.send(
      new ListSnapshotBlocksCommand({ SnapshotId: snapshotId, StartingBlockIndex: 1985, MaxResults: 100 }),
    );
    expect(last.Blocks?.map(({ BlockIndex }) => BlockIndex)).toEqual([1992]);
  });
});

describe('a block that did not shrink', () => {
  it.each([
    ['its first byte', SEGMENT_HEADER_BYTES],
    ['one in the middle', 300_000],
    ['its last byte', SEGMENT_HEADER_BYTES + BLOCK - 1],
  ])('is refused when %s is damaged in the store', async (_name, at) => {
    const rig = await start();
    const { client } = await rig.user('anna');
    const snapshotId = await writeSnapshot(client, new Map([[0, randomBytes(BLOCK)]]));
    const [token = ''] = (await listBlocks(client, snapshotId)).values();
    const [{ key } = { key: '' }] = await Array.fromAsync(rig.objects.list(`uploads/${snapshotId}/`));
    const bytes = Buffer.from((await rig.objects.get(key))?.bytes ?? []);
    bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
    await rig.objects.put(key, bytes);
    await expect(getBlock(client, snapshotId, 0, token)).rejects.toMatchObject({ $metadata: { httpStatusCode: 500 } });
  });
});
