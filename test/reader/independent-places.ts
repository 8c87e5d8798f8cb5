/**
 * Where the objects of a store are, read as docs/formats/directory-store.md and s3-store.md say: a directory through the
 * file system alone, a bucket through the AWS SDK alone. Reads only.
 */
import { open, readdir, readFile, readlink } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { crc32 } from 'node:zlib';
import { GetObjectCommand, ListObjectsV2Command, NoSuchKey, S3Client } from '@aws-sdk/client-s3';
import { must } from './independent-formats.ts';
import type { GetObject } from './independent-reader.ts';

export interface StoredObjects {
  readonly get: GetObject;
  /** All keys, in byte order. */
  readonly keys: () => Promise<string[]>;
}

/** Objects as plain files, as the fixtures hold them. */
export function plainFiles(folder: string): StoredObjects {
  return {
    get: async (key) => await readFile(join(folder, key)).catch(absent),
    keys: async () => (await filesBelow(folder)).sort(),
  };
}

/** A directory store that nobody writes to meanwhile. */
export function directoryObjects(folder: string): StoredObjects {
  const get: GetObject = async (key) => {
    const newest = await newestFile(join(folder, key));
    return newest === undefined ? undefined : await bodyOf(newest);
  };
  return {
    get,
    keys: async () => {
      must(
        (await readFile(join(folder, '@layout'), 'latin1')) === 'sgw directory store 1\n',
        `${folder}: not a directory store`,
      );
      const names = (await filesBelow(folder)).filter((name) => /^[^@]+@1$/.test(name));
      const keys: string[] = [];
      for (const name of names) if ((await get(name.slice(0, -2))) !== undefined) keys.push(name.slice(0, -2));
      return keys.sort();
    },
  };
}

async function newestFile(path: string): Promise<string | undefined> {
  const first = await markerAt(`${path}@1`);
  if (first !== 'marker') return first === 'none' ? undefined : `${path}@1`;
  const second = await markerAt(`${path}@2`);
  must(second !== 'none', `${path}: generation 2 is missing`);
  if (second === 'file') return `${path}@2`;
  const numbers = (await readdir(`${path}@`)).filter((name) => /^[1-9]\d*$/.test(name)).map(Number);
  must(numbers.length > 0, `${path}: no generation is there`);
  return join(`${path}@`, String(Math.max(...numbers)));
}

async function markerAt(path: string): Promise<'none' | 'file' | 'marker'> {
  try {
    must(/^superseded-[0-9a-f]{24}$/.test(await readlink(path)), `${path}: not a marker`);
    return 'marker';
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return 'none';
    if (code === 'EINVAL') return 'file';
    throw error;
  }
}

/** Undefined for a deletion. */
async function bodyOf(path: string): Promise<Buffer | undefined> {
  const file = await open(path, 'r');
  try {
    const bytes = await file.readFile();
    const last = bytes.at(-1);
    if (bytes.length === 1 && last === 0x2d && !path.endsWith('@1')) return undefined;
    must(last === 0x0a, `${path}: does not end as it should`);
    return bytes.subarray(0, -1);
  } finally {
    await file.close();
  }
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() || entry.isSymbolicLink())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)));
}

/** `s3://BUCKET/PREFIX?endpoint=URL&region=REGION&path-style=true`, with the credentials of the environment. */
export function bucketObjects(place: string): StoredObjects & Disposable {
  const url = new URL(place);
  const prefix = url.pathname.slice(1) === '' ? '' : `${url.pathname.slice(1)}/`;
  const endpoint = url.searchParams.get('endpoint');
  const client = new S3Client({
    ...(endpoint === null ? {} : { endpoint }),
    region: url.searchParams.get('region') ?? 'us-east-1',
    forcePathStyle: url.searchParams.get('path-style') === 'true',
  });
  return {
    get: async (key) => {
      try {
        const object = await client.send(new GetObjectCommand({ Bucket: url.hostname, Key: prefix + key }));
        const bytes = Buffer.from((await object.Body?.transformToByteArray()) ?? []);
        const check = object.Metadata?.['sgw-crc32'];
        const found = crc32(bytes).toString(16).padStart(8, '0');
        must(check === undefined || check === found, `${key}: damaged on its way`);
        return bytes;
      } catch (error) {
        if (error instanceof NoSuchKey) return undefined;
        throw error;
      }
    },
    keys: async () => {
      const keys: string[] = [];
      for (let token: string | undefined, first = true; first || token !== undefined; first = false) {
        const page = await client.send(
          new ListObjectsV2Command({ Bucket: url.hostname, Prefix: prefix, ContinuationToken: token }),
        );
        for (const { Key = '' } of page.Contents ?? []) keys.push(Key.slice(prefix.length));
        token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
      }
      return keys;
    },
    [Symbol.dispose]: () => {
      client.destroy();
    },
  };
}

function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
  throw error;
}
