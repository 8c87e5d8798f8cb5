/** The end of sessions and servers, status, and what they hold. */
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { endpoint } from '../../../src/core/iscsi/connection.ts';
import type { Completion } from '../../../src/core/blockdevice/index.ts';
import { MIB } from '../../../src/core/kit/index.ts';
import { ControlledDevice } from '../nbd/controlled-device.ts';
import {
  asyncMessage,
  cdb,
  command,
  dataIn,
  dataOut,
  fixedSense,
  logout,
  logoutResponse,
  NO_DATA,
  nopOut,
  r2t,
  READ,
  scsiResponse,
  WRITE,
  WRITE_MORE,
} from './pdu-builder.ts';
import { heldBytes, INITIATOR, Scene, SIZE, TARGET, type Initiator } from './scene.ts';
import { waitFor } from '../sockets/byte-client.ts';

const read = (initiator: Initiator, itt: number, blocks = 1): Buffer =>
  command({ itt, cmdSn: initiator.cmdSn++, cdb: cdb.read(0, blocks), flags: READ, expected: blocks * 512 });

const write = (initiator: Initiator, itt: number, data: Buffer): Buffer =>
  command({
    itt,
    cmdSn: initiator.cmdSn++,
    cdb: cdb.write(0, data.length / 512),
    flags: WRITE,
    expected: data.length,
    data,
  });

/** Its size can not be told once a read that had to wait has ended. */
class BrokenDevice extends ControlledDevice {
  isBroken = false;

  override read(offset: number, target: Buffer): Completion {
    return super.read(offset, target)?.then(() => {
      this.isBroken = true;
    });
  }

  override get sizeBytes(): number {
    if (this.isBroken) throw new Error('no size');
    return super.sizeBytes;
  }
}

/** Reads responses to commands until each had one. */
async function takeAll(initiator: Initiator, count: number): Promise<void> {
  for (let seen = 0; seen < count;) {
    const { header } = await initiator.takeParts();
    if (header[0] === 0x21 || (header[0] === 0x25 && ((header[1] ?? 0) & 1) === 1)) {
      expect(header[3]).toBe(0);
      seen += 1;
    }
  }
}

