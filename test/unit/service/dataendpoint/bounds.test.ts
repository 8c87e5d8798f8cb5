/** What one account, and who sends slowly, may take of a server that all share. */
import { Readable } from 'node:stream';
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../../src/core/kit/index.ts';
import { crcText, HEADERS } from '../../../../src/core/objectstore/service/index.ts';
import { Slots } from '../../../../src/core/service/blocks/slots.ts';
import { Budget } from '../../../../src/core/service/dataendpoint/budget.ts';
import { incomingBody } from '../../../../src/core/service/dataendpoint/incoming.ts';

const { signal } = new AbortController();

describe('bytes of bodies', () => {
  it('are shared out by account, however many gateways it has', async () => {
    const budget = new Budget({ bytesMax: 100, bytesOfAccountMax: 40, requestsOfGatewayMax: 4 });
    const gateways = [1, 2, 3].map((number) => ({ gatewayId: `sgw-0000000${String(number)}`, accountId: 'hers' }));
    const taken: string[] = [];
    const releases = gateways.map(async (gateway) => {
      const release = await budget.take(gateway, 40, signal);
      taken.push(gateway.gatewayId);
      return release;
    });
    const others = await budget.take({ gatewayId: 'sgw-0000000a', accountId: 'others' }, 40, signal);
    expect(taken).toHaveLength(1);
    others();
    for (const release of releases) (await release)();
    expect(taken).toHaveLength(3);
    // Nothing is left behind.
    (await budget.take({ gatewayId: 'sgw-0000000a', accountId: 'others' }, 40, signal))();
  });

  it('requests are counted by gateway', () => {
    const budget = new Budget({ bytesMax: 100, bytesOfAccountMax: 40, requestsOfGatewayMax: 1 });
    const leave = budget.enter({ gatewayId: 'one', accountId: 'hers' });
    expect(() => budget.enter({ gatewayId: 'one', accountId: 'hers' })).toThrow(/too many requests/);
    budget.enter({ gatewayId: 'two', accountId: 'hers' })();
    leave();
    budget.enter({ gatewayId: 'one', accountId: 'hers' })();
  });

  it('a body that keeps coming, and hardly does, is given up', async () => {
    let nowMs = 0;
    const clock = { ...systemClock, sleep: systemClock.sleep.bind(systemClock), monotonicMs: () => nowMs };
    const bytes = Buffer.alloc(1000, 1);
    const drops = Readable.from(
      (function* () {
        for (const byte of bytes) {
          nowMs += 1000;
          yield Buffer.of(byte);
        }
      })(),
    );
    const headers = {
      'content-length': '1000',
      [HEADERS.sha256]: createHash('sha256').update(bytes).digest('hex'),
      [HEADERS.crc32]: crcText(crc32(bytes)),
    };
    const { pieces } = incomingBody(headers, drops, 1000, clock);
    await expect(Array.fromAsync(pieces)).rejects.toMatchObject({ code: 'body-stalled' });
    expect(nowMs).toBeLessThan(70_000);
  });
});

describe('slots for blocks', () => {
  it('one account that takes all it gets, and lets more wait, keeps nobody else from one', async () => {
    const slots = new Slots();
    const end = Promise.withResolvers<undefined>();
    const wait = async (): Promise<undefined> => {
      await end.promise;
    };
    const hers = Array.from({ length: 600 }, async () => slots.run('hers', signal, wait).catch(() => 'busy'));
    const unknown = Array.from({ length: 600 }, async () => slots.run(null, signal, wait).catch(() => 'busy'));
    await new Promise((resolve) => setImmediate(resolve));
    await expect(slots.run('others', signal, async () => Promise.resolve('done'))).resolves.toBe('done');
    end.resolve(undefined);
    for (const all of [hers, unknown]) {
      const ended = await Promise.all(all);
      expect(ended.filter((one) => one === 'busy').length).toBeGreaterThan(200);
      expect(ended.filter((one) => one !== 'busy').length).toBeGreaterThan(200);
    }
  });
});
