/** Pings, text, and what an initiator may not send in full feature phase. */
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { loginHeader, text } from './login-builder.ts';
import {
  cdb,
  command,
  nopIn,
  nopOut,
  NO_DATA,
  pdu,
  r2t,
  reject,
  scsiResponse,
  taskRequest,
  textRequest,
  textResponse,
  WRITE,
} from './pdu-builder.ts';
import { EAGER, Scene, TARGET } from './scene.ts';
import { waitFor } from '../sockets/byte-client.ts';

describe('pings', () => {
  it('are answered with their data, at once or in their turn', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator({ keys: [...EAGER, 'MaxRecvDataSegmentLength=512'] });
    const data = Buffer.from('are you there?');
    initiator.send(
      nopOut({ itt: 1, cmdSn: initiator.cmdSn, data }),
      nopOut({ itt: 2, cmdSn: initiator.cmdSn, isImmediate: false }),
    );
    await initiator.expect(nopIn({ itt: 1, data, ...initiator.status() }));
    initiator.cmdSn += 1;
    await initiator.expect(nopIn({ itt: 2, ...initiator.status() }));
    // No more comes back than the initiator takes.
    const long = Buffer.alloc(1000, 1);
    initiator.send(nopOut({ itt: 3, cmdSn: initiator.cmdSn, data: long }));
    await initiator.expect(nopIn({ itt: 3, data: long.subarray(0, 512), ...initiator.status() }));
  });

  it('with the reserved tag need no answer', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator();
    initiator.send(nopOut({ cmdSn: initiator.cmdSn, ttt: 1 }), nopOut({ cmdSn: initiator.cmdSn }));
    await initiator.expectQuiet();
  });

  it('of our own find initiators that are gone, and leave those that answer', async () => {
    await using scene = await Scene.open({ limits: { idleMs: 300 } });
    const dead = await scene.initiator();
    const alive = await scene.initiator({ isid: '00023d000002' });
    const ping = nopIn({ ttt: 1, ...alive.numbers() });
    for (let i = 0; i < 3; i++) {
      await alive.expect(ping);
      alive.send(nopOut({ cmdSn: alive.cmdSn, ttt: 1 }));
    }
    expect(await dead.rest()).toEqual(nopIn({ ttt: 1, ...dead.numbers() }));
    expect(scene.faults).toEqual(['it does not answer']);
    await alive.expectQuiet();
  });

  it('an initiator that talks and does not send the data it owes is let go', async () => {
    await using scene = await Scene.open({ limits: { dataMs: 100 } });
    const initiator = await scene.initiator({ keys: ['ImmediateData=No'] });
    initiator.send(command({ itt: 7, cmdSn: initiator.cmdSn++, cdb: cdb.write(0, 1), flags: WRITE, expected: 512 }));
    await initiator.expect(r2t({ itt: 7, ttt: 1, offset: 0, length: 512, ...initiator.numbers(1) }));
    while (scene.faults.length === 0) {
      initiator.send(nopOut({ cmdSn: initiator.cmdSn }));
      await delay(10);
    }
    expect(scene.faults).toEqual(['it owes data']);
    await initiator.rest();
  });
});

describe('text', () => {
  it('in a discovery session tells of targets and their portals', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator({ isDiscovery: true });
    initiator.send(
      textRequest({ itt: 3, cmdSn: initiator.cmdSn++, isImmediate: false, data: text('SendTargets=All') }),
    );
    const data = text(`TargetName=${TARGET}`, `TargetAddress=127.0.0.1:${scene.port},1`);
    await initiator.expect(textResponse({ itt: 3, data, ...initiator.status() }));
  });

  it('tells of the portals that are set, or of the address that the initiator came to', async () => {
    await using scene = await Scene.open({ portals: () => ['192.0.2.7:3260', '[2001:db8::7]:3260'] });
    const initiator = await scene.initiator({ isDiscovery: true });
    initiator.send(textRequest({ itt: 3, cmdSn: initiator.cmdSn, data: text('SendTargets=All') }));
    const data = text(`TargetName=${TARGET}`, 'TargetAddress=192.0.2.7:3260,1', 'TargetAddress=[2001:db8::7]:3260,1');
    await initiator.expect(textResponse({ itt: 3, data, ...initiator.status() }));
    await using wild = await Scene.open();
    const listening = await wild.server.listen({ kind: 'tcp', host: '0.0.0.0', port: 0 });
    const second = await wild.initiator({ isDiscovery: true });
    second.send(textRequest({ itt: 3, cmdSn: second.cmdSn, data: text('SendTargets=All') }));
    const { data: answer } = await second.takeParts();
    expect(answer.toString().split('\0')).toEqual([
      `TargetName=${TARGET}`,
      `TargetAddress=127.0.0.1:${wild.port},1`,
      `TargetAddress=127.0.0.1:${String('port' in listening ? listening.port : 0)},1`,
      '',
    ]);
  });

  it('in a normal session tells of its target, and takes another segment length', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator();
    initiator.send(textRequest({ itt: 3, cmdSn: initiator.cmdSn, data: text('SendTargets=') }));
    const data = text(`TargetName=${TARGET}`, `TargetAddress=127.0.0.1:${scene.port},1`);
    await initiator.expect(textResponse({ itt: 3, data, ...initiator.status() }));
    initiator.send(textRequest({ itt: 4, cmdSn: initiator.cmdSn, data: text('MaxRecvDataSegmentLength=512') }));
    await initiator.expect(textResponse({ itt: 4, data: Buffer.alloc(0), ...initiator.status() }));
    initiator.send(command({ itt: 5, cmdSn: initiator.cmdSn++, cdb: cdb.read(0, 2), flags: 0xc1, expected: 1024 }));
    const { header } = await initiator.takeParts();
    expect(header.readUIntBE(5, 3)).toBe(512);
  });

  it('that is no text is rejected', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator();
    const request = textRequest({ itt: 3, cmdSn: initiator.cmdSn, data: Buffer.from('no key') });
    initiator.send(request);
    await initiator.expect(reject({ reason: 4, rejected: request, ...initiator.status() }));
  });
});

