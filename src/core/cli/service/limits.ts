/** The limits of accounts, as people give and see them. */
import { Flags, type Interfaces } from '@oclif/core';
import { formatSize, parseSize, quoted, SgwError } from '../../kit/index.ts';
import type { AccountConfigured, AccountDocument } from '../../localapi/index.ts';
import type { MessageInput, ServiceClient } from '../../serviceclient/index.ts';
import type { Session } from '../session.ts';
import type { Style } from '../style.ts';
import { formatTime, renderFields, renderTable } from '../tables.ts';
import { given } from '../values.ts';
import { accountOf, asking } from './calls.ts';

type Limits = MessageInput<'account.limit'>['limits'];

const NONE = 'none';

function parseCount(text: string, what: string): number {
  const count = /^\d{1,12}$/.test(text.trim()) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(count)) return count;
  throw new SgwError('invalid', 'bad-limit', `${what} ${quoted(text)} is no number`, {
    hint: 'Give a whole number, or "none" for no limit.',
    details: { value: text },
  });
}

/** The value is wrapped, so that no limit is told from no flag. */
const limitFlag = (
  description: string,
  helpValue: string,
  parse: (text: string, what: string) => number,
): Interfaces.OptionFlag<{ readonly value: number | null } | undefined> =>
  Flags.custom<{ readonly value: number | null }>({
    description: `${description} none: no limit.`,
    helpValue,
    parse: async (text, _context, flag) =>
      Promise.resolve({ value: text.trim() === NONE ? null : parse(text, `--${flag.name}`) }),
  })();

export const limitFlags = {
  'max-volumes': limitFlag('Volumes that are not deleted, of gateways and of the block API.', 'N', parseCount),
  'max-volume-bytes': limitFlag('Sizes of these volumes together.', 'SIZE', parseSize),
  'max-snapshots': limitFlag('Snapshots that are not deleted.', 'N', parseCount),
  'max-gateways': limitFlag('Gateways that are registered, or claimed within a day.', 'N', parseCount),
  'max-keys': limitFlag('Access keys that are not revoked.', 'N', parseCount),
};

/** Those that are given. */
export function limitsIn(flags: Interfaces.InferredFlags<typeof limitFlags>): Limits {
  return given({
    volumes: flags['max-volumes']?.value,
    volumeBytes: flags['max-volume-bytes']?.value,
    snapshots: flags['max-snapshots']?.value,
    gateways: flags['max-gateways']?.value,
    keys: flags['max-keys']?.value,
  });
}

/** An account, by its id; root also names it. Undefined: that of the access key. @throws notFound `account-not-found` */
async function idOf(session: Session, client: ServiceClient, reference: string | undefined): Promise<string> {
  if (reference === undefined) return await accountOf(session, client);
  if (/^\d{12}$/.test(reference)) return reference;
  const { accounts } = await client.request('account.list', {}, session);
  const named = accounts.find(({ name }) => name === reference);
  if (named !== undefined) return named.accountId;
  throw new SgwError('notFound', 'account-not-found', `account ${quoted(reference)} does not exist`, {
    hint: 'sgw service account list shows those that there are.',
    details: { id: reference },
  });
}

/** @throws notFound `account-not-found`, also of another's account; denied `root-needed` where it is named by root alone */
export async function showAccount(session: Session, reference: string | undefined): Promise<AccountDocument> {
  return await asking(session, async (client) => {
    const accountId = await idOf(session, client, reference);
    return await client.request('account.quotas', { accountId }, session);
  });
}

/** @throws denied `root-needed`; notFound `account-not-found`; invalid `root-unlimited` */
export async function limitAccount(session: Session, reference: string, limits: Limits): Promise<AccountConfigured> {
  return await asking(session, async (client) => {
    const accountId = await idOf(session, client, reference);
    const { changed, ...account } = await client.request('account.limit', { accountId, limits }, session);
    return { ...account, changedLimits: [...changed] };
  });
}

const ROWS = [
  ['volumes', 'volumes', String],
  ['volumeBytes', 'sizes of volumes', formatSize],
  ['snapshots', 'snapshots', String],
  ['gateways', 'gateways', String],
  ['keys', 'access keys', String],
] as const;

/** What an account has, and may have. */
export async function accountText(
  { accountId, name, createdAt, limits, usage }: AccountDocument,
  style: Style,
  columns: number,
): Promise<string> {
  const fields = renderFields(
    [
      ['account', accountId],
      ['name', name],
      ['created', `${formatTime(createdAt)} UTC`],
    ],
    style,
  );
  const table = await renderTable(
    ROWS,
    [
      { head: 'OF', value: ([, what]) => what },
      { head: 'HAS', value: ([limit, , text]) => text(usage[limit]) },
      {
        head: 'AT MOST',
        value: ([limit, , text]) => {
          const most = limits[limit];
          return most === null ? 'any' : text(most);
        },
      },
    ],
    style,
    columns,
  );
  return `${fields}\n\n${table}`;
}
