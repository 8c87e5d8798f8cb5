/** SCSI commands and their data on the wire: Data-In, unasked data, R2T, residuals, failures. */
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/core/blockdevice/index.ts';
import { ControlledDevice } from '../nbd/controlled-device.ts';
import {
  cdb,
  command,
  dataIn,
  dataOut,
  fixedSense,
  NO_DATA,
  r2t,
  READ,
  reject,
  scsiResponse,
  WRITE,
  WRITE_MORE,
} from './pdu-builder.ts';
import { EAGER, Scene, SIZE, type Initiator } from './scene.ts';
import { waitFor } from '../sockets/byte-client.ts';

const bytes = (length: number, seed = 1): Buffer =>
  Buffer.from(Array.from({ length }, (_, i) => (i * 7 + seed) & 0xff));

function memory(): MemoryDevice {
  const device = new MemoryDevice(SIZE);
  bytes(SIZE).copy(device.bytes);
  return device;
}

const CRC = fixedSense(0x0b, 0x4705);
const UNEXPECTED = fixedSense(0x0b, 0x0c0c);
const AMOUNT = fixedSense(0x0b, 0x0c0d);

describe('reads', () => {
  it('data and status come in one PDU', async () => {
    const device = memory();
    await using scene = await Scene.open({ device });
    const initiator = await scene.initiator();
    initiator.send(command({ itt: 1, cmdSn: initiator.cmdSn++, cdb: cdb.read(2, 8), flags: READ, expected: 4096 }));
    const data = device.bytes.subarray(1024, 5120);
    await initiator.expect(dataIn({ itt: 1, status: 0, data, ...initiator.status() }));
  });

  it('a batch of reads is answered in its order', async () => {
    const device = memory();
    await using scene = await Scene.open({ device });
    const initiator = await scene.initiator();
    const first = initiator.cmdSn;
    initiator.send(
      ...Array.from({ length: 32 }, (_, i) =>
        command({ itt: i, cmdSn: first + i, cdb: cdb.read(i, 1), flags: READ, expected: 512 }),
      ),
    );
    for (let i = 0; i < 32; i++) {
      initiator.cmdSn += 1;
      const data = device.bytes.subarray(i * 512, i * 512 + 512);
      await initiator.expect(dataIn({ itt: i, status: 0, data, ...initiator.status() }));
    }
  });

  it('data are split at what the initiator takes, and sequences at MaxBurstLength', async () => {
    const device = memory();
    await using scene = await Scene.open({ device });
    const initiator = await scene.initiator({ keys: ['MaxRecvDataSegmentLength=1024', 'MaxBurstLength=2048'] });
    initiator.send(command({ itt: 5, cmdSn: initiator.cmdSn++, cdb: cdb.read(0, 10), flags: READ, expected: 5120 }));
    for (let i = 0; i < 5; i++) {
      const data = device.bytes.subarray(i * 1024, i * 1024 + 1024);
      const isLast = i === 4;
      const fields = { itt: 5, dataSn: i, offset: i * 1024, isFinal: i % 2 === 1 || isLast, data };
      await initiator.expect(
        dataIn(isLast ? { ...fields, status: 0, ...initiator.status() } : { ...fields, ...initiator.numbers() }),
      );
    }
  });

  it('a segment length that is no multiple of four is rounded down', async () => {
    const device = memory();
    await using scene = await Scene.open({ device });
    const initiator = await scene.initiator({ keys: ['MaxRecvDataSegmentLength=1023', 'DataDigest=CRC32C'] });
    initiator.send(command({ itt: 5, cmdSn: initiator.cmdSn++, cdb: cdb.read(0, 4), flags: READ, expected: 2047 }));
    const part = (i: number, length: number): Buffer => device.bytes.subarray(i * 1020, i * 1020 + length);
    await initiator.expect(
      dataIn({ itt: 5, dataSn: 0, isFinal: false, data: part(0, 1020), ...initiator.numbers() }),
      dataIn({ itt: 5, dataSn: 1, offset: 1020, isFinal: false, data: part(1, 1020), ...initiator.numbers() }),
      dataIn({ itt: 5, dataSn: 2, offset: 2040, status: 0, residual: 1, data: part(2, 7), ...initiator.status() }),
    );
  });

  it('data of a megabyte arrive whole', async () => {
    const device = memory();
    await using scene = await Scene.open({ device });
    const initiator = await scene.initiator({ keys: ['MaxRecvDataSegmentLength=262144', 'MaxBurstLength=524288'] });
    initiator.send(command({ itt: 5, cmdSn: initiator.cmdSn++, cdb: cdb.read(0, 2048), flags: READ, expected: SIZE }));
    for (let i = 0; i < 4; i++) {
      const data = device.bytes.subarray(i * 262_144, (i + 1) * 262_144);
      const fields = { itt: 5, dataSn: i, offset: i * 262_144, isFinal: i % 2 === 1, data };
      await initiator.expect(
        dataIn(i === 3 ? { ...fields, status: 0, ...initiator.status() } : { ...fields, ...initiator.numbers() }),
      );
    }
  });

  it.each([
    ['with both digests', ['HeaderDigest=CRC32C', 'DataDigest=CRC32C']],
    ['with a header digest', ['HeaderDigest=CRC32C']],
    ['with a data digest', ['DataDigest=CRC32C']],
  ])('%s', async (_, keys) => {
    const device = memory();
    await using scene = await Scene.open({ device });
    const initiator = await scene.initiator({ keys: [...EAGER, ...keys] });
    initiator.send(command({ itt: 1, cmdSn: initiator.cmdSn++, cdb: cdb.read(0, 1), flags: READ, expected: 512 }));
    await initiator.expect(dataIn({ itt: 1, status: 0, data: device.bytes.subarray(0, 512), ...initiator.status() }));
    const data = bytes(512, 9);
    initiator.send(
      command({ itt: 2, cmdSn: initiator.cmdSn++, cdb: cdb.write(1, 1), flags: WRITE, expected: 512, data }),
    );
    await initiator.expect(scsiResponse({ itt: 2, ...initiator.status() }));
    expect(device.bytes.subarray(512, 1024)).toEqual(data);
    // Five bytes have padding, which the digest covers.
    initiator.send(command({ itt: 3, cmdSn: initiator.cmdSn++, cdb: cdb.inquiry(5), flags: READ, expected: 5 }));
    const { header, data: five } = await initiator.takeParts();
    expect([header.readUIntBE(5, 3), five.length]).toEqual([5, 5]);
  });

  it('those that end later are answered when they do, in the order of StatSN', async () => {
    const device = new ControlledDevice(SIZE);
    device.holds.add('read');
    await using scene = await Scene.open({ device });
    const initiator = await scene.initiator();
    initiator.send(
      command({ itt: 1, cmdSn: initiator.cmdSn++, cdb: cdb.read(0, 1), flags: READ, expected: 512 }),
      command({ itt: 2, cmdSn: initiator.cmdSn++, cdb: cdb.testUnitReady, flags: NO_DATA }),
    );
    await initiator.expect(scsiResponse({ itt: 2, ...initiator.status(1) }));
    device.open();
    await initiator.expect(dataIn({ itt: 1, status: 0, data: Buffer.alloc(512), ...initiator.status() }));
  });

  it('one that fails has no data, and its sense', async () => {
    const device = new ControlledDevice(SIZE);
    device.failure = new Error('broken');
    await using scene = await Scene.open({ device });
    const initiator = await scene.initiator();
    initiator.send(command({ itt: 1, cmdSn: initiator.cmdSn++, cdb: cdb.read(0, 1), flags: READ, expected: 512 }));
    const sense = fixedSense(4, 0x4400);
    await initiator.expect(scsiResponse({ itt: 1, status: 2, residual: -512, sense, ...initiator.status() }));
    device.failure = undefined;
    device.holds.add('read');
    initiator.send(command({ itt: 2, cmdSn: initiator.cmdSn++, cdb: cdb.read(0, 1), flags: READ, expected: 512 }));
    await waitFor('it reads', () => device.calls.length === 2);
    device.open(new Error('broken'));
    await initiator.expect(scsiResponse({ itt: 2, status: 2, residual: -512, sense, ...initiator.status() }));
  });
});

