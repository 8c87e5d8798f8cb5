/** What the room `replication` hears of the service: a no is a no, and a service that is not there lets a candidate go on. */
import { describe, expect, it } from 'vitest';
import { ServiceGroupBook } from '../../../../src/core/gateway/groups/book.ts';
import type { Service } from '../../../../src/core/gateway/service-access.ts';
import { SgwError, type ErrorKind } from '../../../../src/core/kit/index.ts';

const REQUEST = { volumeId: 'vol-00000000000000001', epoch: 3, reason: 'gone' } as const;
const never = new AbortController().signal;

function bookOf(ask: (name: string, body: object, signal: AbortSignal) => Promise<unknown>) {
  const asked: { name: string; body: object }[] = [];
  const service = {
    ask: async (name: string, body: object, call: { signal: AbortSignal }) => {
      asked.push({ name, body });
      return await ask(name, body, call.signal);
    },
  } as unknown as Service;
  return { asked, book: new ServiceGroupBook(async () => Promise.resolve(service)) };
}
const failing = (kind: ErrorKind, code: string) =>
  bookOf(async () => Promise.reject(new SgwError(kind, code, 'no'))).book.permit(REQUEST, never);

describe('the book of a group', () => {
  it('tells the group that the gateway is in, or that there is none', async () => {
    const group = { groupId: 'grp-1' };
    expect(await bookOf(async () => Promise.resolve({ group })).book.mine(never)).toBe(group);
    expect(await bookOf(async () => Promise.resolve({ group: null })).book.mine(never)).toBeUndefined();
  });

  it('announces an address, and asks with the epoch and the reason', async () => {
    const { book, asked } = bookOf(async () => Promise.resolve({}));
    const address = { peer: '127.0.0.1:7', nbd: ['unix:/x'] };
    await book.announce(address, never);
    await book.permit(REQUEST, never);
    expect(asked).toEqual([
      { name: 'group.announce', body: { address } },
      { name: 'group.permit', body: REQUEST },
    ]);
  });

  it.each([
    ['conflict', 'holder-alive'],
    ['notFound', 'group-not-found'],
    ['denied', 'gateway-deregistered'],
  ] as const)('refuses a candidate by what the service says no with: %s', async (kind, code) => {
    await expect(failing(kind, code)).rejects.toMatchObject({ kind, code });
  });

  it.each([
    ['unavailable', 'service-unreachable'],
    ['timeout', 'service-timed-out'],
    ['internal', 'bug'],
    ['denied', 'message-refused'],
  ] as const)('lets a candidate go on when it can not be asked: %s', async (kind, code) => {
    await expect(failing(kind, code)).resolves.toBeUndefined();
  });

  it('lets a candidate go on after a second of silence, also where the way to the service heeds nothing', async () => {
    const { book } = bookOf(async () => new Promise(() => undefined));
    const startedMs = performance.now();
    await book.permit(REQUEST, never);
    const tookMs = performance.now() - startedMs;
    expect(tookMs).toBeGreaterThan(900);
    expect(tookMs).toBeLessThan(3000);
  });

  it('stops with its caller', async () => {
    const stop = new AbortController();
    const { book } = bookOf(async () => new Promise(() => undefined));
    const permitted = book.permit(REQUEST, stop.signal);
    stop.abort(new SgwError('aborted', 'stopped', 'stopped'));
    await expect(permitted).rejects.toMatchObject({ code: 'stopped' });
  });
});
