/**
 * The service of a gateway that was activated over the network and has a store of its own, which the service does not see.
 * What leaves that store is judged here, and advisory (docs/adr/0010-embedded-service.md): its accounts are all the user's.
 */
import { SgwError } from '../../kit/index.ts';
import type { CallContext } from '../../localapi/index.ts';
import type {
  MessageInput,
  MessageResult,
  ServiceConnections,
  SignedBody,
  SignedMessageName,
} from '../../protocol/index.ts';
import { ReaderService } from '../reading/reader-service.ts';
import type { OperatorMessageName, Service } from '../service-access.ts';

type Call = Pick<CallContext, 'signal' | 'lockTimeoutMs'>;

export class OwnStoreService implements Service {
  readonly #remote: Service;
  readonly #store: ReaderService;

  /** `openStore`: the service of the store itself. */
  constructor(remote: Service, openStore: () => Promise<ServiceConnections>) {
    this.#remote = remote;
    this.#store = new ReaderService(openStore);
  }

  async ask<N extends SignedMessageName>(name: N, body: SignedBody<N>, call: Call): Promise<MessageResult<N>> {
    if (name.startsWith('export.')) return await this.#store.ask(name, body, call);
    // The service does not see the volumes of the store, so no group looks after them.
    if (name === 'group.mine' || name === 'group.of-volume') return { group: null } as MessageResult<N>;
    if (name.startsWith('group.')) throw noGroups();
    if (!name.startsWith('snapshot.')) return await this.#remote.ask(name, body, call);
    throw new SgwError('unsupported', 'own-store', 'snapshots in a store of your own are not shared by the service', {
      hint: 'Export the snapshot, or use a gateway with the store of the service.',
    });
  }

  async operate<N extends OperatorMessageName>(
    name: N,
    input: MessageInput<N>,
    call: Pick<CallContext, 'signal'>,
  ): Promise<MessageResult<N>> {
    return await this.#remote.operate(name, input, call);
  }
}

const noGroups = (): SgwError =>
  new SgwError(
    'unsupported',
    'own-store',
    'the service does not see a store of your own, and keeps no groups over it',
    {
      hint: 'Groups are of gateways that have the store of their service, or whose service is embedded.',
    },
  );
