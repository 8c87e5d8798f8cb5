/**
 * One search for the holder: asks where it may be, tries all those places at once, again and again, until one serves the export.
 * Each place has one try under way at most; one that hangs does not hold up the others.
 */
import { abortReason, SgwError, toSgwError, type Clock, type Random } from '../kit/index.ts';
import { NbdClient, type Writer } from '../nbd/client/index.ts';
import type { ListenAddress } from '../sockets/index.ts';
import type { FoundHolder, HolderFinder } from './contract.ts';

export interface SearchParts {
  readonly finder: HolderFinder;
  readonly clock: Clock;
  readonly random: Random;
  /** Under which the holders know this client again. */
  readonly clientId: string;
  /** Throws for a place that is not to be used, before its export is opened. */
  readonly consider: (address: ListenAddress, writer: Writer | undefined) => void;
  /** Throws for an export that can't take the place of the one before. */
  readonly suits: (client: NbdClient) => void;
  /** Told why nothing was found in a round. */
  readonly onFailure: (failure: SgwError) => void;
}

const PAUSE_MS_MIN = 50;
const PAUSE_MS_MAX = 1000;
/** One try: connecting, negotiating, and the end of what was asked for on an earlier connection. */
const TRY_MS = 15_000;
const FIND_MS = 5000;
/** When one place serves the export, how long others have to say that theirs is newer. */
const GRACE_MS = 100;

/** @throws the signal's reason */
export async function searchHolder(parts: SearchParts, signal: AbortSignal): Promise<NbdClient> {
  await using search = new Search(parts, signal);
  return await search.run();
}

class Search implements AsyncDisposable {
  readonly #parts: SearchParts;
  readonly #signal: AbortSignal;
  /** Ends the tries that are under way when the search is over. */
  readonly #over = new AbortController();
  readonly #tries = new Map<string, Promise<void>>();
  #served: NbdClient[] = [];
  #failure: SgwError | undefined;
  #wake: (() => void) | undefined;

  constructor(parts: SearchParts, signal: AbortSignal) {
    this.#parts = parts;
    this.#signal = signal;
  }

  async run(): Promise<NbdClient> {
    const { finder, onFailure } = this.#parts;
    for (let pauseMs = PAUSE_MS_MIN; ; pauseMs = Math.min(pauseMs * 2, PAUSE_MS_MAX)) {
      if (this.#signal.aborted) throw abortReason(this.#signal);
      try {
        const found = await finder.find(AbortSignal.any([this.#signal, AbortSignal.timeout(FIND_MS)]));
        for (const address of found.addresses) this.#try(address, found);
      } catch (error) {
        this.#failure = toSgwError(error);
      }
      await this.#wait(pauseMs * (0.5 + this.#parts.random.float()), () => this.#served.length > 0);
      if (this.#served.length > 0) return await this.#choose();
      if (this.#failure !== undefined) onFailure(this.#failure);
    }
  }

  #try(address: ListenAddress, { exportName, tls }: FoundHolder): void {
    const key = JSON.stringify(address);
    if (this.#tries.has(key)) return;
    const { clientId, consider, suits } = this.#parts;
    const opening = NbdClient.open({
      address,
      exportName,
      clientId,
      ...(tls === undefined ? {} : { tls }),
      signal: AbortSignal.any([this.#signal, this.#over.signal, AbortSignal.timeout(TRY_MS)]),
      consider: (writer) => {
        consider(address, writer);
      },
    });
    const tried = opening.then((client) => {
      try {
        suits(client);
      } catch (error) {
        client.destroy();
        throw error;
      }
      this.#served.push(client);
    });
    const ended = tried
      .catch((error: unknown) => {
        if (!this.#over.signal.aborted) this.#failure = toSgwError(error);
      })
      .then(() => {
        this.#tries.delete(key);
        this.#wake?.();
      });
    this.#tries.set(key, ended);
  }

  /** Until `isSo`, or so long. */
  async #wait(durationMs: number, isSo: () => boolean): Promise<void> {
    const enough = new AbortController();
    const signal = AbortSignal.any([this.#signal, enough.signal]);
    this.#wake = () => {
      if (isSo()) enough.abort();
    };
    this.#wake();
    await this.#parts.clock.sleep(durationMs, signal).catch(() => undefined);
    this.#wake = undefined;
  }

  /** The one with the newest epoch of those that serve the export. */
  async #choose(): Promise<NbdClient> {
    await this.#wait(GRACE_MS, () => this.#tries.size === 0);
    const living = this.#served.filter(({ isEnded }) => !isEnded);
    const best = living.toSorted((a, b) => epochOf(b) - epochOf(a))[0];
    if (best === undefined) return await this.run();
    this.#served = this.#served.filter((one) => one !== best);
    return best;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort(new SgwError('aborted', 'aborted', 'another holder was found'));
    await Promise.all(this.#tries.values());
    for (const client of this.#served) client.destroy();
  }
}

const epochOf = ({ info }: NbdClient): number => info.writer?.epoch ?? -1;
