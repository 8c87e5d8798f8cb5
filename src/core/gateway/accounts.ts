/** The accounts of the service that the gateway belongs to. */
import { SgwError } from '../kit/index.ts';
import type { AccountCreated, AccountList, CallContext, Input } from '../localapi/index.ts';
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
      const present = accounts.find((account) => account.name === name || account.accountId === accountId);
      if (present !== undefined) {
        requireSame(present, name, accountId);
        return { ...present, created: false };
      }
    }
    return await service.operate('account.create', { name, accountId, clientToken }, call);
  });
}

function requireSame(present: AccountList['accounts'][number], name: string, accountId: string | null): void {
  const differing = [
    ...(present.name === name ? [] : ['name']),
    ...(accountId === null || present.accountId === accountId ? [] : ['account id']),
  ];
  if (differing.length === 0) return;
  throw new SgwError(
    'conflict',
    'different-parameters',
    `account "${present.name}" (${present.accountId}) exists with another ${differing.join(', ')}`,
    { hint: 'Choose another name, or ask for what exists.', details: { accountId: present.accountId, differing } },
  );
}

/** The accounts, oldest first. Takes no lock. */
export async function listAccounts(session: Session, call: CallContext): Promise<AccountList> {
  const { accounts } = await session.service.operate('account.list', {}, call);
  return { accounts: [...accounts] };
}
