/** Task management: whose commands end, and when it is answered. */
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { MemoryDevice, type DeviceCall } from '../../../src/core/blockdevice/index.ts';
import { ControlledDevice } from '../nbd/controlled-device.ts';
import {
  asyncMessage,
  cdb,
  command,
  dataOut,
  fixedSense,
  logout,
  nopIn,
  NO_DATA,
  r2t,
  READ,
  scsiResponse,
  taskRequest,
  taskResponse,
  WRITE,
  type TaskRequestFields,
} from './pdu-builder.ts';
import { Scene, SIZE, type Initiator } from './scene.ts';
import { waitFor } from '../sockets/byte-client.ts';

const ABORT_TASK = 1;
const ABORT_TASK_SET = 2;
const CLEAR_TASK_SET = 4;
const UNIT_RESET = 5;
const WARM_RESET = 6;
const COLD_RESET = 7;
const OTHER_UNIT = Buffer.from('0001000000000000', 'hex');

const read = (initiator: Initiator, itt: number): Buffer =>
  command({ itt, cmdSn: initiator.cmdSn++, cdb: cdb.read(itt, 1), flags: READ, expected: 512 });

const ask = (initiator: Initiator, fields: Omit<TaskRequestFields, 'cmdSn'>): Buffer =>
  taskRequest({ itt: 0x99, cmdSn: initiator.cmdSn, ...fields });

async function expectReady(initiator: Initiator): Promise<void> {
  initiator.send(command({ itt: 0x77, cmdSn: initiator.cmdSn++, cdb: cdb.testUnitReady, flags: NO_DATA }));
  await initiator.expect(scsiResponse({ itt: 0x77, ...initiator.status() }));
}

async function expectAttention(initiator: Initiator, asc: number): Promise<void> {
  initiator.send(command({ itt: 0x76, cmdSn: initiator.cmdSn++, cdb: cdb.testUnitReady, flags: NO_DATA }));
  await initiator.expect(scsiResponse({ itt: 0x76, status: 2, sense: fixedSense(6, asc), ...initiator.status() }));
}

/** PERSISTENT RESERVE OUT, with the initiator's key and another one. */
function reserve(initiator: Initiator, action: number, type: number, keys: string): Buffer {
  const list = Buffer.alloc(24);
  list.write(keys);
  const bytes = Buffer.from([0x5f, action, type, 0, 0, 0, 0, 0, 24, 0]);
  return command({ itt: 1, cmdSn: initiator.cmdSn++, cdb: bytes, flags: WRITE, expected: 24, data: list });
}

/** Registers a key. One that sends nothing unasked is asked for it. */
async function register(initiator: Initiator, key: string): Promise<void> {
  const list = `${NO_KEY}${key}`;
  const isAsked = initiator.keys.includes('ImmediateData=No');
  if (!isAsked) initiator.send(reserve(initiator, 0, 0, list));
  else {
    const bytes = Buffer.from([0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0]);
    initiator.send(command({ itt: 1, cmdSn: initiator.cmdSn++, cdb: bytes, flags: WRITE, expected: 24 }));
    await initiator.expect(r2t({ itt: 1, ttt: 1, offset: 0, length: 24, ...initiator.numbers(1) }));
    initiator.send(dataOut({ itt: 1, ttt: 1, offset: 0, data: Buffer.concat([Buffer.from(list), Buffer.alloc(8)]) }));
  }
  await initiator.expect(scsiResponse({ itt: 1, ...(isAsked ? { expDataSn: 1 } : {}), ...initiator.status() }));
}

/** Type of a reservation: only those who are registered write. */
const REGISTRANTS_ONLY = 5;
const NO_KEY = '\0'.repeat(8);
const OUR_KEY = 'our key!';
const THEIR_KEY = 'the keys';

function holding(): ControlledDevice {
  const device = new ControlledDevice(SIZE);
  device.holds.add('read');
  return device;
}

