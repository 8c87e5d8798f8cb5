/** Initiators that stall, flood, guess or send rubbish hurt only themselves. */
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { seededRandom, MIB } from '../../../src/core/kit/index.ts';
import type { ChapRules } from '../../../src/core/iscsi/index.ts';
import { loginHeader, readResponse, text } from './login-builder.ts';
import { cdb, command, crc32c, dataIn, dataOut, nopOut, NO_DATA, pdu, READ, WRITE_MORE } from './pdu-builder.ts';
import { EAGER, heldBytes, INITIATOR, Initiator, Scene, TARGET } from './scene.ts';
import { waitFor } from '../sockets/byte-client.ts';

const CHAP: ChapRules = { initiators: [{ user: 'host', secret: Buffer.from('correct horse bat') }], target: undefined };

/** Another initiator is served as ever. */
async function expectServed(scene: Scene): Promise<void> {
  const initiator = await scene.initiator({ isid: '00023d00beef' });
  initiator.send(command({ itt: 1, cmdSn: initiator.cmdSn++, cdb: cdb.read(0, 8), flags: READ, expected: 4096 }));
  await initiator.expect(dataIn({ itt: 1, status: 0, data: Buffer.alloc(4096), ...initiator.status() }));
  initiator.socket.destroy();
}

describe('logins', () => {
  it('one that stalls is let go at the deadline, and an initiator that is idle stays', async () => {
    await using scene = await Scene.open({ limits: { loginMs: 500 } });
    const idle = await scene.initiator();
    const silent = await scene.connect();
    const halfway = await scene.connect();
    halfway.socket.write(loginHeader({ flags: 0x87 }).subarray(0, 20));
    const slow = await scene.connect();
    slow.sendLogin(loginHeader({ flags: 0x00 }), text(`InitiatorName=${INITIATOR}`, `TargetName=${TARGET}`));
    await slow.takePdu();
    await expectServed(scene);
    for (const one of [silent, halfway, slow]) expect(await one.rest()).toHaveLength(0);
    await waitFor('three are told', () => scene.faults.length === 3);
    expect(new Set(scene.faults)).toEqual(new Set(['the login took too long']));
    await idle.expectQuiet();
  });

  it('a storm of half-open logins does not keep others out', async () => {
    await using scene = await Scene.open({ limits: { loginsMax: 16, connectionsMax: 32 } });
    const storm: Initiator[] = [];
    for (let i = 0; i < 200; i++) {
      storm.push(await Initiator.connect(scene.port));
      if (i % 50 === 49) await expectServed(scene);
    }
    expect(scene.faults.filter((reason) => reason === 'too many logins at once').length).toBeGreaterThan(150);
    for (const { socket } of storm) socket.destroy();
    await scene.settled();
  });

  it('more connections than the limit are closed, and those there are go on', async () => {
    await using scene = await Scene.open({ limits: { connectionsMax: 2 } });
    const first = await scene.initiator();
    await scene.initiator({ isid: '00023d000002' });
    await expect(scene.initiator({ isid: '00023d000003' })).rejects.toThrow();
    await first.expectQuiet();
    first.socket.destroy();
    await waitFor('there is room', () => scene.server.sessions().length === 1);
    await scene.initiator({ isid: '00023d000003' });
  });

  it('a thousand wrong secrets get one answer each, one after the other, while others are served', async () => {
    await using scene = await Scene.open({ chap: CHAP, limits: { failedLoginMs: 2, loginsMax: 64 } });
    const began = performance.now();
    let answered = 0;
    for (let round = 0; round < 20; round++) {
      const statuses = await Promise.all(
        Array.from({ length: 50 }, async (_, i) => {
          const guesser = await Initiator.connect(scene.port);
          const status = await guesser.loginWithChap(i % 2 === 0 ? 'host' : 'nobody', `guess number ${round * 50 + i}`);
          guesser.socket.destroy();
          return status;
        }),
      );
      answered += statuses.filter((status) => status === 0x0201).length;
      if (round % 5 !== 0) continue;
      const honest = await scene.connect();
      expect(await honest.loginWithChap('host', 'correct horse bat')).toBe(0);
      honest.socket.destroy();
    }
    expect(answered).toBe(1000);
    expect(performance.now() - began).toBeGreaterThan(1000 * 2);
  });

  it('the wait after a wrong secret grows with each one that waits, and does not hold the right one', async () => {
    await using scene = await Scene.open({ chap: CHAP, limits: { failedLoginMs: 400 } });
    const began = performance.now();
    const guesses = Array.from({ length: 3 }, async () => {
      const guesser = await scene.connect();
      await guesser.loginWithChap('host', 'wrong');
      return performance.now() - began;
    });
    await delay(50);
    const honest = await scene.connect();
    expect(await honest.loginWithChap('host', 'correct horse bat')).toBe(0);
    const served = performance.now() - began;
    const times = (await Promise.all(guesses)).sort((a, b) => a - b);
    expect(times[0]).toBeGreaterThan(Math.max(served, 390));
    expect(times[2]).toBeGreaterThan(1190);
  });

  it('the wait after a wrong secret is not cut short by sending more', async () => {
    await using scene = await Scene.open({ chap: CHAP, limits: { failedLoginMs: 300 } });
    const guesser = await scene.connect();
    const names = [`InitiatorName=${INITIATOR}`, `TargetName=${TARGET}`];
    guesser.sendLogin(loginHeader({ flags: 0x00 }), text(...names, 'AuthMethod=CHAP'));
    await guesser.takePdu();
    guesser.sendLogin(loginHeader({ flags: 0x00 }), text('CHAP_A=5'));
    await guesser.takePdu();
    const began = performance.now();
    guesser.sendLogin(loginHeader({ flags: 0x83 }), text('CHAP_N=host', `CHAP_R=0x${'00'.repeat(16)}`));
    await delay(50);
    guesser.sendLogin(loginHeader({ flags: 0x83 }), text('CHAP_N=host'));
    expect(readResponse(await guesser.takePdu()).status).toBe(0x0201);
    expect(performance.now() - began).toBeGreaterThan(290);
  });

  it('discovery sessions that stay do not keep others out', async () => {
    await using scene = await Scene.open({ limits: { connectionsMax: 4 } });
    const used = await scene.initiator({ isid: '00023d000001' });
    for (let i = 0; i < 8; i++) {
      const asking = await scene.connect();
      await asking.login({ isDiscovery: true, isid: `00023d00010${String(i)}` });
    }
    await expectServed(scene);
    await used.expectQuiet();
    expect(scene.faults).toContain('too many connections');
  });

  it('rubbish instead of a login ends the connection', async () => {
    const random = seededRandom(7);
    await using scene = await Scene.open({ limits: { loginMs: 500 } });
    await Promise.all(
      Array.from({ length: 100 }, async (_, i) => {
        const initiator = await scene.connect();
        const rubbish = random.bytes(1 + ((i * 37) % 3000));
        // Some begin as a login does.
        if (i % 3 === 0) rubbish[0] = 0x43;
        initiator.socket.write(rubbish);
        await initiator.rest();
      }),
    );
    await expectServed(scene);
    await scene.settled();
  });

  it('a login without an end is not kept', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.connect();
    const before = heldBytes();
    const part = text(`X-key=${'x'.repeat(8000)}`);
    for (let i = 0; i < 1000; i++) initiator.sendLogin(loginHeader({ flags: 0x40 }), part);
    await initiator.rest();
    expect(heldBytes() - before).toBeLessThan(16 * MIB);
    await expectServed(scene);
  });
});

