/** What "if it does not exist" means for accounts, wherever they are asked for. */
import { SgwError } from '../kit/index.ts';
import type { Input } from './operations.ts';
import type { AccountList } from './schemas.ts';

/**
 * The account that is there already, of the name or the id that is asked for; undefined: none is.
 * @throws conflict `different-parameters` where its name or id is another than that asked for
 */
export function accountThere(
  accounts: readonly AccountList['accounts'][number][],
  input: Input<'service.account.create'>,
): AccountList['accounts'][number] | undefined {
  const { name, accountId } = input;
  const present = accounts.find((account) => account.name === name || account.accountId === accountId);
  if (present === undefined) return undefined;
  const differing = [
    ...(present.name === name ? [] : ['name']),
    ...(accountId === undefined || present.accountId === accountId ? [] : ['account id']),
  ];
  if (differing.length === 0) return present;
  throw new SgwError(
    'conflict',
    'different-parameters',
    `account "${present.name}" (${present.accountId}) exists with another ${differing.join(', ')}`,
    { hint: 'Choose another name, or ask for what exists.', details: { accountId: present.accountId, differing } },
  );
}
