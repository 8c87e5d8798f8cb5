/** A device that waits to be activated, as far as the service sees it. */
import { systemClock, systemRandom } from '../../src/core/kit/index.ts';
import { PrivateKey, signRequest, type MessageInput, type SignedMessageName } from '../../src/core/protocol/index.ts';
import { answersOf, type Answers, type ServiceParts } from '../../src/core/service/answers.ts';

const SIGNAL = new AbortController().signal;

export class WaitingDevice {
  readonly activationKey: string;
  readonly #answers: Answers;
  readonly #serviceId: string;
  readonly #key: PrivateKey;
  readonly #activationId: string;

  private constructor(service: ServiceParts, key: PrivateKey, activationId: string, activationKey: string) {
    this.#answers = answersOf(service);
    this.#serviceId = service.context.serviceId;
    this.#key = key;
    this.#activationId = activationId;
    this.activationKey = activationKey;
  }

  /** Up to where it shows its activation key. */
  static async show(service: ServiceParts): Promise<WaitingDevice> {
    const key = PrivateKey.make(systemRandom);
    const metadata = { name: 'box' };
    const answers = answersOf(service);
    const registered = await answers['activation.register']({ publicKey: key.publicKey, metadata }, SIGNAL);
    const first = new WaitingDevice(service, key, registered.activationId, '');
    const body = { challenge: registered.challenge, metadata };
    const { activationKey } = await answers['activation.prove'](first.#sign('activation.prove', body), SIGNAL);
    return new WaitingDevice(service, key, registered.activationId, activationKey);
  }

  /** What the customer said, for the device to become the gateway. */
  async collect(): Promise<{ readonly gatewayId: string; readonly gatewayName: string; readonly mode: string }> {
    const { activationKey } = this;
    const customer = await this.#answers['activation.collect'](this.#sign('activation.collect', {}), SIGNAL);
    if (customer.state !== 'claimed') throw new Error('nobody claimed it');
    const { gatewayId, accountId } = customer;
    const request = this.#sign('activation.credential', { activationKey, gatewayId, accountId });
    await this.#answers['activation.credential'](request, SIGNAL);
    return customer;
  }

  #sign<N extends SignedMessageName>(name: N, body: object): MessageInput<N> {
    const by = { key: this.#key, signer: this.#activationId, credentialId: null, serviceId: this.#serviceId };
    return signRequest(
      { ...by, clock: systemClock, random: systemRandom },
      name,
      body as never,
    ) as unknown as MessageInput<N>;
  }
}
