#!/usr/bin/env node
/**
 * Backs disk images of a folder up to a service of sgw, by what changed: `node backup.mjs backup FOLDER`; and brings one back:
 * `node backup.mjs restore FOLDER/disk.img TARGET`. An example of an appliance over `sgw/client`: see README.md.
 *
 * What it remembers is `FOLDER/.backup.json`: of each image its volume and its last snapshot, and the SHA-256 of each block then.
 * It is written after the snapshot, and lost or old it only costs that blocks are sent again.
 */
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { open, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { env, argv, exit, stderr, stdout } from 'node:process';
import { BLOCK_API_BYTES, BlockClient, SgwError } from 'sgw/client';

const AT_ONCE = 4;
const ZEROES = digestOf(Buffer.alloc(BLOCK_API_BYTES));

function digestOf(bytes) {
  return createHash('sha256').update(bytes).digest('base64url');
}

async function connect() {
  const { SGW_URL: url, SGW_CA: caFile, SGW_ACCESS_KEY_ID: accessKeyId, SGW_SECRET_ACCESS_KEY: secretAccessKey } = env;
  if (!url || !accessKeyId || !secretAccessKey)
    throw new Error('set SGW_URL, SGW_ACCESS_KEY_ID and SGW_SECRET_ACCESS_KEY; SGW_CA to the CA of the service');
  const ca = caFile ? await readFile(caFile, 'utf8') : undefined;
  return await BlockClient.connect({ url, ca, accessKey: { accessKeyId, secretAccessKey } });
}

/** Runs the work for all that come, a few at once. */
async function each(items, work) {
  const iterator = items[Symbol.asyncIterator]?.() ?? items[Symbol.iterator]();
  const worker = async () => {
    for (;;) {
      const next = await iterator.next();
      if (next.done) return;
      await work(next.value);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

/** A block of a file, with zeroes behind its end. */
async function readBlock(file, block) {
  const bytes = Buffer.alloc(BLOCK_API_BYTES);
  for (let done = 0; done < bytes.length;) {
    const { bytesRead } = await file.read(bytes, done, bytes.length - done, block * BLOCK_API_BYTES + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return bytes;
}

async function backUpImage(client, folder, name, before) {
  const file = await open(path.join(folder, name));
  try {
    const count = Math.max(1, Math.ceil((await file.stat()).size / BLOCK_API_BYTES));
    // An image of another size has another volume.
    const isKnown = before?.blocks.length === count;
    const { volumeId } = isKnown ? before : await client.createVolume({ name, sizeBytes: count * BLOCK_API_BYTES });
    const blocks = [];
    let sent = 0;
    await each(Array(count).keys(), async (block) => {
      const bytes = await readBlock(file, block);
      blocks[block] = digestOf(bytes);
      if (blocks[block] === (isKnown ? before.blocks[block] : ZEROES)) return;
      await client.putBlock(volumeId, block, bytes);
      sent += 1;
    });
    if (isKnown && sent === 0) return { ...before, sent };
    const { snapshotId } = await client.createSnapshot(volumeId, { description: `backup of ${name}` });
    return { volumeId, snapshotId, blocks, sizeBytes: (await file.stat()).size, sent };
  } finally {
    await file.close();
  }
}

async function readState(folder) {
  try {
    return JSON.parse(await readFile(path.join(folder, '.backup.json'), 'utf8'));
  } catch (error) {
    if (error.code === 'ENOENT') return {};
    throw error;
  }
}

async function writeState(folder, state) {
  const target = path.join(folder, '.backup.json');
  await writeFile(`${target}.new`, JSON.stringify(state));
  await rename(`${target}.new`, target);
}

async function backUp(client, folder) {
  const state = await readState(folder);
  const names = (await readdir(folder)).filter((name) => name.endsWith('.img')).sort();
  for (const name of names) {
    const { sent, ...now } = await backUpImage(client, folder, name, state[name]);
    state[name] = now;
    await writeState(folder, state);
    stdout.write(`${JSON.stringify({ name, volumeId: now.volumeId, snapshotId: now.snapshotId, blocksSent: sent })}\n`);
  }
}

/** Writes the last backup of an image into a file: of one that is an older backup of it, `since`, only what changed. */
async function restore(client, image, target, since) {
  const state = (await readState(path.dirname(image)))[path.basename(image)];
  if (state === undefined) throw new Error(`there is no backup of ${image}`);
  const { snapshotId, sizeBytes } = state;
  const file = await open(target, since === undefined ? 'w' : 'r+');
  try {
    await file.truncate(sizeBytes);
    const blocks = since === undefined ? client.snapshotBlocks(snapshotId) : client.changedBlocks(snapshotId, since);
    let read = 0;
    await each(blocks, async (block) => {
      const bytes = await client.getSnapshotBlock(snapshotId, block);
      const length = Math.min(bytes.length, sizeBytes - block * BLOCK_API_BYTES);
      await file.write(bytes, 0, length, block * BLOCK_API_BYTES);
      read += 1;
    });
    await file.sync();
    stdout.write(`${JSON.stringify({ snapshotId, blocksRead: read })}\n`);
  } finally {
    await file.close();
  }
}

async function main([verb, first, second, since]) {
  const isKnown = (verb === 'backup' && first) || (verb === 'restore' && first && second);
  if (!isKnown) throw new Error('usage: backup.mjs backup FOLDER | backup.mjs restore IMAGE TARGET [SINCE-SNAPSHOT]');
  const client = await connect();
  try {
    await (verb === 'backup' ? backUp(client, first) : restore(client, first, second, since));
  } finally {
    await client.close();
  }
}

try {
  await main(argv.slice(2));
} catch (error) {
  const hint = error instanceof SgwError && error.hint ? `\n${error.hint}` : '';
  stderr.write(`${error.message}${hint}\n`);
  exit(1);
}
