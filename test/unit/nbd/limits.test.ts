/** Clients that stall, flood, send rubbish or do not read hurt only themselves; servers end in order. */
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/core/blockdevice/index.ts';
import { MIB } from '../../../src/core/kit/index.ts';
import { waitFor } from '../sockets/byte-client.ts';
import { ControlledDevice } from './controlled-device.ts';
import { Scene, SIZE, type RawClient } from './scene.ts';
import { bytesOf, clientFlags, goData, option, request, simpleReply } from './wire-builder.ts';

const READ = 0;
const WRITE = 1;
const DISC = 2;
const FLUSH = 3;

/** Another client is served as ever. */
async function expectServed(scene: Scene): Promise<void> {
  const client = await scene.client();
  client.send(request({ type: READ, cookie: 9n, length: 512 }));
  await client.expect(simpleReply(0, 9n, Buffer.alloc(512)));
  client.socket.destroy();
}

/** Reads replies of `bytes` each. */
async function readAll(client: RawClient, count: number, bytes: number): Promise<void> {
  for (let i = 0; i < count; i++) expect((await client.take(16 + bytes)).readUInt32BE(4)).toBe(0);
}

describe('limits of an NBD server', () => {
  it('a client that stalls in negotiation is let go at the deadline', async () => {
    await using scene = await Scene.open({ limits: { negotiationMs: 150 } });
    const silent = await scene.connect();
    const halfway = await scene.connect();
    halfway.send(clientFlags(), option(8).subarray(0, 9));
    await expectServed(scene);
    expect(await silent.rest()).toHaveLength(0);
    await halfway.rest();
    await scene.settled();
    expect(scene.faults).toHaveLength(2);
  });

  it('the deadline is for negotiation only: a client that is idle stays', async () => {
    await using scene = await Scene.open({ limits: { negotiationMs: 100 } });
    const client = await scene.client();
    await delay(200);
    client.send(request({ type: FLUSH, cookie: 1n }));
    await client.expect(simpleReply(0, 1n));
  });

  it('more connections than the limit are closed, and those there are go on', async () => {
    await using scene = await Scene.open({ limits: { connectionsMax: 2 } });
    const first = await scene.client();
    const second = await scene.client();
    await expect(scene.connect()).rejects.toThrow(/closed/);
    first.socket.destroy();
    await waitFor('there is room', () => scene.server.connections().length === 1);
    await expectServed(scene);
    second.send(request({ type: FLUSH, cookie: 1n }));
    await second.expect(simpleReply(0, 1n));
  });

  it('no more requests are under way than the limit, and all are answered in the end', async () => {
    const device = new ControlledDevice(SIZE);
    device.holds.add('read');
    await using scene = await Scene.open({ device, limits: { requestsMax: 8 } });
    const client = await scene.client();
    const count = 100;
    client.send(...Array.from({ length: count }, (_, i) => request({ type: READ, cookie: BigInt(i), length: 16 })));
    await waitFor('eight are under way', () => device.calls.length === 8);
    await delay(50);
    expect(device.calls).toHaveLength(8);
    device.holds.clear();
    device.open();
    await readAll(client, count, 16);
  });

  it('the data of requests under way are bounded over all connections', async () => {
    const device = new ControlledDevice(SIZE);
    device.holds.add('write');
    await using scene = await Scene.open({ device, limits: { allBytesMax: 4 * 65_536 } });
    const clients = [await scene.client(), await scene.client(), await scene.client()];
    const data = Buffer.alloc(65_536, 1);
    for (const client of clients)
      client.send(...[1n, 2n, 3n, 4n].map((cookie) => request({ type: WRITE, cookie, data })));
    await waitFor('four are under way', () => device.calls.length === 4);
    await delay(50);
    expect(device.calls).toHaveLength(4);
    device.holds.clear();
    device.open();
    for (const client of clients) await readAll(client, 4, 0);
  });

  it('a client that does not read is held up, others are not, and then it gets everything', async () => {
    const device = new ControlledDevice(2 * MIB);
    await using scene = await Scene.open({ device, limits: { backlogBytesMax: 4 * MIB } });
    const client = await scene.client();
    client.socket.pause();
    const count = 64;
    client.send(...Array.from({ length: count }, (_, i) => request({ type: READ, cookie: BigInt(i), length: MIB })));
    await waitFor('it is held up', () => device.calls.length >= 4);
    await delay(100);
    // Four in memory, and what the kernel holds of the socket.
    expect(device.calls.length).toBeLessThan(10);
    await expectServed(scene);
    client.socket.resume();
    await readAll(client, count, MIB);
  });

  it('what clients do not read is bounded over all connections', async () => {
    const device = new ControlledDevice(2 * MIB);
    await using scene = await Scene.open({
      device,
      limits: { backlogBytesMax: 16 * MIB, allBacklogBytesMax: 16 * MIB },
    });
    const clients = [await scene.client(), await scene.client(), await scene.client(), await scene.client()];
    const count = 64;
    const reads = Array.from({ length: count }, (_, i) => request({ type: READ, cookie: BigInt(i), length: MIB }));
    for (const client of clients) {
      client.socket.pause();
      client.send(...reads);
    }
    await waitFor('they are held up', () => device.calls.length >= 16);
    await delay(200);
    // Sixteen in memory, one more for each of the others, and what the kernel holds of the sockets; not sixteen for each.
    expect(device.calls.length).toBeLessThan(50);
    for (const client of clients) client.socket.resume();
    for (const client of clients) await readAll(client, count, MIB);
  });

  it('a client that lists for ever without reading is let go', async () => {
    await using scene = await Scene.open({ limits: { optionsMax: 1e9, backlogBytesMax: 100_000 } });
    const client = await scene.connect();
    client.socket.pause();
    client.send(clientFlags());
    const lists = Buffer.concat(Array.from({ length: 1000 }, () => option(3)));
    for (let i = 0; i < 30; i++) client.send(lists);
    await waitFor('it is gone', () => scene.server.connections().length === 0);
    expect(scene.faults).toEqual(['replies to options are not read']);
    await expectServed(scene);
  });

  it('a flood behind DISC is not kept', async () => {
    const device = new ControlledDevice(SIZE);
    device.holds.add('read');
    await using scene = await Scene.open({ device });
    const client = await scene.client();
    client.send(request({ type: READ, cookie: 1n, length: 16 }), request({ type: DISC, cookie: 2n }));
    const before = process.memoryUsage().arrayBuffers;
    const junk = Buffer.alloc(MIB);
    for (let i = 0; i < 128; i++)
      if (!client.socket.write(junk)) await new Promise((resolve) => client.socket.once('drain', resolve));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * MIB);
    device.open();
    await client.expect(simpleReply(0, 1n, Buffer.alloc(16)));
    await client.rest();
    await scene.settled();
  });
});

