/** Ways to a service over the network, and the patience that they take. */
import { SgwError } from '../../kit/index.ts';
import type { ServiceTransport } from '../../protocol/index.ts';
import type { ServicePlace, TlsIdentity } from '../../serviceclient/index.ts';
import type { GatewayParts } from '../parts.ts';

/** A way that whoever asked for it closes. */
export type RemoteTransport = ServiceTransport & AsyncDisposable;

/** As nobody, or with a certificate, to the listener of gateways. Nothing is sent yet. */
export async function reachService(
  { clock, random, reachService: reach }: Pick<GatewayParts, 'clock' | 'random' | 'reachService'>,
  place: ServicePlace,
  identity?: TlsIdentity,
): Promise<RemoteTransport> {
  if (reach !== undefined) return await reach(place, identity);
  const { ServiceClient } = await import('../../serviceclient/index.ts');
  return new ServiceClient({ place, identity, clock, random });
}

const TRIES_MAX = 6;
const DELAY_MS = 250;
const DELAY_MAX_MS = 5000;

/** Does again what could not be done since the service was out of reach, after a random delay that grows. `work` signs anew each time. */
export async function persist<T>(
  { clock, random }: Pick<GatewayParts, 'clock' | 'random'>,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (tries >= TRIES_MAX || !mayPass(error)) throw error;
    }
    await clock.sleep(jittered(random, Math.min(DELAY_MAX_MS, DELAY_MS * 2 ** tries)), signal);
  }
}

/** Whether the same may work in a while. What waits for a person does not count. */
export const mayPass = (error: unknown): boolean =>
  error instanceof SgwError &&
  (error.kind === 'unavailable' || error.kind === 'timeout') &&
  error.code !== 'activation-waiting';

/** A random part of `mostMs`, from half of it on. */
export const jittered = (random: GatewayParts['random'], mostMs: number): number =>
  mostMs * (0.5 + random.bytes(4).readUInt32BE(0) / 2 ** 33);
