/**
 * What sgw is compared with over S3: the AWS SDK as it is, with objects of 8 MiB, eight at a time.
 * `node s3-peer.ts put|get ENDPOINT PREFIX FILE`, or `node s3-peer.ts ranges ENDPOINT PREFIX COUNT`, which reads so many ranges of
 * 64 KiB one after the other and prints what each took, in milliseconds, as JSON.
 */
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { open } from 'node:fs/promises';

const PART_BYTES = 8 * 1024 * 1024;
const UNDER_WAY = 8;
const RANGE_BYTES = 64 * 1024;
const Bucket = 'store';
const [what = '', endpoint = '', prefix = '', subject = ''] = process.argv.slice(2);
const client = new S3Client({
  endpoint,
  region: 'default',
  forcePathStyle: true,
  requestChecksumCalculation: 'WHEN_REQUIRED',
  responseChecksumValidation: 'WHEN_REQUIRED',
});

async function each(count: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) await work(index);
  };
  await Promise.all(Array.from({ length: UNDER_WAY }, lane));
}

const keyOf = (index: number): string => `${prefix}/${String(index).padStart(6, '0')}`;

async function get(Key: string, Range?: string): Promise<Uint8Array> {
  const { Body } = await client.send(new GetObjectCommand({ Bucket, Key, ...(Range === undefined ? {} : { Range }) }));
  if (Body === undefined) throw new Error(`${Key} is empty`);
  return await Body.transformToByteArray();
}

async function list(): Promise<{ readonly Key: string; readonly Size: number }[]> {
  const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket, Prefix: prefix }));
  return Contents.map(({ Key = '', Size = 0 }) => ({ Key, Size }));
}

if (what === 'put') {
  await using file = await open(subject, 'r');
  const { size } = await file.stat();
  await each(Math.ceil(size / PART_BYTES), async (index) => {
    const Body = Buffer.alloc(Math.min(PART_BYTES, size - index * PART_BYTES));
    await file.read(Body, 0, Body.length, index * PART_BYTES);
    await client.send(new PutObjectCommand({ Bucket, Key: keyOf(index), Body }));
  });
} else if (what === 'get') {
  const parts = await list();
  await using file = await open(subject, 'w');
  await each(parts.length, async (index) => {
    await file.write(await get(keyOf(index)), 0, undefined, index * PART_BYTES);
  });
  // As durable as an export.
  await file.sync();
} else {
  const parts = (await list()).filter(({ Size }) => Size > RANGE_BYTES);
  const tookMs: number[] = [];
  for (let i = 0; i < Number(subject); i++) {
    const { Key, Size } = parts[Math.floor(Math.random() * parts.length)] ?? { Key: '', Size: 0 };
    const start = Math.floor(Math.random() * (Size - RANGE_BYTES));
    const beganMs = performance.now();
    await get(Key, `bytes=${String(start)}-${String(start + RANGE_BYTES - 1)}`);
    tookMs.push(performance.now() - beganMs);
  }
  process.stdout.write(JSON.stringify(tookMs));
}
client.destroy();
