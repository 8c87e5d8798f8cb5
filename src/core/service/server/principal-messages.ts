/**
 * The messages of room `protocol` as they come over the network: first whether this sender may send that, in that form, then
 * whether what it names is the sender's, then the answer.
 */
import Value from 'typebox/value';
import { SgwError, toSgwError } from '../../kit/index.ts';
import type { MessageInput, MessageName, MessageResult } from '../../protocol/index.ts';
import { answersOf, type Answers, type NetworkParts, type ServiceParts } from '../answers.ts';
import type { Audit } from '../audit/audit.ts';
import { authorize, notFoundResource } from '../identity/authorization.ts';
import type { GatewayPrincipal, User } from '../identity/principal.ts';
import { recordAdministration } from './administration.ts';
import type { PrincipalMessages } from './front-end.ts';
import { ruleOf, type Sender } from './message-rules.ts';

type Right<N extends MessageName> = (user: User, input: MessageInput<N>, signal: AbortSignal) => Promise<void> | void;

export class NetworkMessages implements PrincipalMessages {
  readonly #answers: Answers;
  readonly #rights: { readonly [N in MessageName]?: Right<N> };
  readonly #audit: Audit;

  constructor(parts: ServiceParts, network: NetworkParts) {
    this.#answers = answersOf(parts, network);
    this.#rights = rightsOf(parts, network);
    this.#audit = parts.audit;
  }

  async asUser<N extends MessageName>(
    user: User,
    name: N,
    input: MessageInput<N>,
    signal: AbortSignal,
  ): Promise<MessageResult<N>> {
    requireRule('user', name, input);
    const right = this.#rights[name];
    if (right === undefined) throw refused(name, 'user');
    await this.#decide(user, { name, input, right }, signal);
    if (name === 'user.describe') {
      const { accountId, accessKeyId, isRoot } = user;
      return { accountId, accessKeyId, isRoot } as MessageResult<N>;
    }
    return await this.#answers[name](input, signal);
  }

  /** What it comes to is in the audit before anything is done. @throws what `right` throws */
  async #decide<N extends MessageName>(
    user: User,
    { name, input, right }: { readonly name: N; readonly input: MessageInput<N>; readonly right: Right<N> },
    signal: AbortSignal,
  ): Promise<void> {
    let refusal: SgwError | undefined;
    try {
      await right(user, input, signal);
    } catch (error) {
      refusal = toSgwError(error);
      // Nothing was decided where the store does not answer.
      if (refusal.kind !== 'denied' && refusal.kind !== 'notFound') throw refusal;
    }
    const granted = refusal === undefined;
    await recordAdministration(this.#audit, user, { name, input, granted }, signal);
    if (refusal !== undefined) throw refusal;
  }

  /** By whoever holds the private key that the message is signed with. @throws as `asUser` */
  async asDevice(name: string, input: unknown, signal: AbortSignal): Promise<unknown> {
    requireRule('device', name, input);
    return await this.#answer(name, input, signal);
  }

  /** By a gateway over its connection; it speaks for itself alone. @throws as `asUser`; denied `signer-differs` */
  async asGateway(gateway: GatewayPrincipal, name: string, input: unknown, signal: AbortSignal): Promise<unknown> {
    requireRule('gateway', name, input);
    const { signer } = input as { readonly signer?: unknown };
    if (signer !== undefined && signer !== gateway.gatewayId) {
      const message = `the message is not signed by gateway ${gateway.gatewayId}, whose connection it came over`;
      throw new SgwError('denied', 'signer-differs', message);
    }
    return await this.#answer(name, input, signal);
  }

  async #answer(name: string, input: unknown, signal: AbortSignal): Promise<unknown> {
    const answer = this.#answers[name as MessageName] as (input: unknown, signal: AbortSignal) => Promise<unknown>;
    return await answer(input, signal);
  }
}

/** @throws denied `message-refused`; invalid `bad-message` */
function requireRule(sender: Sender, name: string, input: unknown): void {
  const rule = ruleOf(name);
  if (rule?.from.includes(sender) !== true) throw refused(name, sender);
  if (Value.Check(rule.input, input)) return;
  throw new SgwError(
    'invalid',
    'bad-message',
    `the service does not understand the request: ${name} is not in its form`,
    {
      hint: 'sgw may be of another version than the service.',
    },
  );
}

const anybody = (): void => undefined;

/** What a user may do; what is missing here, none may. */
function rightsOf(
  { accounts, gateways }: ServiceParts,
  { keys }: NetworkParts,
): { readonly [N in MessageName]?: Right<N> } {
  const ofGateway = async (user: User, { gatewayId }: { gatewayId: string }, signal: AbortSignal): Promise<void> => {
    const accountId = (await gateways.find(gatewayId, signal))?.accountId ?? null;
    // Also for root: one that is not there is told to be so, and not removed without a word.
    if (accountId === null) throw notFoundResource({ kind: 'gateway', id: gatewayId });
    authorize(user, 'administer', { kind: 'gateway', id: gatewayId, accountId });
  };
  const ofAccount = (user: User, accountId: string): void => {
    authorize(user, 'administer', { kind: 'account', id: accountId, accountId });
  };
  /** Where messages of its gateways go is the account's own matter, not that of whoever runs the service. */
  const ofItsAccount = (user: User, { accountId }: { accountId: string }): void => {
    authorize(user, 'use', { kind: 'account', id: accountId, accountId });
  };
  const ofAccounts = (user: User, { accountId }: { accountId: string | null }): void => {
    if (accountId === null) requireRoot(user);
    else ofAccount(user, accountId);
  };
  return {
    'service.describe': anybody,
    'user.describe': anybody,
    // Whoever has the key may look: it names no account yet.
    'activation.describe': anybody,
    'activation.claim': (user, { accountId, gatewayId }) => {
      ofAccount(user, accountId);
      // Else one could try which ids there are.
      if (gatewayId !== null) throw new SgwError('invalid', 'bad-message', 'the service chooses the id of a gateway');
    },
    'gateway.list': ofAccounts,
    'gateway.find': ofGateway,
    'gateway.configure': ofGateway,
    'gateway.settings': ofGateway,
    'gateway.remove': ofGateway,
    'key.create': async (user, { accountId }, signal) => {
      ofAccount(user, accountId);
      await accounts.find(accountId, signal);
    },
    'key.list': ofAccounts,
    'key.revoke': async (user, { accessKeyId }, signal) => {
      const accountId = (await keys.find(accessKeyId, signal))?.accountId ?? null;
      if (accountId === null) throw notFoundResource({ kind: 'key', id: accessKeyId });
      authorize(user, 'administer', { kind: 'key', id: accessKeyId, accountId });
    },
    'alert.set': ofItsAccount,
    'alert.list': ofItsAccount,
    'alert.remove': ofItsAccount,
    'account.create': requireRoot,
    'account.list': requireRoot,
    'account.quotas': (user, { accountId }) => {
      ofAccount(user, accountId);
    },
    'account.limit': requireRoot,
    'account.find': (user, { accountId }) => {
      ofAccount(user, accountId);
    },
  };
}

/** @throws denied `root-needed` */
function requireRoot(user: User): void {
  if (user.isRoot) return;
  throw new SgwError('denied', 'root-needed', 'only the account that runs the service may do this', {
    hint: 'Ask whoever runs the service.',
  });
}

function refused(name: string, sender: Sender): SgwError {
  return new SgwError('denied', 'message-refused', `${name.slice(0, 64)} is not for a ${sender} to send`);
}
