/** What a device that follows holders does when they go, are silent, or come back. */
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { SgwError } from '../../../src/core/kit/index.ts';
import { waitFor } from '../sockets/byte-client.ts';
import { Holders } from './holders.ts';

const filled = (value: number, length = 4096): Buffer => Buffer.alloc(length, value);

async function readBack(device: { read(offset: number, target: Buffer): unknown }, at = 0): Promise<number> {
  const target = Buffer.alloc(4096, 0xee);
  await device.read(at, target);
  expect(target.equals(filled(target[0] ?? 0))).toBe(true);
  return target[0] ?? -1;
}

/** A holder whose calls wait until `go` is called, whatever becomes of their connection. */
function holdWrites(holders: Holders): { readonly go: () => void; readonly begun: () => number } {
  const { device } = holders.current;
  const write = device.write.bind(device);
  let go = (): void => undefined;
  const gate = new Promise<void>((resolve) => {
    go = resolve;
  });
  let begun = 0;
  device.write = async (offset, data) => {
    begun += 1;
    const copy = Buffer.from(data);
    await gate;
    await write(offset, copy);
  };
  return { go, begun: () => begun };
}

describe('a device that follows holders', () => {
  it('a write that a lost connection left behind is over before it is sent again, so it turns back nothing', async () => {
    await using holders = await Holders.open();
    holders.current.device.longShare = 0;
    const device = await holders.follow();
    const held = holdWrites(holders);
    const first = device.write(0, filled(1));
    await waitFor('the holder has the write', () => held.begun() === 1);
    holders.current.link.cut();
    await waitFor('the connection is lost', () => holders.kinds().includes('lost'));
    const second = device.write(0, filled(2));
    await delay(300);
    // Nobody was answered: the first copy is still under way.
    expect(held.begun()).toBe(1);
    held.go();
    await first;
    await second;
    await delay(100);
    expect(holders.volume.bytes[0]).toBe(2);
    expect(await readBack(device)).toBe(2);
  });

  it('the next holder gets what the one before did not answer, after a crash in the middle', async () => {
    await using holders = await Holders.open();
    const device = await holders.follow();
    await device.write(0, filled(1));
    holders.current.device.isMute = true;
    const requests = [device.write(4096, filled(2)), device.flush(), device.writeZeroes(0, 4096)];
    await waitFor('they are under way', () => holders.current.device.calls >= 4);
    await holders.crash(holders.current);
    await waitFor('it is lost', () => holders.kinds().includes('lost'));
    const next = await holders.add();
    await Promise.all(requests.map(async (one) => one));
    expect([await readBack(device, 0), await readBack(device, 4096)]).toEqual([0, 2]);
    expect(next.device.flushes).toBe(1);
    const found = holders.events.filter((event) => event.kind === 'found');
    expect(found).toMatchObject([
      { afterMs: null, repeated: 0, epoch: 1 },
      { repeated: 3, epoch: 2 },
    ]);
  });

  it('a holder that says that it leaves is left, and its requests go to the next one', async () => {
    await using holders = await Holders.open();
    const device = await holders.follow();
    await device.write(0, filled(1));
    await holders.takeOver();
    await device.write(0, filled(2));
    expect([await readBack(device), holders.kinds()]).toEqual([2, ['found', 'lost', 'found']]);
    expect(holders.events.find((event) => event.kind === 'lost')).toMatchObject({ reason: { code: 'holder-leaves' } });
  });

  it('a holder that is silent is left when another one has taken over, and not before', async () => {
    await using holders = await Holders.open({ silenceMs: 500 });
    const device = await holders.follow();
    holders.current.device.isMute = true;
    const written = device.write(0, filled(3));
    await waitFor('it is noticed', () => holders.kinds().includes('silent'));
    expect(holders.kinds()).toEqual(['found', 'silent']);
    await holders.add();
    await written;
    expect([holders.volume.bytes[0], holders.kinds()]).toEqual([3, ['found', 'silent', 'found']]);
  });

  it('a holder that was silent and answers again is followed on', async () => {
    await using holders = await Holders.open({ silenceMs: 500 });
    const device = await holders.follow();
    holders.current.device.isMute = true;
    const written = device.write(0, filled(3));
    await waitFor('it is noticed', () => holders.kinds().includes('silent'));
    holders.current.device.isMute = false;
    await written;
    await waitFor('it is told', () => holders.kinds().includes('resumed'));
    expect(holders.kinds()).toEqual(['found', 'silent', 'resumed']);
    await device.flush();
  });

  it('where a connection is dead and nobody is told, the same holder is connected to anew', async () => {
    await using holders = await Holders.open({ silenceMs: 30 });
    holders.current.device.longShare = 0;
    const device = await holders.follow();
    holders.current.link.isHoled = true;
    const written = device.write(0, filled(4));
    await waitFor('it is noticed', () => holders.kinds().includes('silent'));
    holders.current.link.isHoled = false;
    await written;
    // The holder ends the dead one, which may be seen first.
    const kinds = holders.kinds().filter((kind) => kind !== 'lost');
    expect([holders.volume.bytes[0], kinds]).toEqual([4, ['found', 'silent', 'found']]);
  });

  it('C6: a holder with an older epoch than one that was followed is not followed again', async () => {
    await using holders = await Holders.open();
    const [first] = holders.all;
    const device = await holders.follow();
    await device.write(0, filled(1));
    // The first does not know of the second, and would go on.
    const second = await holders.add();
    holders.addresses.reverse();
    first?.link.cut();
    await device.write(0, filled(2));
    const calls = first?.device.calls;
    second.link.isDown = true;
    second.link.cut();
    const waiting = device.write(0, filled(3));
    await waitFor('it is looked for', () =>
      holders.events.some((event) => event.kind === 'looking' && event.reason.code === 'holder-old'),
    );
    second.link.isDown = false;
    await waiting;
    expect([first?.device.calls, holders.volume.bytes[0]]).toEqual([calls, 3]);
  });

  it('of two that serve the export the one with the newer epoch is followed', async () => {
    await using holders = await Holders.open();
    await holders.add();
    holders.addresses.reverse();
    const device = await holders.follow();
    expect(holders.events[0]).toMatchObject({ kind: 'found', epoch: 2 });
    await device.flush();
  });

  it('another volume of the same name is not followed', async () => {
    await using holders = await Holders.open();
    const device = await holders.follow({ giveUpMs: 300 });
    await holders.crash(holders.current);
    await holders.add('vol-1');
    await expect(device.write(0, filled(1))).rejects.toMatchObject({ code: 'no-holder', kind: 'timeout' });
    expect(holders.events.at(-1)).toMatchObject({ kind: 'looking', reason: { code: 'another-volume' } });
  });

  it('one that serves the export and does not hold the volume is not followed', async () => {
    await using holders = await Holders.open();
    const device = await holders.follow({ giveUpMs: 300 });
    await holders.crash(holders.current);
    await holders.add(null);
    await expect(device.write(0, filled(1))).rejects.toMatchObject({ code: 'no-holder', kind: 'timeout' });
    expect(holders.events.at(-1)).toMatchObject({ kind: 'looking', reason: { code: 'not-held-there' } });
  });

  it('a smaller device is not followed, a larger one is, and is told of', async () => {
    await using holders = await Holders.open();
    const device = await holders.follow();
    const next = await holders.add();
    next.device.sizeBytes = holders.volume.sizeBytes - 4096;
    await holders.crash(holders.all[0] ?? next);
    const waiting = device.write(0, filled(1));
    await waitFor('it is refused', () =>
      holders.events.some((event) => event.kind === 'looking' && event.reason.code === 'holder-smaller'),
    );
    next.device.sizeBytes = holders.volume.sizeBytes + 4096;
    await waiting;
    expect([device.sizeBytes, holders.events.at(-1)]).toEqual([
      next.device.sizeBytes,
      { kind: 'resized', fromBytes: holders.volume.sizeBytes, toBytes: next.device.sizeBytes },
    ]);
  });

  it.each([
    ['unavailable', 'unavailable'],
    ['corrupt', 'unavailable'],
    ['exhausted', 'exhausted'],
    ['readOnly', 'readOnly'],
    ['unsupported', 'unsupported'],
  ] as const)('what fails for another reason is told: %s', async (kind, becomes) => {
    await using holders = await Holders.open();
    const device = await holders.follow();
    holders.current.device.failure = new SgwError(kind, 'broken', 'it is broken');
    await expect(device.read(0, Buffer.alloc(4096))).rejects.toMatchObject({
      kind: becomes,
      message: expect.stringContaining('it is broken') as string,
    });
    await device.write(0, filled(1));
    expect(holders.kinds()).toEqual(['found']);
  });

  it('gives up when it is told to, and goes on when a holder is there again', async () => {
    await using holders = await Holders.open();
    const device = await holders.follow({ giveUpMs: 150 });
    await holders.crash(holders.current);
    const began = performance.now();
    await expect(device.write(0, filled(1))).rejects.toMatchObject({ code: 'no-holder' });
    expect(performance.now() - began).toBeGreaterThan(140);
    await holders.add();
    const again = async (): Promise<void> => {
      await Promise.resolve(device.write(0, filled(2))).catch(again);
    };
    await again();
    expect(await readBack(device)).toBe(2);
  });

  it('who does not wait any more is let go; its write is not sent again', async () => {
    await using holders = await Holders.open();
    const device = await holders.follow();
    const [sent, unsent] = [new AbortController(), new AbortController()];
    holders.current.device.isMute = true;
    const write = device.write(0, filled(1), { signal: sent.signal });
    const read = device.read(8192, Buffer.alloc(4096), { signal: sent.signal });
    const behind = device.write(0, filled(2), { signal: unsent.signal });
    for (const one of [write, read, behind]) one?.catch(() => undefined);
    await waitFor('they are under way', () => holders.current.device.calls >= 2);
    sent.abort();
    unsent.abort();
    await expect(read).rejects.toMatchObject({ kind: 'aborted' });
    await expect(behind).rejects.toMatchObject({ kind: 'aborted' });
    await holders.crash(holders.current);
    await expect(write).rejects.toMatchObject({ kind: 'aborted' });
    await holders.add();
    await device.flush();
    expect(await readBack(device)).toBe(0);
  });

  it('closing flushes what was not flushed, once', async () => {
    await using holders = await Holders.open();
    const device = await holders.follow();
    await device.write(0, filled(1));
    await device.close();
    expect(holders.current.device.flushes).toBe(1);
    await device.close();
    await waitFor('it has left', () => holders.current.server.connections().length === 0);
    expect(() => device.read(0, Buffer.alloc(1))).toThrow(SgwError);
  });

  it('closing while there is no holder ends what waits', async () => {
    await using holders = await Holders.open();
    const device = await holders.follow();
    await holders.crash(holders.current);
    const waiting = device.write(0, filled(1));
    waiting?.catch(() => undefined);
    await waitFor('it is lost', () => holders.kinds().includes('lost'));
    await device.close();
    await expect(waiting).rejects.toMatchObject({ code: 'device-closed' });
  });

  it('waits for the first holder as well, and says when it gives that up', async () => {
    await using holders = await Holders.open();
    await holders.crash(holders.current);
    await expect(holders.follow({ giveUpMs: 100 })).rejects.toMatchObject({ code: 'no-holder' });
    const opening = holders.follow();
    await holders.add();
    const device = await opening;
    expect(await readBack(device)).toBe(0);
  });

  it('servers that are not sgw are followed too', async () => {
    await using holders = await Holders.open({ isOwn: false });
    const device = await holders.follow();
    await device.write(0, filled(1));
    await holders.crash(holders.current);
    await holders.add();
    await device.trim(0, 4096);
    expect(await readBack(device)).toBe(0);
  });
});
