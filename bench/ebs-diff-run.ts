/**
 * Two snapshots of 1 TiB that is all written, which differ in 1,000 blocks at random places: how long listing these takes a server
 * that has read nothing of them yet, over a directory. `node ebs-diff-run.ts FOLDER ROUNDS`. Prints milliseconds as JSON.
 *
 * The maps are made as a gateway makes them; of segments only those of the changed blocks are there, since no others are read.
 */
import path from 'node:path';
import { ListChangedBlocksCommand } from '@aws-sdk/client-ebs';
import { BlockReader } from '../src/core/blockstore/blocks/index.ts';
import { createDocument, type SnapshotEntry } from '../src/core/blockstore/index.ts';
import { blockViews, FrameEncoder } from '../src/core/blockstore/frame-codec.ts';
import { encodeMap, nodeLoader } from '../src/core/blockstore/map-object.ts';
import type { NodePointer } from '../src/core/blockstore/node-codec.ts';
import { PageMap } from '../src/core/blockstore/page-map.ts';
import { sealSegment, ZERO_HASH, type SealedSegment } from '../src/core/blockstore/segment-codec.ts';
import type { EncodedFrames } from '../src/core/blockstore/segment-codec.ts';
import { seededRandom, TIB, type SnapshotId, type VolumeId } from '../src/core/kit/index.ts';
import { directoryStore } from '../src/core/objectstore/index.ts';
import { EbsRig } from '../test/unit/service/ebs/ebs-rig.ts';

const CHANGED = 1000;
const API_BLOCK = 512 * 1024;
const FRAME_BLOCK = 64 * 1024;
const FRAMES = 192;
const PART_LEAVES = 32_768;
const VOLUME: VolumeId = 'vol-00000000000000001';

export interface DiffSamples {
  /** A call of the API by AWS's SDK, to a server that has just started. */
  readonly callMs: number[];
  /** The walk alone, cold and again. */
  readonly coldMs: number[];
  readonly warmMs: number[];
}

const [folder = '', rounds = '3'] = process.argv.slice(2);
const random = seededRandom(1);
const objects = directoryStore({ path: path.join(folder, 'store'), create: true });
const rig = await EbsRig.start(objects);
const { blocks: options } = rig;
const user = await rig.user('bench');
const keyOf = (seq: number): string => `volumes/${VOLUME}/log/${seq.toString(16).padStart(16, '0')}`;

function segment(seq: number, pieces: readonly EncodedFrames[]): SealedSegment {
  const facts = { kind: 'data', volumeId: VOLUME, seq, epoch: 1, segmentId: random.bytes(16).toString('hex') } as const;
  const state = { commitTimeMs: 1, prevHash: ZERO_HASH, sizeBytes: TIB, consistent: true, records: null } as const;
  return sealSegment(keyOf(seq), { ...facts, ...state, creators: [[user.accountId]] }, pieces, []);
}

/** Full frames of these blocks of 64 KiB, of one stored byte each: for maps, which do not look at them. */
function emptyFrames(first: number, count: number): EncodedFrames {
  const frames = Array.from({ length: count }, (_, i) => ({
    ...{
      block: first + i,
      offset: i,
      storedLength: 1,
      mask: 0xffff,
      codec: 0,
      crc32: 0,
      creators: 0,
      hashIndex: i * 16,
    },
  }));
  return {
    stored: Buffer.alloc(count),
    frames,
    pageHashes: Buffer.alloc(count * 256),
    dataPages: count * 16,
    zeroed: [],
    readBytes: 0,
  };
}

async function store(map: PageMap, key: string): Promise<NodePointer | null> {
  const facts = { seq: 1, sizeBytes: TIB, epoch: 1, commitTimeMs: 1, logHash: ZERO_HASH, consistent: true };
  const { body, checkpoint } = encodeMap(map, key, VOLUME, facts);
  await objects.put(key, body);
  return checkpoint.root;
}

