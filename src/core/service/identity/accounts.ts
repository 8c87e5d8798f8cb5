/** Accounts: who owns volumes and snapshots, and whose blocks are whose. One document each, never changed. */
import { createDocument, readDocument } from '../../blockstore/index.ts';
import { problemOfName, SgwError } from '../../kit/index.ts';
import type { AccountRecord } from '../../protocol/index.ts';
import { timeOf, type ServiceContext } from '../context.ts';
import { serviceKeys } from '../keys.ts';

/** The account of who names none. */
const DEFAULT_ACCOUNT_ID = '000000000001';
const DEFAULT_ACCOUNT_NAME = 'default';
const TRIES = 16;

interface StoredAccount extends AccountRecord {
  readonly clientToken: string | null;
}

const isAccountId = (text: string): boolean => /^\d{12}$/.test(text);

export class Accounts {
  readonly #context: ServiceContext;

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  /**
   * Makes an account; with a client token that was used already, the one that it made. Durable when it resolves.
   * @throws conflict `account-exists`, `client-token-reused`; invalid `bad-account-id`, `bad-name`
   */
  async create(
    wanted: { readonly name: string; readonly accountId: string | null; readonly clientToken: string | null },
    signal: AbortSignal,
  ): Promise<AccountRecord & { readonly created: boolean }> {
    const { name, accountId, clientToken } = wanted;
    checkName(name);
    if (accountId !== null && !isAccountId(accountId)) throw badId(accountId);
    const present = await this.#read(signal);
    const made = clientToken === null ? undefined : present.find((account) => account.clientToken === clientToken);
    if (made !== undefined) {
      if (made.name !== name || (accountId !== null && made.accountId !== accountId)) throw tokenReused(made);
      return { ...recordOf(made), created: false };
    }
    if (present.some((account) => account.name === name)) throw exists(`named "${name}"`, { name });
    const record = await this.#store(name, accountId, clientToken, signal);
    return { ...record, created: true };
  }

  /** Oldest first. */
  async list(signal: AbortSignal): Promise<AccountRecord[]> {
    return (await this.#read(signal)).map(recordOf);
  }

  /** @throws notFound `account-not-found` */
  async find(accountId: string, signal: AbortSignal): Promise<AccountRecord> {
    const { blocks } = this.#context;
    const stored = isAccountId(accountId)
      ? await readDocument<StoredAccount>(blocks, serviceKeys.account(accountId), signal)
      : undefined;
    if (stored !== undefined) return recordOf(stored.value);
    throw new SgwError('notFound', 'account-not-found', `there is no account ${accountId.slice(0, 12)} in this store`, {
      hint: '`sgw service account list` shows those that there are; `sgw service account create` makes one.',
      details: { accountId: accountId.slice(0, 12) },
    });
  }

  /**
   * The account that a gateway is to belong to. Made if it is the default one, or the first of the store, or one that a
   * gateway belonged to before there were accounts (`isKnown`).
   * @throws notFound `account-not-found`
   */
  async begin(accountId: string, isKnown: boolean, signal: AbortSignal): Promise<AccountRecord> {
    if (!isAccountId(accountId)) throw badId(accountId);
    const isDefault = accountId === DEFAULT_ACCOUNT_ID;
    const present = await readDocument<StoredAccount>(this.#context.blocks, serviceKeys.account(accountId), signal);
    if (present !== undefined) return recordOf(present.value);
    if (!isDefault && !isKnown && (await this.#read(signal)).length > 0) return await this.find(accountId, signal);
    const name = isDefault ? DEFAULT_ACCOUNT_NAME : `account-${accountId}`;
    const record = { accountId, name, createdAt: timeOf(this.#context) };
    const wasMade = await this.#put(record, null, signal);
    return wasMade ? record : await this.find(accountId, signal);
  }

  async #store(
    name: string,
    wantedId: string | null,
    clientToken: string | null,
    signal: AbortSignal,
  ): Promise<AccountRecord> {
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const accountId = wantedId ?? this.#newId();
      const record = { accountId, name, createdAt: timeOf(this.#context) };
      if (await this.#put(record, clientToken, signal)) return record;
      if (wantedId !== null) throw exists(accountId, { accountId });
    }
    throw new SgwError('conflict', 'account-exists', 'every account id that was tried is taken', {
      hint: 'Try again.',
    });
  }

  async #put(record: AccountRecord, clientToken: string | null, signal: AbortSignal): Promise<boolean> {
    const stored: StoredAccount = { ...record, clientToken };
    const { blocks, accountKeys } = this.#context;
    if (accountKeys !== undefined) {
      // One that was there already does not get another key, should it have lost its own.
      const present = await readDocument<StoredAccount>(blocks, serviceKeys.account(record.accountId), signal);
      if (present !== undefined) return false;
      await accountKeys.makeAccountKey(record.accountId, signal);
    }
    return await createDocument(this.#context.blocks, serviceKeys.account(record.accountId), stored, signal);
  }

  /** 12 digits, the first not zero. */
  #newId(): string {
    const { random } = this.#context.blocks;
    const number = random.bytes(6).readUIntBE(0, 6) % 900_000_000_000;
    return String(100_000_000_000 + number);
  }

  async #read(signal: AbortSignal): Promise<StoredAccount[]> {
    const { blocks } = this.#context;
    const accounts: StoredAccount[] = [];
    for await (const { key } of blocks.objects.list(serviceKeys.accounts, { signal })) {
      const stored = await readDocument<StoredAccount>(blocks, key, signal);
      if (stored !== undefined) accounts.push(stored.value);
    }
    return accounts.sort((a, b) => (a.createdAt + a.accountId < b.createdAt + b.accountId ? -1 : 1));
  }
}

const recordOf = ({ accountId, name, createdAt }: StoredAccount): AccountRecord => ({ accountId, name, createdAt });

function checkName(name: string): void {
  const problem = problemOfName(name);
  if (problem === undefined) return;
  throw new SgwError('invalid', 'bad-name', `the name for an account ${problem}`, { details: {} });
}

function badId(accountId: string): SgwError {
  return new SgwError('invalid', 'bad-account-id', `"${accountId.slice(0, 32)}" is not an account`, {
    hint: 'An account id has 12 digits.',
  });
}

function exists(which: string, details: Readonly<Record<string, string>>): SgwError {
  return new SgwError('conflict', 'account-exists', `an account ${which} exists already`, {
    hint: 'Choose another one, or add --if-not-exists to take the existing account.',
    details,
  });
}

function tokenReused(made: AccountRecord): SgwError {
  return new SgwError('conflict', 'client-token-reused', `the client token was used for account "${made.name}"`, {
    hint: 'Use a new token for a new request.',
    details: { name: made.name },
  });
}
