/** How the room `replication` reads and changes what the service has of groups: as this gateway, in requests that it signs. */
import { throwIfAborted, toSgwError, untilAborted, type ErrorKind } from '../../kit/index.ts';
import type { GroupDocument, MemberAddress } from '../../protocol/index.ts';
import type { GroupBook, TakeOverRequest } from '../../replication/index.ts';
import type { Service } from '../service-access.ts';

/** How long a candidate waits for the service; the holder's own promise, and the compare-and-set, are what counts. */
const PERMIT_MS = 1000;
const LOCK_TIMEOUT_MS = 5000;
/** What the service says no with. All else means that it could not be asked. */
const REFUSALS: readonly ErrorKind[] = ['conflict', 'notFound', 'denied'];
/** By a service that does not know the message. */
const TOO_OLD = 'message-refused';

export class ServiceGroupBook implements GroupBook {
  readonly #service: () => Promise<Service>;

  /** `service`: of the gateway as it is activated now. */
  constructor(service: () => Promise<Service>) {
    this.#service = service;
  }

  async mine(signal: AbortSignal): Promise<GroupDocument | undefined> {
    const service = await this.#service();
    const { group } = await service.ask('group.mine', {}, { signal, lockTimeoutMs: LOCK_TIMEOUT_MS });
    return group ?? undefined;
  }

  async announce(address: MemberAddress | null, signal: AbortSignal): Promise<void> {
    const service = await this.#service();
    await service.ask('group.announce', { address }, { signal, lockTimeoutMs: LOCK_TIMEOUT_MS });
  }

  async permit({ volumeId, epoch, reason }: TakeOverRequest, signal: AbortSignal): Promise<void> {
    const limited = AbortSignal.any([signal, AbortSignal.timeout(PERMIT_MS)]);
    try {
      await this.#askWithin(limited, { volumeId, epoch, reason });
    } catch (error) {
      throwIfAborted(signal);
      const failure = toSgwError(error);
      if (REFUSALS.includes(failure.kind) && failure.code !== TOO_OLD) throw failure;
    }
  }

  /** Also where a store does not heed the signal. */
  async #askWithin(signal: AbortSignal, request: TakeOverRequest): Promise<void> {
    const asked = (async () => {
      const service = await this.#service();
      await service.ask('group.permit', request, { signal, lockTimeoutMs: LOCK_TIMEOUT_MS });
    })();
    await untilAborted(asked, signal);
  }
}