describe('residuals of reads', () => {
  it.each([
    ['nothing is expected', 1, 0, 512, 0],
    ['less than a block', 1, 200, 312, 200],
    ['more than there is', 1, 10_000, -9488, 512],
    ['one block of two', 2, 512, 512, 512],
  ])('%s', async (_, blocks, expected, residual, sent) => {
    const device = memory();
    await using scene = await Scene.open({ device });
    const initiator = await scene.initiator();
    initiator.send(command({ itt: 1, cmdSn: initiator.cmdSn++, cdb: cdb.read(0, blocks), flags: READ, expected }));
    const data = device.bytes.subarray(0, sent);
    await initiator.expect(
      sent === 0
        ? scsiResponse({ itt: 1, residual, ...initiator.status() })
        : dataIn({ itt: 1, status: 0, residual, data, ...initiator.status() }),
    );
  });

  it('a command without data has less than was expected', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator();
    initiator.send(
      command({ itt: 1, cmdSn: initiator.cmdSn++, cdb: cdb.testUnitReady, flags: READ, expected: 100 }),
      command({
        itt: 2,
        cmdSn: initiator.cmdSn++,
        cdb: cdb.testUnitReady,
        flags: WRITE,
        expected: 4,
        data: Buffer.alloc(4),
      }),
    );
    initiator.cmdSn -= 1;
    await initiator.expect(scsiResponse({ itt: 1, residual: -100, ...initiator.status() }));
    initiator.cmdSn += 1;
    await initiator.expect(scsiResponse({ itt: 2, residual: -4, ...initiator.status() }));
  });

  it('a read that is sent as a write, or without direction, has its data beyond what was expected', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator();
    initiator.send(command({ itt: 1, cmdSn: initiator.cmdSn++, cdb: cdb.read(0, 1), flags: NO_DATA }));
    await initiator.expect(scsiResponse({ itt: 1, residual: 512, ...initiator.status() }));
  });
});

