/**
 * EBS direct beside gateways: what the one writes, the other reads. A real file system, written by AWS's SDK and by Debian's
 * `aws`, exported, cloned, snapshotted, copied and collected by sgw.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readFileSync, readSync, closeSync, statSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { GIB, MIB, seededRandom } from '../../src/core/kit/index.ts';
import { openObjectStore } from '../../src/core/objectstore/index.ts';
import { requireTool, toolPath } from '../requirements.ts';
import {
  BLOCK,
  changedBlocks,
  digests,
  EbsRig,
  getBlock,
  readSnapshot,
  REGION,
  sha256,
  writeSnapshot,
  type User,
} from '../unit/service/ebs/ebs-rig.ts';
import { TestHome } from './home.ts';

const run = promisify(execFile);
const ACCOUNT = '000000000001';
const IMAGE_BYTES = 48 * MIB;
/** Debian's own first: Python's tools may stand before it. */
const AWS = existsSync('/usr/bin/aws') ? '/usr/bin/aws' : (toolPath('aws') ?? '');
const ZEROES = Buffer.alloc(BLOCK);

let home: TestHome;
let rig: EbsRig;
let user: User;

beforeEach(async () => {
  home = await TestHome.start();
  rig = await EbsRig.start(await openObjectStore(home.path('home/store'), { create: false }));
  const signal = new AbortController().signal;
  const { accessKeyId, secretAccessKey } = await rig.service.keys.create(
    { accountId: ACCOUNT, userName: 'main' },
    signal,
  );
  const credentials = { accessKeyId, secretAccessKey };
  user = { accountId: ACCOUNT, credentials, client: rig.client(credentials) };
});
afterEach(async () => {
  await rig[Symbol.asyncDispose]();
  await home[Symbol.asyncDispose]();
});

/** The blocks of an image that are not all zeroes. */
function blocksOf(image: Buffer): Map<number, Buffer> {
  const blocks = new Map<number, Buffer>();
  for (let index = 0; index * BLOCK < image.length; index++) {
    const bytes = Buffer.alloc(BLOCK);
    image.copy(bytes, 0, index * BLOCK, (index + 1) * BLOCK);
    if (!bytes.equals(ZEROES)) blocks.set(index, bytes);
  }
  return blocks;
}

/** An ext4 file system with files in it. */
async function fileSystem(): Promise<Buffer> {
  const folder = home.path('files');
  mkdirSync(folder);
  const random = seededRandom(3);
  for (let i = 0; i < 12; i++) writeFileSync(`${folder}/file-${String(i)}`, random.bytes(200_000 + i * 70_000));
  const image = home.path('ext4.img');
  await run(toolPath('mke2fs') ?? '', ['-q', '-t', 'ext4', '-d', folder, image, `${String(IMAGE_BYTES / MIB)}M`]);
  return readFileSync(image);
}

/** The beginning of a file, and whether all behind it is zero. */
function beginningOf(path: string, length: number): { begins: Buffer; restIsZero: boolean } {
  const file = openSync(path, 'r');
  try {
    const begins = Buffer.alloc(length);
    readSync(file, begins, 0, length, 0);
    const piece = Buffer.alloc(16 * MIB);
    let restIsZero = true;
    for (let at = length; at < statSync(path).size; at += piece.length) {
      const count = readSync(file, piece, 0, piece.length, at);
      restIsZero &&= piece.subarray(0, count).equals(Buffer.alloc(count));
    }
    return { begins, restIsZero };
  } finally {
    closeSync(file);
  }
}

describe('a snapshot that AWS writes', () => {
  requireTool('mke2fs').it(
    'is a file system again when sgw exports it, and a volume when it is cloned',
    async () => {
      const image = await fileSystem();
      const snapshotId = await writeSnapshot(user.client, blocksOf(image), {
        Tags: [{ Key: 'Name', Value: 'golden' }],
      });
      const [listed] = (await home.call('snapshot.list', {})).snapshots;
      expect(listed).toMatchObject({ snapshotId, name: 'golden', state: 'completed', sizeBytes: GIB });
      expect(await home.call('snapshot.verify', { snapshot: 'golden' })).toMatchObject({ ok: true });
      const file = home.path('golden.img');
      await home.call('snapshot.export', { snapshot: 'golden', path: file, format: 'raw' });
      expect(statSync(file).size).toBe(GIB);
      const exported = beginningOf(file, image.length);
      expect([exported.begins.equals(image), exported.restIsZero]).toEqual([true, true]);
      await run(toolPath('e2fsck') ?? '', ['-fn', file]);
      await home.call('volume.create', { name: 'build', fromSnapshot: 'golden' });
      const made = await home.call('snapshot.create', { volume: 'build', name: 'of-clone' });
      expect(digests(await readSnapshot(user.client, made.snapshotId))).toEqual(digests(blocksOf(image)));
      // The clone needs what was uploaded, also when the snapshot is gone.
      await home.call('snapshot.delete', { snapshot: 'golden' });
      for (let i = 0; i < 2; i++) await home.call('store.gc', { graceMs: 0 });
      expect(digests(await readSnapshot(user.client, made.snapshotId))).toEqual(digests(blocksOf(image)));
      expect(await home.call('store.scrub', {})).toMatchObject({ ok: true, remarks: [] });
    },
    180_000,
  );
});

