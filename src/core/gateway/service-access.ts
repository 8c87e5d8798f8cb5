/**
 * How a gateway asks the service: in requests that it signs with its own key, or as the operator of its home. Nothing is
 * opened before the first question; a home of before there was a service is enrolled then, without a word.
 */
import type { BlockStoreOptions } from '../blockstore/index.ts';
import type { CallContext } from '../localapi/index.ts';
import type {
  MessageInput,
  MessageName,
  MessageResult,
  PrivateKey,
  ServiceConnections,
  SignedBody,
  SignedMessageName,
} from '../protocol/index.ts';
import type { GatewayState } from '../state/index.ts';
import type { RemoteService } from './network/remote-service.ts';
import type { GatewayParts } from './parts.ts';

interface Identity {
  readonly key: PrivateKey;
  readonly gatewayId: string;
  readonly credentialId: string;
}

/** Messages that an operator sends. */
export type OperatorMessageName = Exclude<MessageName, SignedMessageName | 'activation.register'>;

/** What the work of a session asks the service. */
export interface Service {
  /** Sends a request that this gateway signs. @throws what the service refuses with; corrupt `identity-missing` */
  ask<N extends SignedMessageName>(
    name: N,
    body: SignedBody<N>,
    call: Pick<CallContext, 'signal' | 'lockTimeoutMs'>,
  ): Promise<MessageResult<N>>;
  /** Sends a request as the operator of the home. */
  operate<N extends OperatorMessageName>(
    name: N,
    input: MessageInput<N>,
    call: Pick<CallContext, 'signal'>,
  ): Promise<MessageResult<N>>;
}

export class ServiceAccess implements Service {
  readonly #parts: GatewayParts;
  readonly #record: GatewayState;
  readonly #open: () => Promise<ServiceConnections>;
  readonly #isRemote: boolean;
  #connections: Promise<ServiceConnections> | undefined;
  #identity: Promise<Identity> | undefined;

  /** `remote`: the service that the gateway was activated at over the network; without it, that of the store. */
  constructor(parts: GatewayParts, blocks: BlockStoreOptions, record: GatewayState, remote?: RemoteService) {
    this.#parts = parts;
    this.#record = record;
    this.#isRemote = remote !== undefined;
    this.#open = async () => remote?.connections ?? parts.openService(blocks, record.storeId);
  }

  async ask<N extends SignedMessageName>(
    name: N,
    body: SignedBody<N>,
    call: Pick<CallContext, 'signal' | 'lockTimeoutMs'>,
  ): Promise<MessageResult<N>> {
    this.#identity ??= this.#openIdentity(call).catch((error: unknown) => {
      this.#identity = undefined;
      throw error;
    });
    const { key, gatewayId, credentialId } = await this.#identity;
    const { serviceId, gateway } = await this.connections();
    const { signRequest } = await import('../protocol/index.ts');
    const { clock, random } = this.#parts;
    const { signal } = call;
    const send = async (): Promise<MessageResult<N>> => {
      const request = signRequest({ key, signer: gatewayId, credentialId, serviceId, clock, random }, name, body);
      return await gateway.request(name, request as unknown as MessageInput<N>, { signal });
    };
    if (!this.#isRemote) return await send();
    const { persist } = await import('./network/reach.ts');
    return await persist(this.#parts, signal, send);
  }

  async operate<N extends OperatorMessageName>(
    name: N,
    input: MessageInput<N>,
    call: Pick<CallContext, 'signal'>,
  ): Promise<MessageResult<N>> {
    return await (await this.connections()).operator.request(name, input, { signal: call.signal });
  }

  async connections(): Promise<ServiceConnections> {
    this.#connections ??= this.#open();
    return await this.#connections;
  }

  async #openIdentity(call: Pick<CallContext, 'signal' | 'lockTimeoutMs'>): Promise<Identity> {
    const { requirePrivateKey } = await import('./key-file.ts');
    let { credential } = this.#record;
    if (credential === null) {
      const { enrolOlderHome } = await import('./handshake.ts');
      credential = await enrolOlderHome(this.#parts, this.#record, await this.connections(), call);
    }
    const { gatewayId } = this.#record;
    const key = await requirePrivateKey(this.#parts.home, gatewayId);
    return { key, gatewayId, credentialId: credential.credentialId };
  }
}