describe('what is not for full feature phase', () => {
  it.each([
    ['SNACK', 0x10, 3],
    ['a vendor opcode', 0x1c, 5],
    ['a response', 0x21, 5],
  ])('%s is rejected, and the connection goes on', async (_, code, reason) => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator();
    const request = pdu({ begin: [code, 0x80], words: { 16: 5, 24: initiator.cmdSn }, data: Buffer.from('abc') });
    initiator.send(request);
    await initiator.expect(reject({ reason, rejected: request, ...initiator.status() }));
    await initiator.expectQuiet();
  });

  it.each([
    ['a ping', 0x00],
    ['task management', 0x02],
    ['a logout', 0x06],
  ])('%s without F is rejected in its turn', async (_, code) => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator();
    const request = pdu({ begin: [code, 0x00], words: { 16: 5, 24: initiator.cmdSn++ } });
    initiator.send(request);
    await initiator.expect(reject({ reason: 4, rejected: request, ...initiator.status() }));
    await initiator.expectQuiet();
  });

  it('a login request is rejected, and ends the connection', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator();
    const request = loginHeader({ flags: 0x87 });
    initiator.send(request);
    await initiator.expect(reject({ reason: 4, rejected: request, ...initiator.status() }));
    await initiator.rest();
    expect(scene.faults).toEqual(['a login request in full feature phase']);
  });

  it.each([
    ['a command', command({ itt: 1, cmdSn: 100, cdb: cdb.testUnitReady, flags: NO_DATA })],
    ['task management', taskRequest({ itt: 1, cmdSn: 100, function: 5 })],
  ])('%s in a discovery session is rejected', async (_, rejected) => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator({ isDiscovery: true });
    initiator.send(rejected);
    await initiator.expect(reject({ reason: 4, rejected, ...initiator.status() }));
    await initiator.expectQuiet();
  });

  it.each([
    [
      'a wrong header digest',
      ['HeaderDigest=CRC32C'],
      Buffer.concat([nopOut({ cmdSn: 1 }), Buffer.alloc(4)]),
      /wrong digest/,
    ],
    ['a segment beyond what was declared', [], pdu({ begin: [0x40, 0x80], words: { 4: 0x0f_ffff } }), /too long/],
    ['much additional header', [], Buffer.concat([Buffer.from([1, 0x80, 0, 0, 255]), Buffer.alloc(43)]), /too long/],
  ])('%s ends the connection', async (_, keys, bytes, reason) => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator({ keys });
    initiator.socket.write(bytes);
    expect(await initiator.rest()).toHaveLength(0);
    await scene.settled();
    await waitFor('it is told', () => scene.faults.length === 1);
    expect(scene.faults[0]).toMatch(reason);
  });

  it('every request is taken byte by byte as it is whole', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator({ keys: [...EAGER, 'HeaderDigest=CRC32C', 'DataDigest=CRC32C'] });
    const data = Buffer.alloc(512, 3);
    const bytes: Buffer[] = [];
    const write = initiator.socket.write.bind(initiator.socket);
    initiator.socket.write = (chunk: Buffer) => bytes.push(chunk) > 0;
    initiator.send(
      command({ itt: 1, cmdSn: initiator.cmdSn++, cdb: cdb.write(0, 1), flags: WRITE, expected: 512, data }),
      nopOut({ itt: 2, cmdSn: initiator.cmdSn, data: Buffer.from('odd') }),
    );
    initiator.socket.write = write;
    for (const byte of Buffer.concat(bytes)) {
      write(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
    await initiator.expect(
      scsiResponse({ itt: 1, ...initiator.status() }),
      nopIn({ itt: 2, data: Buffer.from('odd'), ...initiator.status() }),
    );
  });
});
