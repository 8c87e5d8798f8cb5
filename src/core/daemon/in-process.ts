/**
 * Opens a home's gateway in the caller's process, behind the same handlers that a daemon serves. Opening reads nothing;
 * each operation opens what it needs, and disposing closes it.
 */
import { createHandlers, createReadHandlers } from '../control/index.ts';
import { Gateway, needsGateway, StoreReader } from '../gateway/index.ts';
import { SgwError } from '../kit/index.ts';
import type { Handlers, LocalApi } from '../localapi/index.ts';
import { partsOf } from './parts.ts';

export interface InProcessOptions {
  /** Absolute path of the home directory. */
  readonly home: string;
  /** The account to act for, 12 digits, and to activate the home for; the home's own when absent. */
  readonly accountId?: string;
  /** A directory or the URL of a bucket: that store is read, and the home is not looked at. */
  readonly store?: string;
}

/** @throws invalid `bad-account-id` */
export async function openInProcess(options: InProcessOptions): Promise<LocalApi> {
  const { home, accountId, store } = options;
  if (accountId !== undefined && !/^\d{12}$/.test(accountId)) {
    throw new SgwError('invalid', 'bad-account-id', `"${accountId}" is not an account`, {
      hint: 'An account id has 12 digits.',
      details: { accountId },
    });
  }
  const parts = await partsOf(home, accountId);
  if (store !== undefined) return readingApi(new StoreReader(parts, store));
  const gateway = new Gateway(parts);
  const handlers = createHandlers(gateway);
  return {
    call: async (name, input, context) => await handlers[name](input, context),
    [Symbol.asyncDispose]: async () => {
      await gateway.close();
    },
  };
}

/** What a store alone answers. */
function readingApi(reader: StoreReader): LocalApi {
  const handlers: Partial<Handlers> = createReadHandlers(reader);
  return {
    call: async (name, input, context) => {
      const handler = handlers[name];
      if (handler === undefined) throw needsGateway(name.replace('.', ' '));
      return await handler(input, context);
    },
    [Symbol.asyncDispose]: async () => {
      await reader.close();
    },
  };
}