describe('residuals of writes', () => {
  it.each([
    ['nothing is expected', 1, 0, 512, 0],
    ['two blocks for one', 1, 1024, -512, 512],
    ['one block for two', 2, 512, 512, 512],
    ['much for one block', 1, 10_000, -9488, 512],
    ['less than a block', 1, 200, 312, 0],
  ])('%s', async (_, blocks, expected, residual, written) => {
    const device = memory();
    await using scene = await Scene.open({ device });
    const initiator = await scene.initiator();
    const before = Buffer.from(device.bytes.subarray(0, 1024));
    const data = bytes(expected, 77);
    initiator.send(
      command({ itt: 1, cmdSn: initiator.cmdSn++, cdb: cdb.write(0, blocks), flags: WRITE, expected, data }),
    );
    await initiator.expect(scsiResponse({ itt: 1, residual, ...initiator.status() }));
    const after = Buffer.from(before);
    data.copy(after, 0, 0, written);
    expect(device.bytes.subarray(0, 1024)).toEqual(after);
  });
});

describe('writes', () => {
  const write = (initiator: Initiator, blocks: number, flags: number, data?: Buffer): Buffer =>
    command({
      itt: 7,
      cmdSn: initiator.cmdSn++,
      cdb: cdb.write(0, blocks),
      flags,
      expected: blocks * 512,
      ...(data === undefined ? {} : { data }),
    });

  it('data that are asked for in bursts, as many at once as agreed', async () => {
    const device = memory();
    await using scene = await Scene.open({ device });
    const keys = ['InitialR2T=Yes', 'ImmediateData=No', 'MaxBurstLength=1024', 'MaxOutstandingR2T=2'];
    const initiator = await scene.initiator({ keys });
    const data = bytes(2560, 3);
    initiator.send(write(initiator, 5, WRITE));
    const asked = (ttt: number, offset: number, length: number): Buffer =>
      r2t({ itt: 7, ttt, r2tSn: ttt - 1, offset, length, ...initiator.numbers(1) });
    await initiator.expect(asked(1, 0, 1024), asked(2, 1024, 1024));
    initiator.send(
      dataOut({ itt: 7, ttt: 1, dataSn: 0, offset: 0, isFinal: false, data: data.subarray(0, 512) }),
      dataOut({ itt: 7, ttt: 1, dataSn: 1, offset: 512, data: data.subarray(512, 1024) }),
    );
    await initiator.expect(asked(3, 2048, 512));
    initiator.send(
      dataOut({ itt: 7, ttt: 2, dataSn: 0, offset: 1024, data: data.subarray(1024, 2048) }),
      dataOut({ itt: 7, ttt: 3, dataSn: 0, offset: 2048, data: data.subarray(2048) }),
    );
    await initiator.expect(scsiResponse({ itt: 7, expDataSn: 3, ...initiator.status() }));
    expect(device.bytes.subarray(0, 2560)).toEqual(data);
  });

  it('immediate data, unasked data and then what is asked for', async () => {
    const device = memory();
    await using scene = await Scene.open({ device });
    const initiator = await scene.initiator({ keys: [...EAGER, 'FirstBurstLength=1024', 'MaxBurstLength=4096'] });
    const data = bytes(4096, 5);
    initiator.send(
      write(initiator, 8, WRITE_MORE, data.subarray(0, 512)),
      dataOut({ itt: 7, offset: 512, data: data.subarray(512, 1024) }),
    );
    await initiator.expect(r2t({ itt: 7, ttt: 1, offset: 1024, length: 3072, ...initiator.numbers(1) }));
    initiator.send(dataOut({ itt: 7, ttt: 1, offset: 1024, data: data.subarray(1024) }));
    await initiator.expect(scsiResponse({ itt: 7, expDataSn: 1, ...initiator.status() }));
    expect(device.bytes.subarray(0, 4096)).toEqual(data);
  });

  it('less unasked data than allowed are fine', async () => {
    const device = memory();
    await using scene = await Scene.open({ device });
    const initiator = await scene.initiator({ keys: [...EAGER, 'FirstBurstLength=65536'] });
    const data = bytes(4096, 5);
    initiator.send(
      write(initiator, 8, WRITE_MORE),
      dataOut({ itt: 7, offset: 0, isFinal: false, data: data.subarray(0, 512) }),
      dataOut({ itt: 7, dataSn: 1, offset: 512, data: data.subarray(512, 1536) }),
    );
    await initiator.expect(r2t({ itt: 7, ttt: 1, offset: 1536, length: 2560, ...initiator.numbers(1) }));
    initiator.send(dataOut({ itt: 7, ttt: 1, offset: 1536, data: data.subarray(1536) }));
    await initiator.expect(scsiResponse({ itt: 7, expDataSn: 1, ...initiator.status() }));
    expect(device.bytes.subarray(0, 4096)).toEqual(data);
  });

  it('a megabyte that comes byte by byte over chunks arrives whole', async () => {
    const device = memory();
    await using scene = await Scene.open({ device });
    const initiator = await scene.initiator({ keys: [...EAGER, 'FirstBurstLength=65536', 'MaxBurstLength=1048576'] });
    const data = bytes(SIZE, 11);
    initiator.send(
      command({
        itt: 7,
        cmdSn: initiator.cmdSn++,
        cdb: cdb.write(0, 2048),
        flags: WRITE,
        expected: SIZE,
        data: data.subarray(0, 65_536),
      }),
    );
    await initiator.expect(r2t({ itt: 7, ttt: 1, offset: 65_536, length: SIZE - 65_536, ...initiator.numbers(1) }));
    let dataSn = 0;
    for (let offset = 65_536; offset < SIZE; offset += 262_144) {
      const part = data.subarray(offset, offset + 262_144);
      initiator.send(
        dataOut({ itt: 7, ttt: 1, dataSn: dataSn++, offset, isFinal: offset + part.length === SIZE, data: part }),
      );
    }
    await initiator.expect(scsiResponse({ itt: 7, expDataSn: 1, ...initiator.status() }));
    expect(device.bytes.equals(data)).toBe(true);
  });

  it('those that end together are answered together', async () => {
    const device = new ControlledDevice(SIZE);
    device.holds.add('write');
    await using scene = await Scene.open({ device });
    const initiator = await scene.initiator();
    const first = initiator.cmdSn;
    const data = bytes(512);
    initiator.send(
      ...[0, 1, 2].map((i) =>
        command({ itt: i, cmdSn: first + i, cdb: cdb.write(i, 1), flags: WRITE, expected: 512, data }),
      ),
    );
    initiator.cmdSn += 3;
    await waitFor('all are under way', () => device.calls.length === 3);
    device.open();
    for (const i of [0, 1, 2]) await initiator.expect(scsiResponse({ itt: i, ...initiator.status(2 - i) }));
  });

  it('an ordered one runs when those before it have ended, and those behind it when it has', async () => {
    const device = new ControlledDevice(SIZE);
    device.holds.add('read').add('write');
    await using scene = await Scene.open({ device });
    const initiator = await scene.initiator();
    const first = initiator.cmdSn;
    const data = bytes(512);
    initiator.send(
      command({ itt: 1, cmdSn: first, cdb: cdb.read(0, 1), flags: READ, expected: 512 }),
      command({ itt: 2, cmdSn: first + 1, cdb: cdb.write(0, 1), flags: 0xa2, expected: 512, data }),
      command({ itt: 3, cmdSn: first + 2, cdb: cdb.read(0, 1), flags: READ, expected: 512 }),
      command({ itt: 4, cmdSn: first + 3, cdb: cdb.testUnitReady, flags: NO_DATA }),
    );
    initiator.cmdSn += 4;
    await waitFor('the first reads', () => device.calls.length === 1);
    await initiator.expectQuiet();
    expect(device.calls).toEqual(['read']);
    device.open();
    await initiator.expect(dataIn({ itt: 1, status: 0, data: Buffer.alloc(512), ...initiator.status(3) }));
    await waitFor('the ordered one writes', () => device.calls.length === 2);
    await initiator.expectQuiet();
    device.holds.clear();
    device.open();
    await initiator.expect(
      scsiResponse({ itt: 2, ...initiator.status(2) }),
      dataIn({ itt: 3, status: 0, data, ...initiator.status(1) }),
      scsiResponse({ itt: 4, ...initiator.status() }),
    );
  });

  it('one that waited for memory runs when another one has got its data', async () => {
    const device = memory();
    await using scene = await Scene.open({ device, limits: { bytesMax: 512 } });
    const initiator = await scene.initiator({ keys: ['ImmediateData=No'] });
    initiator.send(
      command({ itt: 1, cmdSn: initiator.cmdSn++, cdb: cdb.write(0, 1), flags: WRITE, expected: 512 }),
      command({ itt: 2, cmdSn: initiator.cmdSn++, cdb: cdb.write(1, 1), flags: WRITE, expected: 512 }),
    );
    const numbers = { ...initiator.numbers(2), expCmdSn: initiator.cmdSn - 1, maxCmdSn: initiator.cmdSn + 126 - 1 };
    await initiator.expect(r2t({ itt: 1, ttt: 1, offset: 0, length: 512, ...numbers }));
    await initiator.expectQuiet();
    initiator.send(dataOut({ itt: 1, ttt: 1, offset: 0, data: bytes(512) }));
    await initiator.expect(
      scsiResponse({ itt: 1, expDataSn: 1, ...initiator.status(1) }),
      r2t({ itt: 2, ttt: 2, offset: 0, length: 512, ...initiator.numbers(1) }),
    );
  });

  it('a command that is refused takes its unasked data first', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator();
    const beyond = cdb.write(SIZE / 512, 2);
    initiator.send(
      command({ itt: 7, cmdSn: initiator.cmdSn++, cdb: beyond, flags: WRITE_MORE, expected: 1024, data: bytes(512) }),
    );
    await initiator.expectQuiet();
    initiator.send(dataOut({ itt: 7, offset: 512, data: bytes(512) }));
    const sense = fixedSense(5, 0x2100);
    await initiator.expect(scsiResponse({ itt: 7, status: 2, residual: -1024, sense, ...initiator.status() }));
  });
});

