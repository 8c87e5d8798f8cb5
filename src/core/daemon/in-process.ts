/**
 * Opens a home's gateway in the caller's process, behind the same handlers that a daemon serves. Opening reads nothing;
 * each operation opens what it needs, and disposing closes it.
 */
import { createHandlers } from '../control/index.ts';
import { Gateway } from '../gateway/index.ts';
import { SgwError } from '../kit/index.ts';
import type { LocalApi } from '../localapi/index.ts';
import { partsOf } from './parts.ts';

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
  const gateway = new Gateway(await partsOf(home, accountId));
  const handlers = createHandlers(gateway);
  return {
    call: async (name, input, context) => await handlers[name](input, context),
    [Symbol.asyncDispose]: async () => {
      await gateway.close();
    },
  };
}
