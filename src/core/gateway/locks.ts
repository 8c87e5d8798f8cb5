/**
 * The gateway's locks (DESIGN section 3). Reads take none. Looking whether a name is free and taking it holds the lock of
 * that kind of names; long work on a volume holds only that volume's lock. A volume's lock may be taken while no
 * other is held, names' locks also inside it; never the other way round, so nobody waits in a circle.
 */
import type { VolumeId } from '../kit/index.ts';
import type { CallContext } from '../localapi/index.ts';
import { acquireLock } from '../state/index.ts';

export class Locks {
  readonly #home: string;

  constructor(home: string) {
    this.#home = home;
  }

  /** Runs `work` while nobody else of this home can take a name. @throws unavailable `locked` naming the holder's pid */
  async withNames<T>(
    kind: 'volumes' | 'snapshots' | 'accounts',
    call: CallContext,
    work: () => Promise<T>,
  ): Promise<T> {
    return await this.#with(`names:${kind}`, `taking a name among the ${kind}`, call, work);
  }

  /** Runs `work` while nobody else of this home works on the volume. @throws unavailable `locked` naming the holder's pid */
  async withVolume<T>(volumeId: VolumeId, purpose: string, call: CallContext, work: () => Promise<T>): Promise<T> {
    return await this.#with(`volume:${volumeId}`, purpose, call, work);
  }

  /** Runs `work` while no other gc of this home runs; gc does not need that to be right. @throws unavailable `locked` naming the holder's pid */
  async withGc<T>(call: CallContext, work: () => Promise<T>): Promise<T> {
    return await this.#with('gc', 'gc', call, work);
  }

  async #with<T>(name: string, purpose: string, call: CallContext, work: () => Promise<T>): Promise<T> {
    await using _lock = await acquireLock({
      home: this.#home,
      name,
      purpose,
      timeoutMs: call.lockTimeoutMs,
      signal: call.signal,
    });
    return await work();
  }
}