describe('data that are not what was expected', () => {
  const asked = ['InitialR2T=Yes', 'ImmediateData=No', 'MaxBurstLength=1024'];
  const begin = async (scene: Scene, keys: readonly string[] = asked): Promise<Initiator> => {
    const initiator = await scene.initiator({ keys });
    initiator.send(command({ itt: 7, cmdSn: initiator.cmdSn++, cdb: cdb.write(0, 2), flags: WRITE, expected: 1024 }));
    await initiator.expect(r2t({ itt: 7, ttt: 1, offset: 0, length: 1024, ...initiator.numbers(1) }));
    return initiator;
  };
  const half = (offset: number, dataSn: number, more: object = {}): Buffer =>
    dataOut({ itt: 7, ttt: 1, dataSn, offset, isFinal: offset > 0, data: bytes(512, 99), ...more });

  it.each([
    ['DataSN stays', [half(0, 0), half(512, 0)], CRC],
    ['DataSN skips', [half(0, 27), half(512, 28)], CRC],
    ['DataSN is -1', [half(0, 0xffff_ffff), half(512, 0)], CRC],
    ['DataSN goes back', [half(0, 1), half(512, 0)], CRC],
    ['a hole', [half(0, 0), half(1024, 1, { isFinal: true })], fixedSense(0x0b, 0x4b05)],
    ['the same bytes twice', [half(0, 0), half(0, 1, { isFinal: true })], fixedSense(0x0b, 0x4b05)],
    ['F comes early', [half(0, 0, { isFinal: true })], AMOUNT],
    ['F does not come', [half(0, 0), half(512, 1, { isFinal: false })], AMOUNT],
    ['more than was asked for', [half(0, 0), half(512, 1, { data: bytes(1024) })], AMOUNT],
    ['another transfer tag', [half(0, 0, { ttt: 9 }), half(0, 0), half(512, 1)], fixedSense(0x0b, 0x4b01)],
    ['unasked data', [half(0, 0, { ttt: 0xffff_ffff }), half(0, 0), half(512, 1)], UNEXPECTED],
  ])('%s: the command fails when all that was asked for has come, and nothing is written', async (_, pdus, sense) => {
    const device = memory();
    const before = Buffer.from(device.bytes);
    await using scene = await Scene.open({ device });
    const initiator = await begin(scene);
    for (const one of pdus.slice(0, -1)) initiator.send(one);
    await initiator.expectQuiet();
    initiator.send(...pdus.slice(-1));
    await initiator.expect(scsiResponse({ itt: 7, status: 2, sense, expDataSn: 1, ...initiator.status() }));
    expect(device.bytes.equals(before)).toBe(true);
    // The connection goes on.
    initiator.send(command({ itt: 8, cmdSn: initiator.cmdSn++, cdb: cdb.testUnitReady, flags: NO_DATA }));
    await initiator.expect(scsiResponse({ itt: 8, ...initiator.status() }));
  });

  it('no more is asked for after a failure', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator({ keys: asked });
    initiator.send(command({ itt: 7, cmdSn: initiator.cmdSn++, cdb: cdb.write(0, 4), flags: WRITE, expected: 2048 }));
    await initiator.expect(r2t({ itt: 7, ttt: 1, offset: 0, length: 1024, ...initiator.numbers(1) }));
    initiator.send(half(0, 1), half(512, 2));
    await initiator.expect(scsiResponse({ itt: 7, status: 2, sense: CRC, expDataSn: 1, ...initiator.status() }));
  });

  it.each([
    ['immediate data that were not agreed on', ['ImmediateData=No'], WRITE, 1024, UNEXPECTED],
    ['immediate data beyond FirstBurstLength', [...EAGER, 'FirstBurstLength=512'], WRITE, 1024, AMOUNT],
    ['immediate data beyond what is expected', EAGER, WRITE, 512, AMOUNT],
    ['immediate data of a read', EAGER, READ, 1024, AMOUNT],
  ])('%s', async (_, keys, flags, expected, sense) => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator({ keys });
    const blocks = expected / 512;
    const body = flags === READ ? cdb.read(0, blocks) : cdb.write(0, blocks);
    initiator.send(command({ itt: 7, cmdSn: initiator.cmdSn++, cdb: body, flags, expected, data: bytes(1024) }));
    const residual = -expected;
    await initiator.expect(scsiResponse({ itt: 7, status: 2, residual, sense, ...initiator.status() }));
  });

  it('unasked data where R2T is agreed on fail when they have come', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator({ keys: ['InitialR2T=Yes', 'ImmediateData=Yes'] });
    initiator.send(
      command({ itt: 7, cmdSn: initiator.cmdSn++, cdb: cdb.write(0, 2), flags: WRITE_MORE, expected: 1024 }),
    );
    await initiator.expectQuiet();
    initiator.send(dataOut({ itt: 7, offset: 0, data: bytes(1024) }));
    await initiator.expect(
      scsiResponse({ itt: 7, status: 2, residual: -1024, sense: UNEXPECTED, ...initiator.status() }),
    );
  });

  it('unasked data beyond FirstBurstLength', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator({ keys: [...EAGER, 'FirstBurstLength=512'] });
    initiator.send(
      command({ itt: 7, cmdSn: initiator.cmdSn++, cdb: cdb.write(0, 2), flags: WRITE_MORE, expected: 1024 }),
      dataOut({ itt: 7, offset: 0, data: bytes(1024) }),
    );
    await initiator.expect(scsiResponse({ itt: 7, status: 2, sense: AMOUNT, ...initiator.status() }));
  });

  it('a wrong data digest is rejected, and the command fails when its data have come', async () => {
    const device = memory();
    const before = Buffer.from(device.bytes);
    await using scene = await Scene.open({ device });
    const initiator = await begin(scene, [...asked, 'DataDigest=CRC32C']);
    const bad = half(0, 0);
    const damaged = Buffer.concat([bad, Buffer.from('deadbeef', 'hex')]);
    initiator.socket.write(damaged);
    await initiator.expect(reject({ reason: 2, rejected: bad, ...initiator.status(1) }));
    initiator.send(half(512, 1));
    await initiator.expect(scsiResponse({ itt: 7, status: 2, sense: CRC, expDataSn: 1, ...initiator.status() }));
    expect(device.bytes.equals(before)).toBe(true);
  });

  it('a command whose immediate data have a wrong digest is rejected, and may come again', async () => {
    const device = memory();
    await using scene = await Scene.open({ device });
    const initiator = await scene.initiator({ keys: [...EAGER, 'DataDigest=CRC32C'] });
    const data = bytes(512, 50);
    const good = command({ itt: 7, cmdSn: initiator.cmdSn, cdb: cdb.write(0, 1), flags: WRITE, expected: 512, data });
    initiator.socket.write(Buffer.concat([good, Buffer.from('deadbeef', 'hex')]));
    await initiator.expect(reject({ reason: 2, rejected: good, ...initiator.status() }));
    initiator.cmdSn += 1;
    initiator.send(good);
    await initiator.expect(scsiResponse({ itt: 7, ...initiator.status() }));
    expect(device.bytes.subarray(0, 512)).toEqual(data);
  });

  it('data of a command that has ended are let go', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator();
    initiator.send(
      dataOut({ itt: 99, offset: 0, data: bytes(1000) }),
      dataOut({ itt: 99, ttt: 4, offset: 0, data: Buffer.alloc(0) }),
    );
    await initiator.expectQuiet();
  });
});