describe('ABORT TASK', () => {
  it('is answered when the command has ended, which gets no response', async () => {
    const device = holding();
    await using scene = await Scene.open({ device });
    const initiator = await scene.initiator();
    initiator.send(read(initiator, 1));
    await waitFor('it reads', () => device.calls.length === 1);
    initiator.send(ask(initiator, { function: ABORT_TASK, tag: 1, refCmdSn: initiator.cmdSn - 1 }));
    await initiator.expectQuiet();
    device.open();
    await initiator.expect(taskResponse({ itt: 0x99, ...initiator.status() }));
    await initiator.expectQuiet();
    await expectReady(initiator);
  });

  it('tells the command to stop', async () => {
    class Stoppable extends MemoryDevice {
      override async read(_offset: number, _target: Buffer, call?: DeviceCall): Promise<void> {
        await new Promise((_resolve, reject) => {
          call?.signal?.addEventListener('abort', () => {
            reject(new Error('stopped'));
          });
        });
      }
    }
    await using scene = await Scene.open({ device: new Stoppable(SIZE) });
    const initiator = await scene.initiator();
    initiator.send(read(initiator, 1), ask(initiator, { function: ABORT_TASK, tag: 1, refCmdSn: initiator.cmdSn }));
    await initiator.expect(taskResponse({ itt: 0x99, ...initiator.status() }));
    await expectReady(initiator);
  });

  it('ends a command that waits for data, and what comes of them is let go', async () => {
    const device = new MemoryDevice(SIZE);
    await using scene = await Scene.open({ device });
    const initiator = await scene.initiator({ keys: ['ImmediateData=No'] });
    initiator.send(
      command({ itt: 1, cmdSn: initiator.cmdSn++, cdb: cdb.write(0, 1), flags: WRITE, expected: 512 }),
      ask(initiator, { function: ABORT_TASK, tag: 1, refCmdSn: initiator.cmdSn }),
    );
    await initiator.expect(
      r2t({ itt: 1, ttt: 1, offset: 0, length: 512, ...initiator.numbers(1) }),
      taskResponse({ itt: 0x99, ...initiator.status() }),
    );
    initiator.send(dataOut({ itt: 1, ttt: 1, offset: 0, data: Buffer.alloc(512, 1) }));
    await initiator.expectQuiet();
    expect(device.bytes[0]).toBe(0);
  });

  it('of a command that is not there says so', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator();
    initiator.send(
      ask(initiator, { function: ABORT_TASK, tag: 5, refCmdSn: initiator.cmdSn - 1 }),
      ask(initiator, { function: ABORT_TASK, tag: 5, refCmdSn: initiator.cmdSn }),
    );
    await initiator.expect(
      taskResponse({ itt: 0x99, response: 1, ...initiator.status() }),
      taskResponse({ itt: 0x99, response: 1, ...initiator.status() }),
    );
  });
});

