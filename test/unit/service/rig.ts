/** A service over a memory store, a device and its customer. */
import type { BlockStoreOptions } from '../../../src/core/blockstore/index.ts';
import { seededRandom } from '../../../src/core/kit/index.ts';
import { memoryStore, type ObjectStore } from '../../../src/core/objectstore/index.ts';
import {
  PrivateKey,
  signRequest,
  type Credential,
  type MessageInput,
  type MessageName,
  type MessageResult,
  type ServiceConnections,
  type Signed,
  type SignedBody,
  type SignedMessageName,
} from '../../../src/core/protocol/index.ts';
import { openService } from '../../../src/core/service/index.ts';
import { ManualClock } from '../objectstore/manual-clock.ts';

export const ANNA = '111111111111';
export const BERT = '222222222222';
export const SERVICE_ID = 'store-0123456789abcdef';
export const METADATA = { name: 'lab', version: '1.0.0' };

export class ServiceRig {
  readonly objects: ObjectStore = memoryStore();
  readonly clock = new ManualClock();
  readonly random;
  readonly blocks: BlockStoreOptions;
  readonly connections: ServiceConnections;
  readonly signal = new AbortController().signal;

  constructor(options: { readonly isEmbedded?: boolean; readonly seed?: number } = {}) {
    this.clock.ms = Date.UTC(2026, 0, 1);
    this.random = seededRandom(options.seed ?? 1);
    this.blocks = { objects: this.objects, clock: this.clock, random: this.random };
    this.connections = openService({
      blocks: this.blocks,
      serviceId: SERVICE_ID,
      isEmbedded: options.isEmbedded ?? false,
    });
  }

  async gateway<N extends MessageName>(name: N, input: MessageInput<N>): Promise<MessageResult<N>> {
    return await this.connections.gateway.request(name, input, this);
  }

  async operator<N extends MessageName>(name: N, input: MessageInput<N>): Promise<MessageResult<N>> {
    return await this.connections.operator.request(name, input, this);
  }

  async accounts(): Promise<void> {
    await this.operator('account.create', { name: 'anna', accountId: ANNA, clientToken: null });
    await this.operator('account.create', { name: 'bert', accountId: BERT, clientToken: null });
  }

  device(): Device {
    return new Device(this, PrivateKey.make(this.random));
  }

  /** A gateway that went through all of activation. */
  async activated(accountId = ANNA): Promise<Device> {
    const device = this.device();
    await device.show();
    await this.operator('activation.claim', device.claim({ accountId }));
    await device.requestCredential();
    return device;
  }

  /** Every document under a prefix. */
  async documents(prefix: string): Promise<Record<string, unknown>[]> {
    const found: Record<string, unknown>[] = [];
    for await (const { key } of this.objects.list(prefix)) {
      const object = await this.objects.get(key);
      found.push(JSON.parse((object?.bytes ?? Buffer.alloc(0)).toString('utf8')) as Record<string, unknown>);
    }
    return found;
  }
}

export class Device {
  readonly rig: ServiceRig;
  readonly key: PrivateKey;
  activationId = '';
  challenge = '';
  activationKey = '';
  credential: Credential | undefined;

  constructor(rig: ServiceRig, key: PrivateKey) {
    this.rig = rig;
    this.key = key;
  }

  async register(): Promise<void> {
    const { publicKey } = this.key;
    const registered = await this.rig.gateway('activation.register', { publicKey, metadata: METADATA });
    this.activationId = registered.activationId;
    this.challenge = registered.challenge;
  }

  async prove(): Promise<string> {
    const body = { challenge: this.challenge, metadata: METADATA };
    const shown = await this.rig.gateway('activation.prove', this.sign('activation.prove', body));
    this.activationKey = shown.activationKey;
    return shown.expiresAt;
  }

  async show(): Promise<string> {
    await this.register();
    return await this.prove();
  }

  claim(change: Partial<MessageInput<'activation.claim'>> = {}): MessageInput<'activation.claim'> {
    return {
      activationKey: this.activationKey,
      gatewayName: 'lab',
      accountId: ANNA,
      mode: 'cached',
      region: 'local',
      gatewayId: null,
      confirm: true,
      ...change,
    };
  }

  async collect(): Promise<MessageResult<'activation.collect'>> {
    return await this.rig.gateway('activation.collect', this.sign('activation.collect', {}));
  }

  async requestCredential(activationKey = this.activationKey): Promise<Credential> {
    const customer = await this.collect();
    const { gatewayId, accountId } = customer.state === 'claimed' ? customer : { gatewayId: '', accountId: '' };
    const request = this.sign('activation.credential', { activationKey, gatewayId, accountId });
    this.credential = await this.rig.gateway('activation.credential', request);
    return this.credential;
  }

  /** Signs as the device; once it has a credential, as the gateway. */
  sign<N extends SignedMessageName>(
    message: N,
    body: SignedBody<N>,
    change: Partial<Parameters<typeof signRequest>[0]> = {},
  ): MessageInput<N> & Signed<SignedBody<N>> {
    const { clock, random } = this.rig;
    const isOfActivation = message.startsWith('activation.');
    const signer = isOfActivation ? this.activationId : (this.credential?.gatewayId ?? '');
    const credentialId = isOfActivation ? null : (this.credential?.credentialId ?? null);
    const by = { key: this.key, signer, credentialId, serviceId: SERVICE_ID, clock, random, ...change };
    return signRequest(by, message, body) as unknown as MessageInput<N> & Signed<SignedBody<N>>;
  }
}