describe('full feature phase', () => {
  it('rubbish never brings the server down, and ends in an answer, an end or silence', async () => {
    const random = seededRandom(11);
    await using scene = await Scene.open({ limits: { idleMs: 200, dataMs: 200 } });
    const opcodes = [0x00, 0x40, 0x01, 0x41, 0x02, 0x42, 0x04, 0x44, 0x05, 0x06, 0x46, 0x10, 0x1c, 0x3f];
    for (let round = 0; round < 150; round++) {
      const initiator = await scene.connect();
      await initiator.login({ isid: `00023d${random.bytes(3).toString('hex')}` });
      for (let i = 0; i < 20; i++) {
        const bytes = random.bytes(48);
        const length = Math.floor(random.float() * 600);
        bytes[0] = opcodes[Math.floor(random.float() * opcodes.length)] ?? 0;
        bytes[4] = random.float() < 0.1 ? 1 : 0;
        bytes.writeUIntBE(length, 5, 3);
        // Often a number and a tag that may be.
        if (random.float() < 0.7) bytes.writeUInt32BE(initiator.cmdSn + Math.floor(random.float() * 3), 24);
        if (random.float() < 0.7) bytes.writeUInt32BE(Math.floor(random.float() * 3), 16);
        if (random.float() < 0.5) bytes.fill(0, 8, 16);
        initiator.socket.write(Buffer.concat([bytes, random.bytes(bytes[4] * 4 + ((length + 3) & ~3))]));
      }
      if (round % 50 === 0) await expectServed(scene);
      await delay(2);
      initiator.socket.destroy();
    }
    await scene.settled();
    await expectServed(scene);
  });

  it('a thousand wrong data digests are a thousand rejects, and nothing is kept', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator({ keys: [...EAGER, 'DataDigest=CRC32C'] });
    const data = Buffer.alloc(4096, 1);
    const bad = Buffer.concat([
      command({ itt: 1, cmdSn: initiator.cmdSn, cdb: cdb.write(0, 8), flags: 0xa1, expected: 4096, data }),
      Buffer.from('deadbeef', 'hex'),
    ]);
    for (let i = 0; i < 1000; i++) initiator.socket.write(bad);
    for (let i = 0; i < 1000; i++) {
      const { header } = await initiator.takeParts();
      expect([header[0], header[2]]).toEqual([0x3f, 2]);
    }
    await expectServed(scene);
  });

  it('a wrong header digest ends its connection only', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator({ keys: ['HeaderDigest=CRC32C'] });
    const ping = nopOut({ itt: 1, cmdSn: initiator.cmdSn });
    const digest = crc32c(ping);
    digest[0] = (digest[0] ?? 0) ^ 1;
    initiator.socket.write(Buffer.concat([ping, digest]));
    await initiator.rest();
    expect(scene.faults).toEqual(['a header has a wrong digest']);
    await expectServed(scene);
  });

  it('writes whose data do not end hold no more than what the window allows', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator({ keys: [...EAGER, 'FirstBurstLength=65536', 'MaxBurstLength=65536'] });
    const before = heldBytes();
    for (let i = 0; i < 1000; i++) {
      initiator.send(
        command({ itt: i, cmdSn: initiator.cmdSn + i, cdb: cdb.write(0, 128), flags: WRITE_MORE, expected: 65_536 }),
        dataOut({ itt: i, offset: 0, isFinal: false, data: Buffer.alloc(8192) }),
      );
    }
    initiator.cmdSn += 128;
    await initiator.expectQuiet();
    expect(scene.server.sessions()[0]?.commands).toBe(129);
    expect(heldBytes() - before).toBeLessThan(32 * MIB);
    await expectServed(scene);
  });

  it('early commands of absurd lengths hold only what came', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator();
    const before = heldBytes();
    for (let i = 1; i < 128; i++) {
      initiator.send(
        command({
          itt: i,
          cmdSn: initiator.cmdSn + i,
          cdb: cdb.write(0, 65_535),
          flags: 0xa1,
          expected: 0xffff_ffff,
          data: Buffer.alloc(64),
        }),
      );
    }
    await initiator.expectQuiet();
    expect(heldBytes() - before).toBeLessThan(8 * MIB);
    await expectServed(scene);
  });

  it('bursts beyond all limits fail, and their bytes go nowhere', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator({ keys: [...EAGER, 'FirstBurstLength=512'] });
    const before = heldBytes();
    initiator.send(
      command({ itt: 1, cmdSn: initiator.cmdSn++, cdb: cdb.write(0, 1), flags: WRITE_MORE, expected: 512 }),
    );
    const data = Buffer.alloc(65_536);
    for (let i = 0; i < 4000; i++) {
      const isTaken = initiator.socket.write(dataOut({ itt: 1, dataSn: i, offset: i * 65_536, isFinal: false, data }));
      if (!isTaken) await new Promise((resolve) => initiator.socket.once('drain', resolve));
    }
    const { header } = await initiator.takeParts();
    expect([header[0], header[3]]).toEqual([0x21, 2]);
    initiator.statSn += 1;
    await initiator.expectQuiet();
    expect(heldBytes() - before).toBeLessThan(64 * MIB);
    await expectServed(scene);
  });

  it('floods behind a logout are not kept', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator();
    initiator.send(pdu({ begin: [0x46, 0x80], words: { 16: 1, 24: initiator.cmdSn } }));
    const junk = Buffer.alloc(MIB);
    const before = heldBytes();
    for (let i = 0; i < 64 && !initiator.socket.destroyed; i++) {
      if (!initiator.socket.write(junk))
        await Promise.race([new Promise((resolve) => initiator.socket.once('drain', resolve)), delay(20)]);
    }
    expect(heldBytes() - before).toBeLessThan(80 * MIB);
    await expectServed(scene);
    await scene.settled();
  });

  it('commands outside the window cost nothing', async () => {
    await using scene = await Scene.open();
    const initiator = await scene.initiator();
    const far = command({ itt: 1, cmdSn: initiator.cmdSn + 5000, cdb: cdb.testUnitReady, flags: NO_DATA });
    initiator.send(...Array.from({ length: 20_000 }, () => far));
    await initiator.expectQuiet();
    expect(scene.server.sessions()[0]?.commands).toBe(1);
  });
});