describe('the end of a target', () => {
  it('initiators are asked to log out, and those that do are not waited for', async () => {
    await using scene = await Scene.open({ limits: { logoutMs: 10_000 } });
    const initiator = await scene.initiator();
    const closed = scene.server.closeTarget(TARGET, { deadlineMs: 20_000 });
    await initiator.expect(asyncMessage({ event: 1, parameters: [0, 2, 10], ...initiator.status() }));
    initiator.send(
      command({ itt: 1, cmdSn: initiator.cmdSn++, cdb: cdb.flush, flags: NO_DATA }),
      logout({ itt: 2, cmdSn: initiator.cmdSn }),
    );
    await initiator.expect(
      scsiResponse({ itt: 1, ...initiator.status() }),
      logoutResponse({ itt: 2, time2Wait: 2, ...initiator.status() }),
    );
    await initiator.rest();
    await closed;
    expect(scene.target).toMatchObject({ opened: 1, released: 1 });
  });

  it('those that do not are let go after what runs was answered', async () => {
    const device = new ControlledDevice(SIZE);
    device.holds.add('write');
    await using scene = await Scene.open({ device, limits: { logoutMs: 100 } });
    const initiator = await scene.initiator();
    initiator.send(write(initiator, 1, Buffer.alloc(512, 1)));
    await waitFor('it writes', () => device.calls.length === 1);
    const closed = scene.server.closeTarget(TARGET);
    await initiator.expect(asyncMessage({ event: 1, parameters: [0, 2, 1], ...initiator.status(1) }));
    await initiator.expect(asyncMessage({ event: 3, parameters: [0, 2, 0], ...initiator.status(1) }));
    await delay(50);
    device.open();
    await initiator.expect(scsiResponse({ itt: 1, ...initiator.status() }));
    await initiator.rest();
    await closed;
    expect(scene.faults).toEqual([]);
    // Who comes again finds a unit that was powered on.
    await scene.initiator();
  });

  it('nobody is admitted meanwhile', async () => {
    await using scene = await Scene.open({ limits: { logoutMs: 300 } });
    await scene.initiator();
    const closed = scene.server.closeTarget(TARGET);
    await expect(scene.initiator({ isid: '00023d000002' })).rejects.toThrow(/301/);
    await closed;
    await scene.initiator({ isid: '00023d000002' });
  });

  it('nobody is admitted whose login began before', async () => {
    const gate = Promise.withResolvers<undefined>();
    let opened = 0;
    const opening = async (): Promise<void> => {
      opened += 1;
      if (opened === 2) await gate.promise;
    };
    await using scene = await Scene.open({ opening, limits: { logoutMs: 300 } });
    await scene.initiator();
    const late = expect(scene.initiator({ isid: '00023d000002' })).rejects.toThrow(/301/);
    await waitFor('it is being opened', () => opened === 2);
    const closed = scene.server.closeTarget(TARGET);
    gate.resolve(undefined);
    await late;
    await closed;
    expect(scene.target).toMatchObject({ opened: 2, released: 2 });
  });

  it('a server closes at its deadline, and no later', async () => {
    const device = new ControlledDevice(SIZE);
    device.holds.add('flush');
    await using scene = await Scene.open({ device });
    const initiator = await scene.initiator();
    initiator.send(command({ itt: 1, cmdSn: initiator.cmdSn++, cdb: cdb.flush, flags: NO_DATA }));
    await waitFor('it flushes', () => device.calls.length === 1);
    const began = performance.now();
    await scene.server.close({ deadlineMs: 200 });
    expect(performance.now() - began).toBeLessThan(5000);
    await initiator.rest();
    await expect(scene.connect()).rejects.toThrow();
    device.open();
    await scene.settled();
  });

  it('an initiator that vanishes has its commands stopped, and its target released when they have ended', async () => {
    const device = new ControlledDevice(SIZE);
    device.holds.add('write');
    await using scene = await Scene.open({ device });
    const initiator = await scene.initiator();
    initiator.send(write(initiator, 1, Buffer.alloc(512, 1)));
    await waitFor('it writes', () => device.calls.length === 1);
    const cut = await scene.initiator({ isid: '00023d000002' });
    cut.socket.write(write(cut, 1, Buffer.alloc(1024)).subarray(0, 300));
    await cut.expectNothing();
    cut.socket.destroy();
    initiator.socket.destroy();
    await waitFor('the first is released', () => scene.target.released === 1);
    device.open();
    await scene.settled();
  });
});

describe('the unit of a target', () => {
  const register = (initiator: Initiator): Buffer => {
    const list = Buffer.alloc(24);
    list.write('key of 1', 8);
    const bytes = Buffer.from([0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0]);
    return command({ itt: 1, cmdSn: initiator.cmdSn++, cdb: bytes, flags: WRITE, expected: 24, data: list });
  };
  const keysOf = async (initiator: Initiator): Promise<number> => {
    const bytes = Buffer.from([0x5e, 0, 0, 0, 0, 0, 0, 0, 64, 0]);
    initiator.send(command({ itt: 2, cmdSn: initiator.cmdSn++, cdb: bytes, flags: READ, expected: 64 }));
    const { data } = await initiator.takeParts();
    initiator.statSn += 1;
    return data.readUInt32BE(4) / 8;
  };

  it('keeps registrations when sessions end, and is forgotten with its target', async () => {
    await using scene = await Scene.open({ limits: { logoutMs: 50 } });
    const first = await scene.initiator();
    first.send(register(first));
    await first.expect(scsiResponse({ itt: 1, ...first.status() }));
    expect(await keysOf(first)).toBe(1);
    first.socket.destroy();
    await scene.settled();
    const second = await scene.initiator({ isid: '00023d000002' });
    expect(await keysOf(second)).toBe(1);
    await scene.server.closeTarget(TARGET);
    expect(await keysOf(await scene.initiator())).toBe(0);
  });
});

describe('endpoints', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1:3260'],
    ['::ffff:192.0.2.1', '192.0.2.1:3260'],
    ['2001:db8::1', '[2001:db8::1]:3260'],
    [undefined, 'unix'],
  ])('%s', (address, shown) => {
    expect(endpoint(address, 3260)).toBe(shown);
  });
});

