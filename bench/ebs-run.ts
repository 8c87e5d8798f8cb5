/**
 * Blocks of 512 KiB through the EBS direct API over a RADOS gateway, against plain PUTs and GETs of the same size to the same
 * gateway, each by AWS's SDK: `node ebs-run.ts ROUNDS`. Prints the samples as JSON.
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
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { Radosgw, S3_ENVIRONMENT } from '../test/support/radosgw.ts';
import { BLOCK, listBlocks, REGION, startSnapshot } from '../test/unit/service/ebs/ebs-rig.ts';

const BLOCKS = 192;
const IN_FLIGHT = [1, 8];

/** Seconds for all blocks, by round. */
export interface EbsSamples {
  readonly inFlight: number;
  readonly putBlock: number[];
  readonly s3Put: number[];
  readonly getBlock: number[];
  readonly s3Get: number[];
}

const [roundsAsked = '3'] = process.argv.slice(2);
Object.assign(process.env, S3_ENVIRONMENT);

/** Content that does not compress, so that both send as much. */
const blocks = Array.from({ length: BLOCKS }, () => randomBytes(BLOCK));
const blockAt = (index: number): Buffer => blocks[index] ?? Buffer.alloc(0);
const sums = blocks.map((bytes) => createHash('sha256').update(bytes).digest('base64'));

async function secondsOf(inFlight: number, one: (index: number) => Promise<unknown>): Promise<number> {
  const beganMs = performance.now();
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < BLOCKS; index = next++) await one(index);
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return (performance.now() - beganMs) / 1000;
}

interface Server {
  readonly child: ChildProcess;
  readonly client: EBSClient;
}

async function startServer(place: string): Promise<Server> {
  const child = fork(path.join(import.meta.dirname, 'ebs-server.ts'), [place], { env: process.env });
  const [told] = (await once(child, 'message')) as [
    { endpoint: string; credentials: { accessKeyId: string; secretAccessKey: string } },
  ];
  return { child, client: new EBSClient({ ...told, region: REGION }) };
}

let rounds = 0;

async function round(server: Server, s3: S3Client, bucket: string, samples: EbsSamples): Promise<void> {
  const { inFlight } = samples;
  // New objects in each round, as the blocks are: replacing one is more work for the gateway.
  const folder = `plain/${String(rounds++)}`;
  const { client } = server;
  const put = async (): Promise<string> => {
    const snapshotId = await startSnapshot(client);
    const seconds = await secondsOf(inFlight, async (index) => {
      const block = {
        BlockData: blockAt(index),
        DataLength: BLOCK,
        Checksum: sums[index],
        ChecksumAlgorithm: 'SHA256' as const,
      };
      return await client.send(new PutSnapshotBlockCommand({ SnapshotId: snapshotId, BlockIndex: index, ...block }));
    });
    samples.putBlock.push(seconds);
    await client.send(new CompleteSnapshotCommand({ SnapshotId: snapshotId, ChangedBlocksCount: BLOCKS }));
    return snapshotId;
  };
  const plainPut = async (): Promise<void> => {
    const seconds = await secondsOf(inFlight, async (index) =>
      s3.send(new PutObjectCommand({ Bucket: bucket, Key: `${folder}/${String(index)}`, Body: blockAt(index) })),
    );
    samples.s3Put.push(seconds);
  };
  const isOdd = samples.putBlock.length % 2 === 1;
  if (isOdd) await plainPut();
  const snapshotId = await put();
  if (!isOdd) await plainPut();
  const tokens = await listBlocks(client, snapshotId);
  const get = async (): Promise<void> => {
    const seconds = await secondsOf(inFlight, async (index) => {
      const wanted = { SnapshotId: snapshotId, BlockIndex: index, BlockToken: tokens.get(index) };
      const { BlockData } = await client.send(new GetSnapshotBlockCommand(wanted));
      return await BlockData?.transformToByteArray();
    });
    samples.getBlock.push(seconds);
  };
  const plainGet = async (): Promise<void> => {
    const seconds = await secondsOf(inFlight, async (index) => {
      const { Body } = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: `${folder}/${String(index)}` }));
      return await Body?.transformToByteArray();
    });
    samples.s3Get.push(seconds);
  };
  if (isOdd) await plainGet();
  await get();
  if (!isOdd) await plainGet();
}

await using gateway = await Radosgw.start();
const server = await startServer(gateway.storeUrl('ebs'));
const { endpoint } = gateway;
const bucket = 'store';
const s3 = new S3Client({
  ...{
    endpoint,
    region: 'default',
    forcePathStyle: true,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  },
  credentials: { accessKeyId: S3_ENVIRONMENT.AWS_ACCESS_KEY_ID, secretAccessKey: S3_ENVIRONMENT.AWS_SECRET_ACCESS_KEY },
});
const all: EbsSamples[] = [];
for (const inFlight of IN_FLIGHT) {
  const samples: EbsSamples = { inFlight, putBlock: [], s3Put: [], getBlock: [], s3Get: [] };
  // The first of all is of who has just started.
  const warmUp: EbsSamples = { inFlight, putBlock: [], s3Put: [], getBlock: [], s3Get: [] };
  await round(server, s3, bucket, warmUp);
  for (let i = 0; i < Number(roundsAsked); i++) await round(server, s3, bucket, samples);
  all.push(samples);
}
server.client.destroy();
s3.destroy();
server.child.disconnect();
process.stdout.write(JSON.stringify(all));
