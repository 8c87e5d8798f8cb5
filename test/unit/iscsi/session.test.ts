/** Sessions: the order of commands, several connections, reinstatement, logout. */
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ControlledDevice } from '../nbd/controlled-device.ts';
import { loginHeader, readResponse, text } from './login-builder.ts';
import {
  cdb,
  command,
  dataIn,
  dataOut,
  logout,
  logoutResponse,
  nopIn,
  nopOut,
  NO_DATA,
  READ,
  reject,
  scsiResponse,
  taskRequest,
  taskResponse,
  WRITE,
  WRITE_MORE,
  r2t,
} from './pdu-builder.ts';
import { EAGER, INITIATOR, Scene, SIZE, TARGET, type Initiator } from './scene.ts';
import { waitFor } from '../sockets/byte-client.ts';

const ready = (itt: number, cmdSn: number, isImmediate = false): Buffer =>
  command({ itt, cmdSn, cdb: cdb.testUnitReady, flags: NO_DATA, isImmediate });

const SEVERAL = [...EAGER, 'MaxConnections=4'];

/** A second connection of a session. */
async function join(scene: Scene, first: Initiator, cid = 2): Promise<Initiator> {
  const second = await scene.initiator({ keys: [], tsih: first.tsih, cid });
  second.cmdSn = first.cmdSn;
  return second;
}

describe('the order of commands', () => {
  it.each([
    ['below the window', -1],
    ['far below the window', -0x7000_0000],
    ['beyond the window', 128],
    ['far beyond the window', 0x7000_0000],
  ])('a command %s is ignored', async (_, distance) => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator();
    initiator.send(ready(5, initiator.cmdSn + distance));
    await initiator.expectQuiet();
    initiator.send(ready(6, initiator.cmdSn++));
    await initiator.expect(scsiResponse({ itt: 6, ...initiator.status() }));
  });

  it('commands before their turn wait, with their data; a second one of a number is ignored', async () => {
    const device = new ControlledDevice(SIZE);
    await using scene = await Scene.open({ device });
    const initiator = await scene.initiator();
    const first = initiator.cmdSn;
    const data = Buffer.alloc(1024, 7);
    initiator.send(
      ready(3, first + 2),
      command({
        itt: 2,
        cmdSn: first + 1,
        cdb: cdb.write(0, 2),
        flags: WRITE_MORE,
        expected: 1024,
        data: data.subarray(0, 512),
      }),
      dataOut({ itt: 2, offset: 512, data: data.subarray(512) }),
      ready(4, first + 1),
      ready(5, first + 2),
    );
    await initiator.expect();
    expect(device.calls).toEqual([]);
    initiator.send(ready(1, first));
    initiator.cmdSn += 1;
    // MaxCmdSN does not go back from what it was.
    await initiator.expect(scsiResponse({ itt: 1, ...initiator.status(1) }));
    initiator.cmdSn += 1;
    await initiator.expect(scsiResponse({ itt: 2, ...initiator.status(1) }));
    initiator.cmdSn += 1;
    await initiator.expect(scsiResponse({ itt: 3, ...initiator.status() }));
    expect(device.bytes.subarray(0, 1024)).toEqual(data);
  });

  it('numbers wrap', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.connect();
    await initiator.login({ cmdSn: 0xffff_fffe });
    await initiator.takeAttention();
    initiator.send(ready(1, 0xffff_ffff));
    initiator.cmdSn = 0;
    await initiator.expect(scsiResponse({ itt: 1, ...initiator.status() }));
    initiator.send(ready(2, 0), ready(3, 0xffff_ffff));
    initiator.cmdSn = 1;
    await initiator.expect(scsiResponse({ itt: 2, ...initiator.status() }));
    await initiator.expectQuiet();
  });

  it('the window closes as commands are under way, and opens as they end', async () => {
    const device = new ControlledDevice(SIZE);
    device.holds.add('read');
    await using scene = await Scene.open({ device, limits: { commandsMax: 4 } });
    const initiator = await scene.initiator();
    const first = initiator.cmdSn;
    const read = (i: number): Buffer =>
      command({ itt: i, cmdSn: first + i, cdb: cdb.read(i, 1), flags: READ, expected: 512 });
    initiator.send(read(0), read(1), read(2), read(3), read(4));
    await waitFor('four are under way', () => device.calls.length === 4);
    initiator.send(nopOut({ itt: 9, cmdSn: first + 4 }));
    const closed = { statSn: initiator.statSn++, expCmdSn: first + 4, maxCmdSn: first + 3 };
    await initiator.expect(nopIn({ itt: 9, ...closed }));
    expect(device.calls).toHaveLength(4);
    device.open();
    for (let i = 0; i < 4; i++) {
      const opened = { statSn: initiator.statSn++, expCmdSn: first + 4, maxCmdSn: first + 4 + i };
      await initiator.expect(dataIn({ itt: i, status: 0, data: Buffer.alloc(512), ...opened }));
    }
    device.holds.clear();
    initiator.send(read(4));
    const opened = { statSn: initiator.statSn++, expCmdSn: first + 5, maxCmdSn: first + 8 };
    await initiator.expect(dataIn({ itt: 4, status: 0, data: Buffer.alloc(512), ...opened }));
  });

  it('immediate commands run at once, and use up no number', async () => {
    const device = new ControlledDevice(SIZE);
    device.holds.add('read');
    await using scene = await Scene.open({ device });
    const initiator = await scene.initiator();
    initiator.send(ready(3, initiator.cmdSn + 1));
    initiator.send(ready(4, initiator.cmdSn, true), ready(5, initiator.cmdSn + 1000, true));
    await initiator.expect(
      scsiResponse({ itt: 4, ...initiator.status(0) }),
      scsiResponse({ itt: 5, ...initiator.status() }),
    );
  });

  it('of immediate commands a bounded number is taken', async () => {
    const device = new ControlledDevice(SIZE);
    device.holds.add('read');
    await using scene = await Scene.open({ device, limits: { immediateMax: 2 } });
    const initiator = await scene.initiator();
    const read = (itt: number): Buffer =>
      command({ itt, cmdSn: initiator.cmdSn, cdb: cdb.read(0, 1), flags: READ, expected: 512, isImmediate: true });
    initiator.send(read(1), read(2), read(3));
    await initiator.expect(reject({ reason: 6, rejected: read(3), ...initiator.status(0) }));
    device.open();
    await initiator.expect(dataIn({ itt: 1, status: 0, data: Buffer.alloc(512), ...initiator.status() }));
  });
});

