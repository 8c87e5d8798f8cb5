/** The account that runs the service. Which one it is, is decided once, by whoever starts the service first. */
import { createDocument, readDocument } from '../../blockstore/index.ts';
import { SgwError } from '../../kit/index.ts';
import type { ServiceContext } from '../context.ts';
import { timeOf } from '../context.ts';
import { serviceKeys } from '../keys.ts';
import type { Accounts } from './accounts.ts';

const ROOT_NAME = 'root';

interface StoredRoot {
  readonly accountId: string;
  readonly createdAt: string;
}

export class RootAccount {
  readonly #context: ServiceContext;
  readonly #accounts: Accounts;
  #accountId: string | undefined;

  constructor(context: ServiceContext, accounts: Accounts) {
    this.#context = context;
    this.#accounts = accounts;
  }

  /**
   * The root account, made where there is none: `isNew` for the one server that made it. Durable when it resolves.
   * A death between its two documents leaves an account named `root`, which the next start takes.
   */
  async begin(signal: AbortSignal): Promise<{ readonly accountId: string; readonly isNew: boolean }> {
    const present = await this.#read(signal);
    if (present !== undefined) return { accountId: present, isNew: false };
    const { accountId } = await this.#account(signal);
    const root: StoredRoot = { accountId, createdAt: timeOf(this.#context) };
    const isNew = await createDocument(this.#context.blocks, serviceKeys.root, root, signal);
    return { accountId: await this.accountId(signal), isNew };
  }

  /** @throws conflict `service-not-begun` */
  async accountId(signal: AbortSignal): Promise<string> {
    const accountId = this.#accountId ?? (await this.#read(signal));
    if (accountId !== undefined) return accountId;
    throw new SgwError('conflict', 'service-not-begun', 'the service has no root account yet', {
      hint: 'Start it: sgw service run',
    });
  }

  async #read(signal: AbortSignal): Promise<string | undefined> {
    this.#accountId ??= (await readDocument<StoredRoot>(this.#context.blocks, serviceKeys.root, signal))?.value
      .accountId;
    return this.#accountId;
  }

  async #account(signal: AbortSignal): Promise<{ readonly accountId: string }> {
    const named = (await this.#accounts.list(signal)).find(({ name }) => name === ROOT_NAME);
    return named ?? (await this.#accounts.create({ name: ROOT_NAME, accountId: null, clientToken: null }, signal));
  }
}
