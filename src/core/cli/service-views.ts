/** How accounts, sharing and the end of a gateway look to people. */
import type { AccountCreated, AccountList, DeactivationDocument, SnapshotSharing } from '../localapi/index.ts';
import type { Style } from './style.ts';
import { formatTime, renderFields, renderTable, withRemarks } from './tables.ts';

/** One account, as `service account create` answers. */
export const accountFields = (account: AccountCreated, style: Style): string =>
  renderFields(
    [
      ['account', account.accountId],
      ['name', account.name],
      ['created', `${formatTime(account.createdAt)} UTC${account.created ? '' : ', before'}`],
    ],
    style,
  );

/** The accounts of the service. */
export async function accountTable({ accounts }: AccountList, style: Style, columns: number): Promise<string> {
  if (accounts.length === 0) return 'There are no accounts.';
  return await renderTable(
    accounts,
    [
      { head: 'ID', value: (account) => account.accountId },
      { head: 'NAME', value: (account) => account.name, isCut: true },
      { head: 'CREATED (UTC)', value: (account) => formatTime(account.createdAt) },
    ],
    style,
    columns,
  );
}

/** With whom a snapshot is shared now. */
export const sharingFields = (result: SnapshotSharing, style: Style): string =>
  renderFields(
    [
      ['snapshot', `${result.name} (${result.snapshotId})`],
      ['shared with', grantsText(result.grants) ?? 'nobody'],
      ['changed', result.changed ? 'yes' : 'no, it was so already'],
    ],
    style,
  );

/** `000000000002 (by 000000000001)`, or null when there is no grant. */
export const grantsText = (grants: SnapshotSharing['grants']): string | null =>
  grants.map((grant) => `${grant.accountId} (by ${grant.by})`).join(', ') || null;

/** What `deactivate` left. */
export const deactivationFields = (result: DeactivationDocument, style: Style): string =>
  withRemarks(
    renderFields(
      [
        ['deactivated', `${result.name} (${result.gatewayId})`],
        ['home', result.home],
        ['store, kept', result.store],
      ],
      style,
    ),
    result.remarks,
    style,
  );