describe('several connections', () => {
  it('commands of all connections run in one order, each answered on its own', async () => {
    await using scene = await Scene.open();
    const first = await scene.initiator({ keys: SEVERAL });
    const second = await join(scene, first);
    const next = first.cmdSn;
    second.send(ready(12, next + 1));
    await second.expectQuiet();
    first.send(ready(11, next));
    first.cmdSn = next + 1;
    await first.expect(scsiResponse({ itt: 11, ...first.status(1) }));
    second.cmdSn = next + 2;
    await second.expect(scsiResponse({ itt: 12, ...second.status() }));
    expect(scene.server.sessions()).toMatchObject([{ connections: [{ cid: 1 }, { cid: 2 }] }]);
  });

  it('more than agreed are refused', async () => {
    await using scene = await Scene.open();
    const first = await scene.initiator({ keys: [...EAGER, 'MaxConnections=2'] });
    await join(scene, first);
    await expect(join(scene, first, 3)).rejects.toThrow(/206/);
  });

  it('data of a command come on its own connection only', async () => {
    const device = new ControlledDevice(SIZE);
    await using scene = await Scene.open({ device });
    const first = await scene.initiator({ keys: ['InitialR2T=Yes', 'ImmediateData=No', 'MaxConnections=2'] });
    const second = await join(scene, first);
    first.send(command({ itt: 7, cmdSn: first.cmdSn++, cdb: cdb.write(0, 1), flags: WRITE, expected: 512 }));
    await first.expect(r2t({ itt: 7, ttt: 1, offset: 0, length: 512, ...first.numbers(1) }));
    second.cmdSn = first.cmdSn;
    second.send(dataOut({ itt: 7, ttt: 1, offset: 0, data: Buffer.alloc(512, 1) }));
    await second.expectQuiet();
    expect(device.calls).toEqual([]);
    first.send(dataOut({ itt: 7, ttt: 1, offset: 0, data: Buffer.alloc(512, 2) }));
    await first.expect(scsiResponse({ itt: 7, expDataSn: 1, ...first.status() }));
    expect(device.bytes[0]).toBe(2);
  });

  it('one that logs out leaves the others, and one that fails ends the session', async () => {
    await using scene = await Scene.open();
    const first = await scene.initiator({ keys: SEVERAL });
    const second = await join(scene, first);
    const third = await join(scene, first, 3);
    second.send(logout({ itt: 1, cmdSn: second.cmdSn, reason: 1, cid: 2 }));
    await second.expect(logoutResponse({ itt: 1, time2Wait: 2, ...second.status() }));
    await second.rest();
    // The third one is logged out by the first one.
    first.send(logout({ itt: 2, cmdSn: first.cmdSn, reason: 1, cid: 3 }));
    await first.expect(logoutResponse({ itt: 2, time2Wait: 2, ...first.status() }));
    await third.rest();
    first.send(ready(11, first.cmdSn++));
    await first.expect(scsiResponse({ itt: 11, ...first.status() }));
    const fourth = await join(scene, first, 4);
    fourth.socket.destroy();
    await first.rest();
    await scene.settled();
  });

  it('a connection with the CID of another takes its place, and the session goes on', async () => {
    const device = new ControlledDevice(SIZE);
    device.holds.add('read');
    await using scene = await Scene.open({ device });
    const first = await scene.initiator();
    first.send(command({ itt: 7, cmdSn: first.cmdSn++, cdb: cdb.read(0, 1), flags: READ, expected: 512 }));
    await waitFor('it reads', () => device.calls.length === 1);
    const again = scene.initiator({ keys: [], tsih: first.tsih, cid: 1 });
    await first.rest();
    await delay(20);
    device.open();
    const second = await again;
    second.send(ready(8, second.cmdSn++));
    await second.expect(scsiResponse({ itt: 8, ...second.status() }));
    expect(scene.target).toMatchObject({ opened: 1, released: 0 });
  });

  it('the same after its first connection was the only one, and idle', async () => {
    await using scene = await Scene.open();
    const first = await scene.initiator();
    const second = await scene.initiator({ keys: [], tsih: first.tsih, cid: 1 });
    await first.rest();
    second.send(ready(8, second.cmdSn++));
    await second.expect(scsiResponse({ itt: 8, ...second.status() }));
  });
});

