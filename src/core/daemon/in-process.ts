/**
 * Opens a home's gateway in the caller's process, behind the same handlers that a daemon serves. Opening reads nothing;
 * each operation opens what it needs, and disposing closes it.
 */
import { readFile } from 'node:fs/promises';
import { FramePool } from '../blockstore/index.ts';
import { createHandlers } from '../control/index.ts';
import { Gateway } from '../gateway/index.ts';
import { SgwError, systemClock, systemRandom } from '../kit/index.ts';
import type { LocalApi } from '../localapi/index.ts';
import { openObjectStore, withRetry } from '../objectstore/index.ts';

export interface InProcessOptions {
  /** Absolute path of the home directory. */
  readonly home: string;
  /** The account to act for, 12 digits, and to activate the home for; the home's own when absent. */
  readonly accountId?: string;
}

/** @throws invalid `bad-account-id` */
export async function openInProcess(options: InProcessOptions): Promise<LocalApi> {
  const { home, accountId } = options;
  if (accountId !== undefined && !/^\d{12}$/.test(accountId)) {
    throw new SgwError('invalid', 'bad-account-id', `"${accountId}" is not an account`, {
      hint: 'An account id has 12 digits.',
      details: { accountId },
    });
  }
  const gateway = new Gateway({
    home,
    version: await readVersion(),
    clock: systemClock,
    random: systemRandom,
    openStore: async (description, how) =>
      withRetry(await openObjectStore(description, how), { clock: systemClock, random: systemRandom }),
    openService: async (blocks, serviceId) => {
      const { openService } = await import('../service/index.ts');
      return openService({ blocks, serviceId, isEmbedded: true });
    },
    openPool: () => new FramePool(),
    ...(accountId === undefined ? {} : { accountId }),
  });
  const handlers = createHandlers(gateway);
  return {
    call: async (name, input, context) => await handlers[name](input, context),
    [Symbol.asyncDispose]: async () => {
      await gateway.close();
    },
  };
}

/** From package.json, which lies at the same distance from the sources as from what is built of them. */
async function readVersion(): Promise<string> {
  const text = await readFile(new URL('../../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
