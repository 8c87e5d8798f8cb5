/** The accounts of the service that the gateway belongs to. */
import {
  accountThere,
  type AccountCreated,
  type AccountList,
  type CallContext,
  type Input,
} from '../localapi/index.ts';
import type { Session } from './session.ts';

/**
 * Makes an account. Durable in the store when it resolves.
 * @throws conflict `account-exists`, `different-parameters`, `client-token-reused`
 */
export async function createAccount(
  session: Session,
  input: Input<'service.account.create'>,
  call: CallContext,
): Promise<AccountCreated> {
  const { service, locks } = session;
  const { name, accountId = null, clientToken = null } = input;
  return await locks.withNames('accounts', call, async () => {
    if (input.ifNotExists === true && clientToken === null) {
      const { accounts } = await service.operate('account.list', {}, call);
      const present = accountThere(accounts, input);
      if (present !== undefined) return { ...present, created: false };
    }
    return await service.operate('account.create', { name, accountId, clientToken }, call);
  });
}

/** The accounts, oldest first. Takes no lock. */
export async function listAccounts(session: Session, call: CallContext): Promise<AccountList> {
  const { accounts } = await session.service.operate('account.list', {}, call);
  return { accounts: [...accounts] };
}