describe('reinstatement', () => {
  it('a session of the same initiator port ends the one before, after its commands have ended', async () => {
    const device = new ControlledDevice(SIZE);
    device.holds.add('write');
    await using scene = await Scene.open({ device });
    const first = await scene.initiator();
    first.send(
      command({
        itt: 7,
        cmdSn: first.cmdSn++,
        cdb: cdb.write(0, 1),
        flags: WRITE,
        expected: 512,
        data: Buffer.alloc(512),
      }),
    );
    await waitFor('it writes', () => device.calls.length === 1);
    const second = await scene.connect();
    const login = second.login();
    expect(await first.rest()).toHaveLength(0);
    await delay(50);
    expect(scene.target).toMatchObject({ opened: 1, released: 0 });
    device.open();
    await login;
    expect(scene.target).toMatchObject({ opened: 2, released: 1 });
    await second.takeAttention();
    expect(second.tsih).not.toBe(first.tsih);
  });

  it('is refused for now when commands do not end', async () => {
    const device = new ControlledDevice(SIZE);
    device.holds.add('write');
    await using scene = await Scene.open({ device, limits: { reinstatementMs: 50 } });
    const first = await scene.initiator();
    first.send(
      command({
        itt: 7,
        cmdSn: first.cmdSn++,
        cdb: cdb.write(0, 1),
        flags: WRITE,
        expected: 512,
        data: Buffer.alloc(512),
      }),
    );
    await waitFor('it writes', () => device.calls.length === 1);
    await expect(scene.initiator()).rejects.toThrow(/302/);
    device.open();
    await scene.settled();
    await scene.initiator();
  });

  it('another ISID, and another initiator, are sessions beside it', async () => {
    await using scene = await Scene.open();
    const first = await scene.initiator();
    await scene.initiator({ isid: '00023d000002' });
    await scene.initiator({ name: 'iqn.1993-08.org.debian:01:other' });
    first.send(ready(1, first.cmdSn++));
    await first.expect(scsiResponse({ itt: 1, ...first.status() }));
    expect(scene.server.sessions()).toHaveLength(3);
  });

  it('of many at once, one is there in the end', async () => {
    await using scene = await Scene.open();
    const all = await Promise.allSettled(Array.from({ length: 20 }, async () => scene.initiator()));
    await waitFor('one is left', () => scene.server.sessions().length === 1);
    expect(all.filter(({ status }) => status === 'fulfilled').length).toBeGreaterThan(0);
    expect(scene.target.opened - scene.target.released).toBe(1);
  });

  it('an initiator that leaves while its target is opened leaves nothing behind', async () => {
    let open = (): void => undefined;
    const opening = new Promise<void>((resolve) => {
      open = resolve;
    });
    await using scene = await Scene.open({ opening: async () => opening });
    const initiator = await scene.connect();
    initiator.sendLogin(loginHeader({ flags: 0x87 }), text(`InitiatorName=${INITIATOR}`, `TargetName=${TARGET}`));
    await waitFor('it is being opened', () => scene.target.opened === 1);
    initiator.socket.destroy();
    await delay(20);
    open();
    await scene.settled();
  });

  it('a TSIH that is not known is refused', async () => {
    await using scene = await Scene.open();
    await expect(scene.initiator({ tsih: 77 })).rejects.toThrow(/20a/);
  });
});

