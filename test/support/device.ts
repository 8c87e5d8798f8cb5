/** A device that goes through activation over the network by hand, for tests of what is on the other side. */
import { systemClock, systemRandom } from '../../src/core/kit/index.ts';
import {
  activationIdOf,
  PrivateKey,
  signRequest,
  type MessageInput,
  type MessageName,
  type MessageResult,
  type SignedBody,
  type SignedMessageName,
} from '../../src/core/protocol/index.ts';
import { ServiceClient } from '../../src/core/serviceclient/index.ts';
import type { LiveService } from './live-service.ts';

const { signal } = new AbortController();

export class NetworkDevice {
  readonly key = PrivateKey.make(systemRandom);
  readonly #live: LiveService;
  activationKey = '';

  constructor(live: LiveService) {
    this.#live = live;
  }

  /** Registers, proves, and has a key to show. */
  async show(metadata: Record<string, string> = { name: 'lab', mode: 'cached' }): Promise<string> {
    const { publicKey } = this.key;
    const { challenge } = await this.#send('activation.register', { publicKey, metadata });
    ({ activationKey: this.activationKey } = await this.ask('activation.prove', { challenge, metadata }));
    return this.activationKey;
  }

  /** As the activation, before there is a credential. */
  async ask<N extends SignedMessageName>(message: N, body: SignedBody<N>): Promise<MessageResult<N>> {
    const { serviceId } = this.#live.service.context;
    const by = { key: this.key, signer: activationIdOf(this.key.publicKey), credentialId: null, serviceId };
    const request = signRequest({ ...by, clock: systemClock, random: systemRandom }, message, body);
    return await this.#send(message, request as unknown as MessageInput<N>);
  }

  async #send<N extends MessageName>(message: N, input: MessageInput<N>): Promise<MessageResult<N>> {
    const { url, service } = this.#live;
    await using client = new ServiceClient({ place: { url, ca: service.authority.certificate } });
    return await client.request(message, input, { signal });
  }
}