describe('status', () => {
  it('tells who is connected', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator({ keys: ['HeaderDigest=CRC32C', 'InitiatorAlias=host 1'] });
    initiator.send(read(initiator, 1));
    await initiator.takeParts();
    await scene.initiator({ isDiscovery: true });
    const [first, second] = scene.server.sessions();
    expect(first).toMatchObject({
      initiator: INITIATOR,
      initiatorAlias: 'host 1',
      isid: '00023d000001',
      target: TARGET,
      user: null,
      commands: 2,
      connections: [
        {
          cid: 1,
          remote: `127.0.0.1:${String(initiator.socket.localPort)}`,
          portal: `127.0.0.1:${String(scene.port)}`,
          headerDigest: true,
          dataDigest: false,
        },
      ],
    });
    expect(first?.connections[0]?.sentBytes).toBeGreaterThan(512);
    expect(first?.connections[0]?.receivedBytes).toBeGreaterThan(0);
    expect(second).toMatchObject({ target: null, commands: 0 });
  });
});

describe('what a server holds', () => {
  it('commands wait for memory, and all are answered in the end', async () => {
    const device = new ControlledDevice(4 * MIB);
    device.holds.add('read');
    await using scene = await Scene.open({ device, limits: { bytesMax: 4 * 65_536 } });
    const initiator = await scene.initiator({ keys: ['MaxRecvDataSegmentLength=262144'] });
    for (let i = 0; i < 16; i++) initiator.send(read(initiator, i, 128));
    await waitFor('four are under way', () => device.calls.length === 4);
    // Pings are answered meanwhile.
    await initiator.expectQuiet();
    expect(device.calls).toHaveLength(4);
    device.holds.clear();
    device.open();
    await takeAll(initiator, 16);
  });

  it('what waits with unasked data is bounded over all sessions; more is refused, to be sent again', async () => {
    const device = new ControlledDevice(SIZE);
    device.holds.add('read');
    await using scene = await Scene.open({ device, limits: { bytesMax: 512, allHeldBytesMax: 65_536 } });
    const keys = ['ImmediateData=Yes', 'InitialR2T=No', 'FirstBurstLength=65536'];
    const initiator = await scene.initiator({ keys });
    const data = Buffer.alloc(65_536, 7);
    initiator.send(read(initiator, 1), write(initiator, 2, data), write(initiator, 3, data), read(initiator, 4));
    // Its data come behind it.
    const begin = { itt: 5, cmdSn: initiator.cmdSn++, cdb: cdb.write(256, 16), flags: WRITE_MORE, expected: 8192 };
    initiator.send(command(begin), dataOut({ itt: 5, offset: 0, data: data.subarray(0, 8192) }));
    await initiator.expectQuiet();
    device.holds.clear();
    device.open();
    const ends = new Map<number, number>();
    while (ends.size < 5) {
      const { header } = await initiator.takeParts();
      ends.set(header.readUInt32BE(16), header.readUInt8(3));
    }
    expect([...ends].sort(([a], [b]) => a - b)).toEqual([
      [1, 0],
      [2, 0],
      [3, 0x28],
      [4, 0],
      [5, 0x28],
    ]);
    expect(device.bytes.subarray(0, 65_536).every((byte) => byte === 7)).toBe(true);
    expect(device.bytes.subarray(256 * 512, 256 * 512 + 8192).every((byte) => byte === 0)).toBe(true);
    initiator.send(write(initiator, 6, data.subarray(0, 8192)));
    await takeAll(initiator, 1);
  });

  it('a command that came before its turn and then waits is kept once', async () => {
    const device = new ControlledDevice(SIZE);
    device.holds.add('read');
    await using scene = await Scene.open({ device, limits: { bytesMax: 512, allHeldBytesMax: 4096 } });
    const initiator = await scene.initiator();
    const pdus = [read(initiator, 1), read(initiator, 2), write(initiator, 3, Buffer.alloc(4096, 9))];
    initiator.send(...pdus.reverse());
    await initiator.expectQuiet();
    device.holds.clear();
    device.open();
    await takeAll(initiator, 3);
    expect(device.bytes.subarray(0, 4096).every((byte) => byte === 9)).toBe(true);
  });

  it('a command that waited and then can not be begun fails alone', async () => {
    const device = new BrokenDevice(SIZE);
    device.holds.add('read');
    await using scene = await Scene.open({ device, limits: { bytesMax: 512 } });
    const initiator = await scene.initiator();
    initiator.send(read(initiator, 1), read(initiator, 2));
    await initiator.expectQuiet();
    device.open();
    await initiator.expect(
      dataIn({ itt: 1, status: 0, data: Buffer.alloc(512), ...initiator.status(1) }),
      scsiResponse({ itt: 2, status: 2, sense: fixedSense(4, 0x4400), residual: -512, ...initiator.status() }),
    );
    device.isBroken = false;
    device.holds.clear();
    initiator.send(read(initiator, 3));
    await takeAll(initiator, 1);
  });

  it('memory that commands take for themselves is counted', async () => {
    const device = new ControlledDevice(16 * MIB);
    device.holds.add('read');
    await using scene = await Scene.open({ device, limits: { bytesMax: 8 * MIB } });
    const initiator = await scene.initiator();
    // EXTENDED COPY of 4 MiB, by way of as much memory.
    const cscd = `e4000000010300 10 ${'60'.repeat(16)} 00000000 00 000200`;
    const segment = `02000018 0000 0000 0000 2000 ${'0'.repeat(16)} 0000000000004000`;
    const list = Buffer.from(`01000020 00000000 0000001c 00000000 ${cscd} ${segment}`.replaceAll(' ', ''), 'hex');
    const bytes = Buffer.from(
      `83000000000000000000 ${list.length.toString(16).padStart(8, '0')} 0000`.replace(/ /gu, ''),
      'hex',
    );
    for (let i = 0; i < 8; i++) {
      list[0] = i;
      const expected = list.length;
      const data = Buffer.from(list);
      initiator.send(command({ itt: i, cmdSn: initiator.cmdSn++, cdb: bytes, flags: WRITE, expected, data }));
    }
    await waitFor('some are under way', () => device.calls.length >= 2);
    await delay(50);
    expect(device.calls).toHaveLength(2);
    device.holds.clear();
    device.open();
    await takeAll(initiator, 8);
  });

  it('data of commands under way are bounded over all sessions, and the window shrinks', async () => {
    const device = new ControlledDevice(4 * MIB);
    device.holds.add('read');
    await using scene = await Scene.open({ device, limits: { allBytesMax: 4 * 65_536, scarceCommandsMax: 2 } });
    const keys = ['MaxRecvDataSegmentLength=262144'];
    const initiators = [await scene.initiator({ keys }), await scene.initiator({ keys, isid: '00023d000002' })];
    for (const initiator of initiators) for (let i = 0; i < 4; i++) initiator.send(read(initiator, i, 128));
    await waitFor('four are under way', () => device.calls.length === 4);
    await delay(50);
    expect(device.calls).toHaveLength(4);
    const third = await scene.connect();
    await third.login({ isid: '00023d000003' });
    // What has no data is answered; MaxCmdSN stays where the login had it.
    third.send(command({ itt: 1, cmdSn: third.cmdSn++, cdb: cdb.testUnitReady, flags: NO_DATA }));
    const { header } = await third.takeParts();
    expect([header.readUInt32BE(28), header.readUInt32BE(32)]).toEqual([101, 227]);
    for (let i = 0; i < 20; i++) third.send(read(third, i));
    await third.expectNothing();
    device.holds.clear();
    device.open();
    for (const initiator of initiators) await takeAll(initiator, 4);
    await takeAll(third, 20);
  });

  it('a write that waits for memory keeps its unasked data, and asks for the rest when there is room', async () => {
    const device = new ControlledDevice(SIZE);
    device.holds.add('read');
    await using scene = await Scene.open({ device, limits: { bytesMax: 512 } });
    const initiator = await scene.initiator();
    const data = Buffer.alloc(1024, 5);
    initiator.send(
      read(initiator, 1),
      command({
        itt: 2,
        cmdSn: initiator.cmdSn++,
        cdb: cdb.write(4, 2),
        flags: 0x21,
        expected: 1024,
        data: data.subarray(0, 100),
      }),
      dataOut({ itt: 2, offset: 100, data: data.subarray(100, 300) }),
    );
    await initiator.expectNothing();
    device.open();
    await initiator.expect(
      dataIn({ itt: 1, status: 0, data: Buffer.alloc(512), ...initiator.status(1) }),
      r2t({ itt: 2, ttt: 1, offset: 300, length: 724, ...initiator.numbers(1) }),
    );
    initiator.send(dataOut({ itt: 2, ttt: 1, offset: 300, data: data.subarray(300) }));
    await initiator.expect(scsiResponse({ itt: 2, expDataSn: 1, ...initiator.status() }));
    expect(device.bytes.subarray(2048, 3072)).toEqual(data);
  });

  it('a write that begins in the middle of a PDU with its data has all of them', async () => {
    const device = new ControlledDevice(SIZE);
    device.holds.add('read');
    await using scene = await Scene.open({ device, limits: { bytesMax: 512 } });
    const initiator = await scene.initiator({ keys: ['InitialR2T=No', 'FirstBurstLength=1024'] });
    const data = Buffer.from(Array.from({ length: 4096 }, (_, i) => i & 0xff));
    const flags = 0x21;
    const write = command({ itt: 2, cmdSn: initiator.cmdSn + 1, cdb: cdb.write(8, 8), flags, expected: 4096 });
    const pdu = dataOut({ itt: 2, offset: 0, data: data.subarray(0, 1024) });
    initiator.send(read(initiator, 1), write, pdu.subarray(0, 500));
    initiator.cmdSn += 1;
    await initiator.expectNothing();
    device.open();
    await initiator.expect(dataIn({ itt: 1, status: 0, data: Buffer.alloc(512), ...initiator.status(1) }));
    initiator.send(pdu.subarray(500));
    await initiator.expect(r2t({ itt: 2, ttt: 1, offset: 1024, length: 3072, ...initiator.numbers(1) }));
    initiator.send(dataOut({ itt: 2, ttt: 1, offset: 1024, data: data.subarray(1024) }));
    await initiator.expect(scsiResponse({ itt: 2, expDataSn: 1, ...initiator.status() }));
    expect(device.bytes.subarray(4096, 8192)).toEqual(data);
  });

  it('an initiator that does not read is held up, others are not, and then it gets everything', async () => {
    const device = new ControlledDevice(2 * MIB);
    await using scene = await Scene.open({ device, limits: { backlogBytesMax: 4 * MIB } });
    const initiator = await scene.initiator({ keys: ['MaxRecvDataSegmentLength=262144'] });
    initiator.socket.pause();
    for (let i = 0; i < 64; i++) initiator.send(read(initiator, i, 2048));
    await waitFor('it is held up', () => device.calls.length >= 4);
    await delay(100);
    expect(device.calls.length).toBeLessThan(16);
    const other = await scene.initiator({ isid: '00023d000002' });
    other.send(read(other, 1));
    await takeAll(other, 1);
    initiator.socket.resume();
    await takeAll(initiator, 64);
  });

  it('responses that nobody reads are bounded over all connections', async () => {
    const device = new ControlledDevice(2 * MIB);
    const limits = { backlogBytesMax: 8 * MIB, allBacklogBytesMax: 8 * MIB, scarceBytesMax: 262_144 };
    await using scene = await Scene.open({ device, limits });
    const before = heldBytes();
    const initiators: Initiator[] = [];
    for (let i = 0; i < 12; i++) {
      const keys = ['MaxRecvDataSegmentLength=262144'];
      const initiator = await scene.initiator({ keys, isid: `00023d0001${String(10 + i)}` });
      initiators.push(initiator);
      initiator.socket.pause();
      for (let itt = 0; itt < 64; itt++) initiator.send(read(initiator, itt, 1024));
    }
    await delay(500);
    // 12 times 8 MiB without that.
    expect(heldBytes() - before).toBeLessThan(48 * MIB);
    const other = await scene.initiator({ isid: '00023d000002' });
    other.send(read(other, 1));
    await takeAll(other, 1);
    for (const { socket } of initiators.slice(6)) socket.destroy();
    for (const initiator of initiators.slice(0, 6)) {
      initiator.socket.resume();
      await takeAll(initiator, 64);
    }
  });

  it('a flood of pings that are not read does not fill memory', async () => {
    await using scene = await Scene.open({ limits: { backlogBytesMax: MIB } });
    const initiator = await scene.initiator();
    initiator.socket.pause();
    const before = process.memoryUsage().arrayBuffers;
    const flood = Buffer.concat(
      Array.from({ length: 100 }, () => nopOut({ itt: 1, cmdSn: initiator.cmdSn, data: Buffer.alloc(8192) })),
    );
    for (let i = 0; i < 100; i++) initiator.socket.write(flood);
    await delay(300);
    expect(initiator.socket.writableLength).toBeGreaterThan(32 * MIB);
    // What waits in the initiator's own socket is not counted.
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * MIB);
    await scene.initiator({ isid: '00023d000002' });
  });
});
