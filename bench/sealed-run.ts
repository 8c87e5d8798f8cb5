/**
 * What it costs that a service seals its store: blocks through the EBS direct API over a RADOS gateway, with and without, and
 * the layer alone over a store in memory: `node sealed-run.ts ROUNDS`. Prints the samples as JSON.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import path from 'node:path';
import {
  CompleteSnapshotCommand,
  EBSClient,
  GetSnapshotBlockCommand,
  PutSnapshotBlockCommand,
} from '@aws-sdk/client-ebs';
import { memoryStore, type ObjectStore } from '../src/core/objectstore/index.ts';
import { Radosgw, S3_ENVIRONMENT } from '../test/support/radosgw.ts';
import { BLOCK, listBlocks, REGION, startSnapshot } from '../test/unit/service/ebs/ebs-rig.ts';
import { openProvider } from '../test/unit/service/providerkeys/provider-rig.ts';

const BLOCKS = 192;
const SEGMENT = 8 << 20;
const SEGMENTS = 32;
const PART = 64 << 10;
const PARTS = 4096;
const WAYS = ['plain', 'sealed'] as const;

/** MiB/s, by round. */
export interface SealedSamples {
  readonly ebs: { readonly inFlight: number; readonly way: string; readonly put: number[]; readonly get: number[] }[];
  readonly layer: { readonly way: string; readonly put: number[]; readonly get: number[]; readonly part: number[] }[];
}

const [rounds = '3'] = process.argv.slice(2);
Object.assign(process.env, S3_ENVIRONMENT);

const blocks = Array.from({ length: BLOCKS }, () => randomBytes(BLOCK));
const blockAt = (index: number): Buffer => blocks[index] ?? Buffer.alloc(0);
const sums = blocks.map((bytes) => createHash('sha256').update(bytes).digest('base64'));

async function ratesOf(count: number, bytes: number, inFlight: number, one: (index: number) => Promise<unknown>) {
  const beganMs = performance.now();
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) await one(index);
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return (count * bytes) / (1 << 20) / ((performance.now() - beganMs) / 1000);
}

interface Server {
  readonly child: ChildProcess;
  readonly client: EBSClient;
}

async function startServer(place: string, way: string): Promise<Server> {
  const child = fork(path.join(import.meta.dirname, 'ebs-server.ts'), [place, way], { env: process.env });
  const [told] = (await once(child, 'message')) as [
    { endpoint: string; credentials: { accessKeyId: string; secretAccessKey: string } },
  ];
  return { child, client: new EBSClient({ ...told, region: REGION }) };
}

async function throughEbs({ client }: Server, inFlight: number): Promise<{ put: number; get: number }> {
  const SnapshotId = await startSnapshot(client);
  const put = await ratesOf(BLOCKS, BLOCK, inFlight, async (index) => {
    const about = { DataLength: BLOCK, Checksum: sums[index], ChecksumAlgorithm: 'SHA256' as const };
    const block = { SnapshotId, BlockIndex: index, BlockData: blockAt(index), ...about };
    return await client.send(new PutSnapshotBlockCommand(block));
  });
  await client.send(new CompleteSnapshotCommand({ SnapshotId, ChangedBlocksCount: BLOCKS }));
  const tokens = await listBlocks(client, SnapshotId);
  const get = await ratesOf(BLOCKS, BLOCK, inFlight, async (index) => {
    const wanted = { SnapshotId, BlockIndex: index, BlockToken: tokens.get(index) };
    return await (await client.send(new GetSnapshotBlockCommand(wanted))).BlockData?.transformToByteArray();
  });
  return { put, get };
}

async function throughLayer(store: ObjectStore): Promise<{ put: number; get: number; part: number }> {
  const body = blocks.slice(0, SEGMENT / BLOCK);
  const put = await ratesOf(SEGMENTS, SEGMENT, 1, async (index) => store.put(`k/${String(index)}`, body));
  const get = await ratesOf(SEGMENTS, SEGMENT, 1, async (index) => store.get(`k/${String(index)}`));
  const part = await ratesOf(PARTS, PART, 1, async (index) => {
    const offset = ((index * 7_919) % (SEGMENT / 4096)) * 4096;
    const span = { offset: Math.min(offset, SEGMENT - PART), length: PART };
    return await store.get(`k/${String(index % SEGMENTS)}`, { span });
  });
  return { put, get, part };
}

const stores: Readonly<Record<(typeof WAYS)[number], ObjectStore>> = {
  plain: memoryStore(),
  sealed: (await openProvider()).objects,
};
await using gateway = await Radosgw.start();
const servers = {
  plain: await startServer(gateway.storeUrl('plain'), 'plain'),
  sealed: await startServer(gateway.storeUrl('sealed'), 'sealed'),
};
const samples: SealedSamples = {
  ebs: [1, 8].flatMap((inFlight) => WAYS.map((way) => ({ inFlight, way, put: [], get: [] }))),
  layer: WAYS.map((way) => ({ way, put: [], get: [], part: [] })),
};
// The first round is of who has just started.
for (let round = 0; round <= Number(rounds); round++) {
  for (const way of round % 2 === 0 ? WAYS : WAYS.toReversed()) {
    for (const one of samples.ebs.filter((of) => of.way === way)) {
      const { put, get } = await throughEbs(servers[way], one.inFlight);
      if (round === 0) continue;
      one.put.push(put);
      one.get.push(get);
    }
    const layer = samples.layer.find((of) => of.way === way);
    const { put, get, part } = await throughLayer(stores[way]);
    if (round === 0) continue;
    layer?.put.push(put);
    layer?.get.push(get);
    layer?.part.push(part);
  }
}
for (const { child, client } of Object.values(servers)) {
  client.destroy();
  child.disconnect();
}
process.stdout.write(JSON.stringify(samples));
