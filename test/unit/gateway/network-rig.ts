/** A device and its customer, before a service on the network. */
import { systemClock, type Clock } from '../../../src/core/kit/index.ts';
import type { Input, Result } from '../../../src/core/localapi/index.ts';
import type { MessageInput } from '../../../src/core/protocol/index.ts';
import { ServiceClient, type AccessKey, type ServicePlace } from '../../../src/core/serviceclient/index.ts';
import type { LiveService } from '../../support/live-service.ts';
import type { GatewayRig, RigOptions } from './rig.ts';

const { signal } = new AbortController();

const placeOf = (live: LiveService): ServicePlace => ({
  url: live.url,
  ca: live.service.authority.certificate,
});

export const beginInput = (live: LiveService): Input<'activation.begin'> => ({
  service: { url: live.url, fingerprint: live.fingerprint },
  name: 'lab',
  mode: 'cached',
});

/** The customer takes a key to the service, with an access key of an account. */
export async function claim(
  live: LiveService,
  activationKey: string,
  { accountId, accessKey }: { readonly accountId: string; readonly accessKey: AccessKey },
  change: Partial<MessageInput<'activation.claim'>> = {},
): Promise<string> {
  await using client = new ServiceClient({ place: placeOf(live), accessKey });
  const wanted = { gatewayName: 'named', accountId, mode: 'cached', region: 'lab-1', gatewayId: null, confirm: true };
  const input = { ...wanted, ...change, activationKey } as MessageInput<'activation.claim'>;
  return (await client.request('activation.claim', input, { signal })).gatewayId;
}

/** The whole of it, with one call of each kind. */
export async function activateAt(
  rig: GatewayRig,
  live: LiveService,
  account: { readonly accountId: string; readonly accessKey: AccessKey },
  input: Partial<Input<'activation.begin'>> = {},
): Promise<Result<'activate'>> {
  const begun = await rig.call('activation.begin', { ...beginInput(live), ...input });
  if (begun.state === 'shown') await claim(live, begun.activationKey ?? '', account);
  await rig.call('activation.await', {});
  return await rig.call('activation.finish', { accountId: account.accountId });
}

type Reach = NonNullable<RigOptions['reachService']>;

interface Interruption {
  /** The message, counted from 0. */
  readonly at: number;
  readonly when: 'before' | 'after';
  /** Throws, or does something and lets the message go on. */
  readonly instead: () => Promise<void>;
}

/** Ways to the service on which something happens before a message is sent, or after it was answered. */
export function interruptedReach({ at, when, instead }: Interruption): {
  readonly reachService: Reach;
  readonly sent: () => number;
} {
  let count = 0;
  return {
    reachService: async (place, identity) => {
      const client = new ServiceClient({ place, identity });
      return Promise.resolve({
        request: async (name, input, how) => {
          const isIt = count++ === at;
          if (isIt && when === 'before') await instead();
          const answer = await client.request(name, input, how);
          if (isIt && when === 'after') await instead();
          return answer;
        },
        [Symbol.asyncDispose]: async () => client.close(),
      });
    },
    sent: () => count,
  };
}

/** The process dies. */
export const dyingReach = (
  options: Omit<Interruption, 'instead'>,
): { readonly reachService: Reach; readonly sent: () => number } =>
  interruptedReach({ ...options, instead: async () => Promise.reject(new Error('the process died')) });

/** The machine's clock, as much later as a test says. */
export class ShiftedClock implements Clock {
  shiftMs = 0;

  nowMs(): number {
    return systemClock.nowMs() + this.shiftMs;
  }

  monotonicMs(): number {
    return systemClock.monotonicMs() + this.shiftMs;
  }

  async sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    await systemClock.sleep(durationMs, signal);
  }
}
