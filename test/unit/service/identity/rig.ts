/** A service on the network over a memory store, without its listeners. */
import { seededRandom, type Random } from '../../../../src/core/kit/index.ts';
import { memoryStore, type ObjectStore } from '../../../../src/core/objectstore/index.ts';
import {
  NetworkMessages,
  openNetworkService,
  ServiceKey,
  type NetworkService,
} from '../../../../src/core/service/server/index.ts';
import { ManualClock } from '../../objectstore/manual-clock.ts';

export const SERVICE_ID = 'store-0123456789abcdef';
const ABOUT = {
  serviceId: SERVICE_ID,
  region: 'lab-1',
  gatewayAddress: '127.0.0.1:8444',
  caFingerprint: '',
} as const;

export class NetworkRig {
  readonly objects: ObjectStore;
  readonly clock: ManualClock;
  readonly random: Random;
  readonly signal = new AbortController().signal;
  readonly service: NetworkService;
  readonly serviceKey: ServiceKey;
  readonly messages: NetworkMessages;

  private constructor(parts: Pick<NetworkRig, 'objects' | 'clock' | 'random' | 'service' | 'serviceKey'>) {
    this.objects = parts.objects;
    this.clock = parts.clock;
    this.random = parts.random;
    this.service = parts.service;
    this.serviceKey = parts.serviceKey;
    const { keys, authority, alerts } = parts.service;
    this.messages = new NetworkMessages(parts.service, { keys, authority, alerts, about: () => ABOUT });
  }

  /** One more server, over the store of another where one is given. */
  static async open(
    other?: NetworkRig,
    { seed = 1, secret = Buffer.alloc(32, 7), newRootKey = false } = {},
  ): Promise<NetworkRig> {
    const objects = other?.objects ?? memoryStore();
    const clock = other?.clock ?? new ManualClock();
    if (other === undefined) clock.ms = Date.UTC(2026, 0, 1);
    const random = seededRandom(seed);
    const serviceKey = new ServiceKey(secret, random);
    const context = { blocks: { objects, clock, random }, serviceId: SERVICE_ID, isEmbedded: false };
    const service = await openNetworkService(context, serviceKey, { newRootKey }, new AbortController().signal);
    return new NetworkRig({ objects, clock, random, service, serviceKey });
  }

  /** What lies in the store under a prefix, as text. */
  async texts(prefix: string): Promise<string> {
    const found: string[] = [];
    for await (const { key } of this.objects.list(prefix))
      found.push(((await this.objects.get(key))?.bytes ?? Buffer.alloc(0)).toString('utf8'));
    return found.join('\n');
  }
}