describe('logout', () => {
  it('answers what runs, then logs out, and closes', async () => {
    const device = new ControlledDevice(SIZE);
    device.holds.add('read');
    await using scene = await Scene.open({ device });
    const initiator = await scene.initiator();
    initiator.send(command({ itt: 1, cmdSn: initiator.cmdSn++, cdb: cdb.read(0, 1), flags: READ, expected: 512 }));
    await waitFor('it reads', () => device.calls.length === 1);
    initiator.send(logout({ itt: 2, cmdSn: initiator.cmdSn }), ready(3, initiator.cmdSn));
    await delay(20);
    device.open();
    await initiator.expect(
      dataIn({ itt: 1, status: 0, data: Buffer.alloc(512), ...initiator.status() }),
      logoutResponse({ itt: 2, time2Wait: 2, ...initiator.status() }),
    );
    expect(await initiator.rest()).toHaveLength(0);
    await scene.settled();
    expect(scene.faults).toEqual([]);
  });

  it('ends commands that wait for data without a response', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator({ keys: ['ImmediateData=No', 'DefaultTime2Wait=5'] });
    initiator.send(command({ itt: 1, cmdSn: initiator.cmdSn++, cdb: cdb.write(0, 1), flags: WRITE, expected: 512 }));
    await initiator.expect(r2t({ itt: 1, ttt: 1, offset: 0, length: 512, ...initiator.numbers(1) }));
    initiator.send(logout({ itt: 2, cmdSn: initiator.cmdSn++, isImmediate: false }));
    await initiator.expect(logoutResponse({ itt: 2, time2Wait: 5, ...initiator.status() }));
    await initiator.rest();
  });

  it('of a connection that is not there, and for recovery, is refused', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator();
    initiator.send(logout({ itt: 1, cmdSn: initiator.cmdSn, reason: 1, cid: 9 }));
    await initiator.expect(logoutResponse({ itt: 1, response: 1, ...initiator.status() }));
    initiator.send(logout({ itt: 1, cmdSn: initiator.cmdSn, reason: 2, cid: 1 }));
    await initiator.expect(logoutResponse({ itt: 1, response: 2, ...initiator.status() }));
    const odd = logout({ itt: 1, cmdSn: initiator.cmdSn, reason: 3 });
    initiator.send(odd);
    await initiator.expect(reject({ reason: 9, rejected: odd, ...initiator.status() }));
  });

  it('a session ends with all its connections', async () => {
    await using scene = await Scene.open();
    const first = await scene.initiator({ keys: SEVERAL });
    const second = await join(scene, first);
    first.send(logout({ itt: 1, cmdSn: first.cmdSn, reason: 0 }));
    await first.expect(logoutResponse({ itt: 1, time2Wait: 2, ...first.status() }));
    await first.rest();
    await second.rest();
    await scene.settled();
  });
});

describe('registrations and sessions', () => {
  it('a login needs no session of before: its own TSIH is new', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.connect();
    initiator.sendLogin(
      loginHeader({ flags: 0x87, tsih: 0 }),
      text(`InitiatorName=${INITIATOR}`, `TargetName=${TARGET}`),
    );
    const response = readResponse(await initiator.takePdu());
    expect(response.tsih).toBeGreaterThan(0);
    expect(response.maxCmdSn - response.expCmdSn).toBe(127);
  });

  it('an abort of a command that has not come takes its number', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator();
    const { cmdSn } = initiator;
    initiator.send(
      ready(5, cmdSn + 1),
      taskRequest({ itt: 6, cmdSn: cmdSn + 2, function: 1, tag: 4, refCmdSn: cmdSn }),
      ready(4, cmdSn),
    );
    initiator.cmdSn += 2;
    await initiator.expect(
      scsiResponse({ itt: 5, ...initiator.status() }),
      taskResponse({ itt: 6, ...initiator.status() }),
    );
    await initiator.expectQuiet();
  });
});