describe('commands that can not be', () => {
  it.each([
    ['both directions', { flags: 0xe1, expected: 512 }, 5],
    ['an expected bidirectional read length', { flags: WRITE, ahs: Buffer.from('0005020000000200', 'hex') }, 5],
    ['no F, and no data that follow', { flags: 0x01 }, 4],
    ['a reserved task attribute', { flags: 0x85 }, 9],
    ['the reserved task tag', { flags: NO_DATA, itt: 0xffff_ffff }, 9],
  ])('%s are rejected, and use up their CmdSN', async (_, fields, reason) => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator();
    const rejected = command({ itt: 7, cmdSn: initiator.cmdSn++, cdb: cdb.testUnitReady, ...fields });
    initiator.send(rejected);
    await initiator.expect(reject({ reason, rejected, ...initiator.status() }));
    initiator.send(command({ itt: 8, cmdSn: initiator.cmdSn++, cdb: cdb.testUnitReady, flags: NO_DATA }));
    await initiator.expect(scsiResponse({ itt: 8, ...initiator.status() }));
  });

  it('a task tag that is in use is rejected', async () => {
    const device = new ControlledDevice(SIZE);
    device.holds.add('read');
    await using scene = await Scene.open({ device });
    const initiator = await scene.initiator();
    initiator.send(command({ itt: 7, cmdSn: initiator.cmdSn++, cdb: cdb.read(0, 1), flags: READ, expected: 512 }));
    await waitFor('it reads', () => device.calls.length === 1);
    const rejected = command({ itt: 7, cmdSn: initiator.cmdSn++, cdb: cdb.testUnitReady, flags: NO_DATA });
    initiator.send(rejected);
    await initiator.expect(reject({ reason: 7, rejected, ...initiator.status(1) }));
    device.open();
    await initiator.expect(dataIn({ itt: 7, status: 0, data: Buffer.alloc(512), ...initiator.status() }));
  });

  it('a CDB of more than 16 bytes reaches the unit whole', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator();
    // READ(32), which the unit does not know: so many bytes with an additional length of 24.
    const long = Buffer.alloc(32);
    long[0] = 0x7f;
    long[7] = 24;
    const ahs = Buffer.concat([Buffer.from([0, 17, 1, 0]), long.subarray(16)]);
    initiator.send(command({ itt: 7, cmdSn: initiator.cmdSn++, cdb: long, ahs, flags: READ, expected: 512 }));
    const { header } = await initiator.takeParts();
    expect([header[0], header[3]]).toEqual([0x21, 2]);
  });
});