async function fullMap(): Promise<NodePointer | null> {
  let root: NodePointer | null = null;
  let map = new PageMap({ root, load: nodeLoader(options) });
  let seq = 0;
  const storePart = async (): Promise<void> => {
    root = await store(map, `volumes/${VOLUME}/map/${seq.toString(16).padStart(16, '0')}`);
    map = new PageMap({ root, load: nodeLoader(options) });
  };
  for (let block = 0; block < TIB / FRAME_BLOCK; block += FRAMES) {
    const count = Math.min(FRAMES, TIB / FRAME_BLOCK - block);
    await map.applySegment(segment(++seq, [emptyFrames(block, count)]).index);
    if (map.dirtyLeaves >= PART_LEAVES) await storePart();
  }
  await storePart();
  return root;
}

/** 24 blocks to a segment, as a gateway fills them. */
async function changedMap(from: NodePointer | null, snapshotId: SnapshotId): Promise<NodePointer | null> {
  const map = new PageMap({ root: from, load: nodeLoader(options) });
  const changed = new Set<number>();
  while (changed.size < CHANGED) changed.add(Math.floor(random.float() * (TIB / API_BLOCK)));
  const ordered = [...changed].sort((a, b) => a - b);
  const bytes = random.bytes(FRAME_BLOCK);
  for (let i = 0, seq = 0x10_0000; i < ordered.length; i += 24, seq++) {
    const encoder = new FrameEncoder();
    for (const block of ordered.slice(i, i + 24))
      for (let k = 0; k < API_BLOCK / FRAME_BLOCK; k++)
        encoder.addPages(block * (API_BLOCK / FRAME_BLOCK) + k, blockViews(bytes), 0xffff, 0);
    const sealed = segment(seq, [encoder.finish()]);
    await objects.put(sealed.index.key, sealed.body);
    await map.applySegment(sealed.index);
  }
  return await store(map, `snapshots/${snapshotId}/map`);
}

async function snapshot(snapshotId: SnapshotId, root: NodePointer | null): Promise<void> {
  const createdAt = new Date().toISOString();
  const entry: SnapshotEntry = {
    ...{ snapshotId, name: snapshotId, state: 'completed', reason: null, volumeId: VOLUME, volumeName: 'disk' },
    ...{ lineage: VOLUME, seq: 1, sizeBytes: TIB, mappedPages: root?.mappedPages ?? 0, accountId: user.accountId },
    ...{
      creators: [user.accountId],
      createdAt,
      completedAt: createdAt,
      description: '',
      tags: {},
      clientToken: null,
      root,
    },
  };
  await createDocument(options, `snapshots/${snapshotId}/snapshot.json`, entry);
}

const first = await fullMap();
const [one, two]: [SnapshotId, SnapshotId] = ['snap-00000000000000001', 'snap-00000000000000002'];
const second = await changedMap(first, two);
await snapshot(one, first);
await snapshot(two, second);
const samples: DiffSamples = { callMs: [], coldMs: [], warmMs: [] };
for (let i = 0; i < Number(rounds); i++) {
  const client = rig.client(user.credentials, await rig.server());
  const beganMs = performance.now();
  const command = new ListChangedBlocksCommand({ FirstSnapshotId: one, SecondSnapshotId: two, MaxResults: 10_000 });
  const { ChangedBlocks = [] } = await client.send(command);
  samples.callMs.push(performance.now() - beganMs);
  if (ChangedBlocks.length !== CHANGED) throw new Error(`${String(ChangedBlocks.length)} blocks were listed`);
  const reader = new BlockReader(options);
  for (const took of [samples.coldMs, samples.warmMs]) {
    const startedMs = performance.now();
    const changed = await Array.fromAsync(reader.changed(first, second, { fromBlock: 0, newer: 'b' }));
    if (changed.length !== CHANGED) throw new Error(`${String(changed.length)} blocks differ`);
    took.push(performance.now() - startedMs);
  }
}
await rig[Symbol.asyncDispose]();
process.stdout.write(JSON.stringify(samples));
