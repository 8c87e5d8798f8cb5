/** Calls go to whoever holds the home when they are begun. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { daemonFirst } from '../../../src/core/client/open-gateway.ts';
import { SgwError } from '../../../src/core/kit/index.ts';
import { notBegun, type LocalApi } from '../../../src/core/localapi/index.ts';

const stopping = new SgwError('unavailable', 'gateway-stopping', 'the gateway daemon is stopping', { hint: 'Again.' });
const { signal } = new AbortController();

/** Holders of the home, one after the other: each fails with what is given, the last one answers. */
async function open(failures: readonly SgwError[]): Promise<{ api: LocalApi; calls: number[]; disposed: number[] }> {
  const home = await mkdtemp(path.join(tmpdir(), 'sgw-'));
  onTestFinished(async () => rm(home, { recursive: true }));
  const calls: number[] = [];
  const disposed: number[] = [];
  let count = 0;
  const api = await daemonFirst(async () => {
    const number = count++;
    const holder = {
      call: async () => {
        calls.push(number);
        const failure = failures[number];
        return failure === undefined ? Promise.resolve({ number }) : Promise.reject(failure);
      },
      [Symbol.asyncDispose]: async () => {
        disposed.push(number);
        return Promise.resolve();
      },
    };
    return Promise.resolve(holder as unknown as LocalApi);
  })({ home, lockTimeoutMs: 1000 });
  return { api, calls, disposed };
}

const call = async (api: LocalApi): Promise<unknown> =>
  await api.call('volume.list', {}, { signal, onProgress: () => undefined, lockTimeoutMs: 1000 });

it('a call that was not begun, since the daemon stops, goes to who holds the home next', async () => {
  const { api, calls, disposed } = await open([notBegun(stopping), notBegun(stopping)]);
  expect(await Promise.all([call(api), call(api)])).toEqual([{ number: 2 }, { number: 2 }]);
  expect(calls).toEqual([0, 0, 1, 1, 2, 2]);
  await api[Symbol.asyncDispose]();
  expect(disposed).toEqual([0, 1, 2]);
});

it('one that was begun is not made again', async () => {
  const { api, calls } = await open([stopping]);
  await expect(call(api)).rejects.toMatchObject({ code: 'gateway-stopping', hint: 'Again.' });
  expect(calls).toEqual([0]);
});
