/** What clients that follow a volume ask a server for, byte by byte. */
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { waitFor } from '../sockets/byte-client.ts';
import { ControlledDevice } from './controlled-device.ts';
import { Scene, type RawClient } from './scene.ts';
import {
  bytesOf,
  clientFlags,
  goData,
  metaData,
  option,
  optionReply,
  request,
  simpleReply,
  statusChunk,
} from './wire-builder.ts';

const ID = '0123456789abcdef'.repeat(2);
const WRITER = { volume: 'vol-0123', epoch: 7 };

/** One that has said that it is client ID, and has the answer to that still to come. */
async function claiming(scene: Scene, id = ID): Promise<RawClient> {
  const client = await scene.connect();
  client.send(clientFlags(), option(8));
  await client.expect(optionReply(8, 1));
  client.send(option(10, metaData('mem', ['base:allocation', `sgw:client:${id}`])));
  await client.expect(optionReply(10, 4, bytesOf([32, 1], 'base:allocation')));
  return client;
}

async function opened(client: RawClient, id = ID): Promise<RawClient> {
  await client.expect(bytesOf(optionReply(10, 4, bytesOf([32, 0], `sgw:client:${id}`)), optionReply(10, 1)));
  client.send(option(7, goData('mem')));
  expect(await client.skipOptionReplies()).toBe(1);
  return client;
}

describe('who follows a volume', () => {
  it('is told of the writer when it asks by name, and nobody else is', async () => {
    await using scene = await Scene.open({ writer: WRITER });
    const client = await scene.connect();
    client.send(clientFlags(), option(8), option(9, metaData('mem', ['sgw:writer'])), option(9, metaData('mem', [])));
    await client.expect(
      bytesOf(
        optionReply(8, 1),
        optionReply(9, 4, bytesOf([32, 0], 'sgw:writer:vol-0123:7')),
        optionReply(9, 1),
        optionReply(9, 4, bytesOf([32, 0], 'base:allocation')),
        optionReply(9, 1),
      ),
    );
  });

  it('is told of none where nothing is written', async () => {
    await using scene = await Scene.open();
    const client = await scene.connect();
    client.send(clientFlags(), option(8), option(9, metaData('mem', ['sgw:writer', 'sgw:client:' + ID])));
    await client.expect(bytesOf(optionReply(8, 1), optionReply(9, 1)));
  });

  it('gets block status of the other contexts alone', async () => {
    await using scene = await Scene.open({ writer: WRITER });
    const client = await opened(await claiming(scene));
    client.send(request({ type: 7, cookie: 3n, length: 4096 }));
    await client.expect(statusChunk(3n, 1, [[4096, 3]]));
  });

  it('has its connection of before ended, and is answered when nothing of that is under way any more', async () => {
    const device = new ControlledDevice(1 << 20);
    await using scene = await Scene.open({ device });
    const before = await opened(await claiming(scene));
    device.holds.add('write');
    before.send(request({ type: 1, cookie: 1n, data: Buffer.alloc(512, 1) }));
    await waitFor('it is under way', () => device.calls.length === 1);
    const after = await claiming(scene);
    await delay(100);
    expect(after.receivedLength).toBe(0);
    device.open();
    await opened(after);
    expect(await before.rest()).toEqual(Buffer.alloc(0));
    device.holds.clear();
    after.send(request({ type: 1, cookie: 2n, data: Buffer.alloc(512, 2) }));
    await after.expect(simpleReply(0, 2n));
    expect(device.bytes[0]).toBe(2);
  });

  it('with another name leaves others alone', async () => {
    await using scene = await Scene.open();
    const first = await opened(await claiming(scene));
    const other = 'f'.repeat(32);
    const second = await opened(await claiming(scene, other), other);
    for (const client of [first, second]) {
      client.send(request({ type: 3, cookie: 9n }));
      await client.expect(simpleReply(0, 9n));
    }
  });

  it.each(['', 'short', 'G'.repeat(32), '0'.repeat(33)])('a name that is none is no context: "%s"', async (id) => {
    await using scene = await Scene.open();
    const client = await scene.connect();
    client.send(clientFlags(), option(8), option(10, metaData('mem', [`sgw:client:${id}`])));
    await client.expect(bytesOf(optionReply(8, 1), optionReply(10, 1)));
  });
});