describe('the end of connections', () => {
  it('a client that vanishes in mid-payload, or with requests under way, leaves nothing behind', async () => {
    const device = new ControlledDevice(SIZE);
    device.holds.add('write');
    await using scene = await Scene.open({ device });
    const cut = await scene.client();
    cut.send(request({ type: WRITE, cookie: 1n, length: 5000, data: Buffer.alloc(100) }));
    const busy = await scene.client();
    busy.send(request({ type: WRITE, cookie: 1n, data: Buffer.alloc(100) }));
    await waitFor('it is under way', () => device.calls.length === 1);
    cut.socket.destroy();
    busy.socket.destroy();
    await waitFor('the first is released', () => scene.exports.released === 1);
    expect(scene.exports.released).toBe(1);
    device.open();
    await scene.settled();
  });

  it.each([
    ['its client leaves', 'client'],
    ['the server closes', 'server'],
  ])('an export that is being opened as %s is released, once, before the end', async (_, who) => {
    let open = (): void => undefined;
    const opening = new Promise<void>((resolve) => {
      open = resolve;
    });
    await using scene = await Scene.open({ opening });
    const client = await scene.connect();
    client.send(bytesOf(clientFlags(), option(7, goData('mem'))));
    await waitFor('it is being opened', () => scene.exports.opened === 1);
    const closed = who === 'server' ? scene.server.close({ deadlineMs: 2000 }) : undefined;
    if (who === 'client') client.socket.destroy();
    else await client.rest();
    expect([scene.exports.released, scene.server.connections().length]).toEqual([0, 1]);
    open();
    await closed;
    if (who === 'server') expect(scene.exports.released).toBe(1);
    await scene.settled();
    expect(scene.exports.released).toBe(1);
  });

  it('what a vanished client waited for is told to stop', async () => {
    let signal: AbortSignal | undefined;
    class Stuck extends MemoryDevice {
      override async read(_offset: number, _target: Buffer, call?: { signal?: AbortSignal }): Promise<void> {
        signal = call?.signal;
        await new Promise((_resolve, reject) => {
          signal?.addEventListener('abort', () => {
            reject(new Error('stopped'));
          });
        });
      }
    }
    await using scene = await Scene.open({ device: new Stuck(SIZE) });
    const client = await scene.client();
    client.send(request({ type: READ, cookie: 1n, length: 16 }), request({ type: DISC, cookie: 2n }));
    await waitFor('it reads', () => signal !== undefined);
    expect(signal?.aborted).toBe(false);
    client.socket.destroy();
    await scene.settled();
    expect(signal?.aborted).toBe(true);
  });

  it('closing an export answers what is under way, and lets its clients go', async () => {
    const device = new ControlledDevice(SIZE);
    device.holds.add('write');
    await using scene = await Scene.open({ device });
    const client = await scene.client();
    const bystander = await scene.connect();
    client.send(request({ type: WRITE, cookie: 1n, data: Buffer.alloc(100, 1) }));
    await waitFor('it is under way', () => device.calls.length === 1);
    const closed = scene.server.closeExport('mem');
    device.open();
    await closed;
    expect(await client.rest()).toEqual(simpleReply(0, 1n));
    bystander.send(bytesOf(clientFlags(), option(7, goData('mem'))));
    expect(await bystander.skipOptionReplies()).toBe(1);
    expect(scene.faults).toEqual([]);
  });

  it('close waits for requests until its deadline, and no longer', async () => {
    const device = new ControlledDevice(SIZE);
    device.holds.add('flush');
    await using scene = await Scene.open({ device });
    const client = await scene.client();
    client.send(request({ type: FLUSH, cookie: 1n }));
    await waitFor('it is under way', () => device.calls.length === 1);
    await scene.server.close({ deadlineMs: 100 });
    expect(await client.rest()).toHaveLength(0);
    device.open();
    await scene.settled();
  });

  it('status tells who is connected', async () => {
    await using scene = await Scene.open();
    const client = await scene.client();
    await scene.connect();
    client.send(request({ type: READ, cookie: 1n, length: 100 }));
    await client.take(116);
    const [first, second] = scene.server.connections();
    expect(first).toMatchObject({ exportName: 'mem', remote: 'unix', isTls: false, requests: 1, sentBytes: 116 });
    expect(second).toMatchObject({ exportName: null, requests: 0 });
  });
});
