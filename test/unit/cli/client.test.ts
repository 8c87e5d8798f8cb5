import { describe, expect, it } from 'vitest';
import { GatewayClient } from '../../../src/core/client/index.ts';
import { SgwError } from '../../../src/core/kit/index.ts';
import type { CallContext, LocalApi } from '../../../src/core/localapi/index.ts';

const signal = new AbortController().signal;

function clientOf(call: (context: CallContext) => Promise<never>): {
  client: GatewayClient;
  counts: { opened: number; closed: number };
} {
  const counts = { opened: 0, closed: 0 };
  const api: LocalApi = {
    call: async (_name, _input, context) => call(context),
    [Symbol.asyncDispose]: async () => {
      counts.closed++;
    },
  };
  const client = new GatewayClient({ home: '/h', lockTimeoutMs: 5 }, async () => {
    counts.opened++;
    return api;
  });
  return { client, counts };
}

const untilAborted = async (context: CallContext): Promise<never> =>
  new Promise((_resolve, reject) => {
    context.signal.addEventListener('abort', () => {
      reject(new DOMException('stopped', 'AbortError'));
    });
  });

describe('a client of the gateway', () => {
  it('opens on the first call, once, and closes once', async () => {
    const { client, counts } = clientOf(async () => {
      throw new SgwError('conflict', 'x', 'x');
    });
    expect(counts.opened).toBe(0);
    for (let round = 0; round < 2; round++)
      await expect(client.call('status', {}, { signal })).rejects.toMatchObject({ code: 'x' });
    await client.close();
    await client.close();
    expect(counts).toEqual({ opened: 1, closed: 1 });
    await expect(client.call('status', {}, { signal })).rejects.toMatchObject({ code: 'client-closed' });
  });

  it('closes nothing that it did not open', async () => {
    const { client, counts } = clientOf(untilAborted);
    await client.close();
    expect(counts).toEqual({ opened: 0, closed: 0 });
  });

  it('a deadline ends a call with kind timeout, however deep it is noticed', async () => {
    const { client } = clientOf(untilAborted);
    await expect(client.call('status', {}, { signal, timeoutMs: 5 })).rejects.toMatchObject({
      kind: 'timeout',
      code: 'deadline-passed',
    });
  });

  it("the caller's wish to stop is reported with its reason", async () => {
    const { client } = clientOf(untilAborted);
    const controller = new AbortController();
    const call = client.call('status', {}, { signal: controller.signal, timeoutMs: 60_000 });
    controller.abort(new SgwError('aborted', 'interrupted', 'interrupted by SIGINT'));
    await expect(call).rejects.toMatchObject({ code: 'interrupted' });
  });

  it('an unknown error is a bug', async () => {
    const { client } = clientOf(async () => {
      throw new TypeError('oops');
    });
    await expect(client.call('status', {}, { signal })).rejects.toMatchObject({ kind: 'internal' });
  });
});