describe('a snapshot that a gateway makes', () => {
  it('is read with EBS direct byte for byte, and so is what changed after it', async () => {
    const random = seededRandom(5);
    const image = Buffer.alloc(9 * MIB + 5000);
    random.bytes(3 * MIB).copy(image, MIB);
    random.bytes(5000).copy(image, 9 * MIB);
    const file = home.path('disk.img');
    writeFileSync(file, image);
    await home.call('volume.import', { file, name: 'disk' });
    const first = (await home.call('snapshot.create', { volume: 'disk', name: 'v1' })).snapshotId;
    expect(digests(await readSnapshot(user.client, first))).toEqual(digests(blocksOf(image)));
    const before = blocksOf(image);
    random.bytes(4096).copy(image, 7 * MIB);
    image.fill(0, MIB, MIB + BLOCK);
    writeFileSync(file, image);
    await home.call('volume.import', { file, into: 'disk' });
    const second = (await home.call('snapshot.create', { volume: 'disk', name: 'v2' })).snapshotId;
    const changed = await changedBlocks(user.client, first, second);
    expect(changed.map(({ index, first: a, second: b }) => [index, a !== undefined, b !== undefined])).toEqual([
      [2, true, false],
      [14, false, true],
    ]);
    expect(sha256(await getBlock(user.client, first, 2, changed[0]?.first ?? ''))).toBe(
      sha256(before.get(2) ?? ZEROES),
    );
    expect(digests(await readSnapshot(user.client, second))).toEqual(digests(blocksOf(image)));
  });

  it('is the parent of one that AWS writes', async () => {
    const image = seededRandom(9).bytes(2 * MIB);
    const file = home.path('disk.img');
    writeFileSync(file, image);
    await home.call('volume.import', { file, name: 'disk' });
    const parent = (await home.call('snapshot.create', { volume: 'disk', name: 'v1' })).snapshotId;
    const block = seededRandom(10).bytes(BLOCK);
    const child = await writeSnapshot(user.client, new Map([[1, block]]), { ParentSnapshotId: parent });
    block.copy(image, BLOCK);
    expect(digests(await readSnapshot(user.client, child))).toEqual(digests(blocksOf(image)));
    expect((await changedBlocks(user.client, parent, child)).map(({ index }) => index)).toEqual([1]);
    const { volumeId } = await home.call('volume.create', { name: 'from-child', fromSnapshot: child });
    const made = await home.call('snapshot.create', { volume: volumeId, name: 'again' });
    expect(digests(await readSnapshot(user.client, made.snapshotId))).toEqual(digests(blocksOf(image)));
  });
});

describe("Debian's aws", () => {
  requireTool('aws').it(
    'writes a snapshot, lists it, compares it and reads it',
    async () => {
      const { accessKeyId, secretAccessKey } = user.credentials;
      const env = {
        PATH: '/usr/bin:/bin',
        HOME: home.directory,
        AWS_ACCESS_KEY_ID: accessKeyId,
        AWS_SECRET_ACCESS_KEY: secretAccessKey,
        AWS_DEFAULT_REGION: REGION,
        AWS_EC2_METADATA_DISABLED: 'true',
      };
      const aws = async (...args: string[]): Promise<Record<string, unknown>> => {
        const { stdout } = await run(AWS, ['ebs', ...args, '--endpoint-url', rig.endpoint, '--output', 'json'], {
          env,
        });
        return JSON.parse(stdout) as Record<string, unknown>;
      };
      const bytes = seededRandom(2).bytes(BLOCK);
      const file = home.path('block');
      writeFileSync(file, bytes);
      const started = await aws('start-snapshot', '--volume-size', '1', '--description', 'by aws');
      const snapshotId = String(started['SnapshotId']);
      expect(started).toMatchObject({ Status: 'pending', OwnerId: ACCOUNT, VolumeSize: 1, BlockSize: BLOCK });
      const put = [
        'put-snapshot-block',
        '--snapshot-id',
        snapshotId,
        '--data-length',
        String(BLOCK),
        '--block-data',
        file,
      ];
      const checksum = ['--checksum', sha256(bytes), '--checksum-algorithm', 'SHA256'];
      expect(await aws(...put, '--block-index', '5', ...checksum)).toMatchObject({ Checksum: sha256(bytes) });
      expect(await aws('complete-snapshot', '--snapshot-id', snapshotId, '--changed-blocks-count', '1')).toEqual({
        Status: 'pending',
      });
      const listed = (await aws('list-snapshot-blocks', '--snapshot-id', snapshotId)) as {
        Blocks: { BlockIndex: number; BlockToken: string }[];
      };
      expect(listed.Blocks.map(({ BlockIndex }) => BlockIndex)).toEqual([5]);
      const target = home.path('read');
      const token = listed.Blocks[0]?.BlockToken ?? '';
      const got = await aws(
        'get-snapshot-block',
        '--snapshot-id',
        snapshotId,
        '--block-index',
        '5',
        '--block-token',
        token,
        target,
      );
      expect(got).toMatchObject({ Checksum: sha256(bytes) });
      expect(readFileSync(target).equals(bytes)).toBe(true);
      const changed = (await aws('list-changed-blocks', '--second-snapshot-id', snapshotId)) as {
        ChangedBlocks: unknown[];
      };
      expect(changed.ChangedBlocks).toHaveLength(1);
    },
    120_000,
  );
});