describe('functions for many commands', () => {
  const two = async (scene: Scene): Promise<readonly [Initiator, Initiator]> => [
    await scene.initiator(),
    await scene.initiator({ isid: '00023d000002' }),
  ];

  it('ABORT TASK SET ends those of the session, and leaves others', async () => {
    const device = holding();
    await using scene = await Scene.open({ device });
    const [own, other] = await two(scene);
    own.send(read(own, 1), read(own, 2));
    other.send(read(other, 3));
    await waitFor('all read', () => device.calls.length === 3);
    own.send(taskRequest({ itt: 0x99, cmdSn: own.cmdSn++, function: ABORT_TASK_SET, isImmediate: false }));
    await own.expectQuiet();
    device.holds.clear();
    device.open();
    // What the session lost is told of by a window.
    await own.expect(nopIn(own.numbers()), taskResponse({ itt: 0x99, ...own.status() }));
    expect((await other.takePdu())[0]).toBe(0x25);
    other.statSn += 1;
    await expectReady(own);
    await expectReady(other);
  });

  it('CLEAR TASK SET ends those of all sessions, and tells the others', async () => {
    const device = holding();
    await using scene = await Scene.open({ device });
    const [own, other] = await two(scene);
    other.send(read(other, 3));
    await waitFor('it reads', () => device.calls.length === 1);
    own.send(ask(own, { function: CLEAR_TASK_SET }));
    await own.expectQuiet();
    device.open();
    await own.expect(taskResponse({ itt: 0x99, ...own.status() }));
    await other.expect(nopIn(other.numbers()));
    await expectReady(own);
    await expectAttention(other, 0x2f00);
  });

  it.each([
    ['LOGICAL UNIT RESET', UNIT_RESET],
    ['TARGET WARM RESET', WARM_RESET],
  ])('%s ends those of all sessions, and tells everybody', async (_, code) => {
    const device = holding();
    await using scene = await Scene.open({ device });
    const [own, other] = await two(scene);
    own.send(read(own, 1));
    other.send(read(other, 3));
    await waitFor('both read', () => device.calls.length === 2);
    own.send(ask(own, { function: code }));
    await own.expectQuiet();
    device.open();
    await own.expect(nopIn(own.numbers()), taskResponse({ itt: 0x99, ...own.status() }));
    await other.expect(nopIn(other.numbers()));
    await expectAttention(own, 0x2903);
    await expectAttention(other, 0x2903);
  });

  it('TARGET COLD RESET ends all sessions after its answer', async () => {
    await using scene = await Scene.open();
    const [own, other] = await two(scene);
    own.send(ask(own, { function: COLD_RESET }));
    const dropped = { event: 3, parameters: [0, 2, 0] };
    await own.expect(taskResponse({ itt: 0x99, ...own.status() }), asyncMessage({ ...dropped, ...own.status() }));
    await other.expect(asyncMessage({ ...dropped, ...other.status() }));
    expect([await own.rest(), await other.rest()]).toEqual([Buffer.alloc(0), Buffer.alloc(0)]);
    await scene.settled();
  });

  it('an immediate one waits for commands that were sent before it', async () => {
    const device = holding();
    await using scene = await Scene.open({ device });
    const initiator = await scene.initiator();
    const late = read(initiator, 1);
    initiator.send(ask(initiator, { function: ABORT_TASK_SET }));
    initiator.cmdSn -= 1;
    await initiator.expectQuiet();
    initiator.send(late);
    initiator.cmdSn += 1;
    await waitFor('it reads', () => device.calls.length === 1);
    await delay(20);
    device.open();
    await initiator.expect(nopIn(initiator.numbers()), taskResponse({ itt: 0x99, ...initiator.status() }));
  });

  it.each([
    ['ABORT TASK SET of another unit', ABORT_TASK_SET, OTHER_UNIT, 2],
    ['CLEAR TASK SET of another unit', CLEAR_TASK_SET, OTHER_UNIT, 2],
    ['LOGICAL UNIT RESET of another unit', UNIT_RESET, OTHER_UNIT, 2],
    ['CLEAR ACA', 3, undefined, 5],
    ['TASK REASSIGN', 8, undefined, 4],
    ['an unknown function', 77, undefined, 5],
  ])('%s is refused', async (_, code, lun, response) => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator();
    initiator.send(ask(initiator, { function: code, ...(lun === undefined ? {} : { lun }) }));
    await initiator.expect(taskResponse({ itt: 0x99, response, ...initiator.status() }));
  });

  it('PREEMPT AND ABORT ends those of who is preempted before it is answered', async () => {
    const device = holding();
    await using scene = await Scene.open({ device });
    const [own, other] = await two(scene);
    await register(own, OUR_KEY);
    await register(other, THEIR_KEY);
    other.send(read(other, 3));
    await waitFor('it reads', () => device.calls.length === 1);
    own.send(reserve(own, 5, 1, `${OUR_KEY}${THEIR_KEY}`));
    await own.expectQuiet();
    device.open();
    await own.expect(scsiResponse({ itt: 1, ...own.status() }));
    await other.expect(nopIn(other.numbers()));
    await expectAttention(other, 0x2a05);
  });

  it.each([
    ['one burst', 1],
    ['two bursts', 2],
  ])(
    'PREEMPT keeps out what its loser sends afterwards, also for a write that was begun before, of %s',
    async (_, bursts) => {
      const device = new MemoryDevice(SIZE);
      await using scene = await Scene.open({ device });
      const own = await scene.initiator();
      const keys = ['ImmediateData=No', 'MaxBurstLength=512', 'MaxOutstandingR2T=1'];
      const other = await scene.initiator({ isid: '00023d000002', keys });
      await register(own, OUR_KEY);
      await register(other, THEIR_KEY);
      own.send(reserve(own, 1, REGISTRANTS_ONLY, OUR_KEY));
      await own.expect(scsiResponse({ itt: 1, ...own.status() }));
      const expected = 512 * bursts;
      other.send(command({ itt: 3, cmdSn: other.cmdSn++, cdb: cdb.write(0, bursts), flags: WRITE, expected }));
      await other.expect(r2t({ itt: 3, ttt: 2, offset: 0, length: 512, ...other.numbers(1) }));
      own.send(reserve(own, 4, REGISTRANTS_ONLY, `${OUR_KEY}${THEIR_KEY}`));
      await own.expect(scsiResponse({ itt: 1, ...own.status() }));
      other.send(dataOut({ itt: 3, ttt: 2, offset: 0, data: Buffer.alloc(512, 1) }));
      await other.expect(scsiResponse({ itt: 3, status: 0x18, expDataSn: 1, ...other.status() }));
      expect(device.bytes[0]).toBe(0);
      await expectAttention(other, 0x2a05);
    },
  );

  it('too many at once are rejected', async () => {
    const device = holding();
    await using scene = await Scene.open({ device, limits: { immediateMax: 2 } });
    const initiator = await scene.initiator();
    initiator.send(read(initiator, 1));
    await waitFor('it reads', () => device.calls.length === 1);
    const request = ask(initiator, { function: ABORT_TASK_SET });
    initiator.send(request, request, request);
    const { header } = await initiator.takeParts();
    expect([header[0], header[2]]).toEqual([0x3f, 6]);
    device.open();
  });

  it('logging out meanwhile is no trouble', async () => {
    const device = holding();
    await using scene = await Scene.open({ device });
    const initiator = await scene.initiator();
    initiator.send(read(initiator, 1));
    await waitFor('it reads', () => device.calls.length === 1);
    initiator.send(ask(initiator, { function: ABORT_TASK_SET }), logout({ itt: 2, cmdSn: initiator.cmdSn }));
    await delay(20);
    device.open();
    await initiator.rest();
    await scene.settled();
  });
});
