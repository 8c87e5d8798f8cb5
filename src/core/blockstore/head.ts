/**
 * `head.json` of a volume: who writes, under which epoch, and the newest checkpoint (C1, C3, C6).
 * Only compare-and-set changes it; the epoch only grows.
 */
import { Semaphore, SgwError, assert, toSgwError, type VolumeId } from '../kit/index.ts';
import { damaged } from './damage.ts';
import { readDocument, replaceDocument, type Stored } from './documents.ts';
import { keys } from './keys.ts';
import type { Checkpoint } from './map-object.ts';
import type { BlockStoreOptions, HeadCondition, Holder } from './options.ts';
import type { RecoveryPolicy } from './recovery-policy.ts';

export interface Head {
  /** Of the newest opening for writing; 0 before the first. */
  readonly epoch: number;
  /** Who has the volume open for writing; null after a clean close. */
  readonly holder: (Holder & { readonly since: string }) | null;
  /** Who closed it last, so that a fenced writer learns by whom; absent before the first clean close. */
  readonly closedBy?: Holder;
  /** Members of the in-sync set, the holder among them (C26); empty outside a group, and after a clean close. */
  readonly inSync: readonly string[];
  readonly checkpoint: Checkpoint;
  /** The newest checkpoint of a consistent state; kept while a run of inconsistent commits goes on (C7). */
  readonly consistent: Checkpoint | null;
  /** Recovery points that are kept, each with a root of its own (C7); absent while none was ever kept. */
  readonly recovery?: Recovery;
}

/** What a volume keeps of its past. It is in the head, so that whoever reads a head has all that the volume can reach. */
export interface Recovery {
  /** As its last holder had it; gc thins by it too. */
  readonly policy: RecoveryPolicy;
  /** Checkpoints of consistent states, by seq. */
  readonly points: readonly Checkpoint[];
}

export async function readHead(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  signal?: AbortSignal,
): Promise<Stored<Head>> {
  const head = await readDocument<Head>(options, keys.head(volumeId), signal);
  if (head === undefined) throw damaged(keys.head(volumeId), 'it is missing');
  return head;
}

/** The head as its writer keeps it: changes are refused once another epoch is there. */
export class OwnedHead {
  readonly #options: BlockStoreOptions;
  readonly #volumeId: VolumeId;
  /** One change after the other: a reply that comes late must not be taken for the newest. */
  readonly #changing = new Semaphore(1);
  #stored: Stored<Head>;

  private constructor(options: BlockStoreOptions, volumeId: VolumeId, stored: Stored<Head>) {
    this.#options = options;
    this.#volumeId = volumeId;
    this.#stored = stored;
  }

  /**
   * Opens the volume for writing under the next epoch, in the same compare-and-set in which it is asked whether that may be.
   * Durable when it resolves.
   * @throws conflict `volume-held` when another holder has not closed it, and neither `takeOver` nor a condition is given;
   *   `volume-in-group`, `not-in-sync`
   */
  static async acquire(
    options: BlockStoreOptions,
    volumeId: VolumeId,
    { holder, takeOver = false, condition, signal }: Acquiring,
  ): Promise<{ head: OwnedHead; unclean: boolean; fromOther: boolean }> {
    for (;;) {
      const now = await readHead(options, volumeId, signal);
      const other = now.value.holder;
      const isMine = other?.gatewayId === holder.gatewayId;
      if (other !== null && !isMine && !takeOver && condition === undefined) throw held(volumeId, other);
      const next: Head = {
        ...now.value,
        epoch: now.value.epoch + 1,
        holder: { ...holder, since: new Date(options.clock.nowMs()).toISOString() },
        inSync: inSyncBehind(volumeId, now.value, holder, condition),
      };
      const result = await replaceDocument(options, keys.head(volumeId), now, next, signal);
      if (result.outcome === 'stored') {
        return {
          head: new OwnedHead(options, volumeId, { value: next, etag: result.etag, version: result.version }),
          unclean: other !== null,
          fromOther: other !== null && !isMine,
        };
      }
    }
  }

  get value(): Head {
    return this.#stored.value;
  }

  /** Changes the head. @throws fenced when a newer epoch has taken over */
  async change(change: (head: Head) => Head, signal?: AbortSignal): Promise<void> {
    const release = await this.#changing.acquire(1, signal);
    try {
      await this.#change(change, signal);
    } finally {
      release();
    }
  }

  async #change(change: (head: Head) => Head, signal?: AbortSignal): Promise<void> {
    for (;;) {
      const next = change(this.#stored.value);
      assert(next.epoch === this.value.epoch, 'an open head keeps its epoch');
      const result = await replaceDocument(this.#options, keys.head(this.#volumeId), this.#stored, next, signal);
      if (result.outcome === 'stored') {
        this.#stored = { value: next, etag: result.etag, version: result.version };
        return;
      }
      const now = await readHead(this.#options, this.#volumeId, signal);
      if (now.value.epoch !== this.value.epoch) throw fenced(this.#volumeId, this.value.epoch, now.value);
      this.#stored = now;
    }
  }
}

export interface Acquiring {
  readonly holder: Holder;
  readonly takeOver?: boolean;
  readonly condition?: HeadCondition;
  readonly signal?: AbortSignal;
}

/**
 * The in-sync set with which `holder` opens the volume (C26). Whoever has it open already keeps the set; who takes it over is alone
 * in it, and has to be a member, or loss be accepted.
 */
function inSyncBehind(
  volumeId: VolumeId,
  { holder: other, inSync }: Head,
  holder: Holder,
  condition: HeadCondition | undefined,
): readonly string[] {
  const isMine = other?.gatewayId === holder.gatewayId;
  if (condition === undefined) {
    if (inSync.length === 0 || isMine) return inSync;
    throw inGroup(volumeId, other, inSync);
  }
  // Of a volume that was in no group, or was closed in order: the store has all of it, unless somebody else writes to it.
  const isMember = inSync.length === 0 ? other === null || isMine : inSync.includes(condition.member);
  if (!condition.acceptLoss && !isMember) throw notInSync(volumeId, condition.member, inSync);
  if (inSync.length > 0 && isMine && !condition.acceptLoss) return inSync;
  return [holder.gatewayId];
}

function inGroup(volumeId: VolumeId, holder: Head['holder'], inSync: readonly string[]): SgwError {
  const by = holder === null ? '' : `, which gateway ${holder.name} (${holder.gatewayId}) holds`;
  return new SgwError('conflict', 'volume-in-group', `volume ${volumeId} belongs to a group of gateways${by}`, {
    hint: `A member takes it over without a loss: sgw group failover ${volumeId}`,
    details: {
      volumeId,
      inSync,
      ...(holder === null ? {} : { gatewayId: holder.gatewayId, gatewayName: holder.name }),
    },
  });
}

function notInSync(volumeId: VolumeId, gatewayId: string, inSync: readonly string[]): SgwError {
  const who = inSync.length === 0 ? 'nobody' : inSync.join(', ');
  return new SgwError(
    'conflict',
    'not-in-sync',
    `gateway ${gatewayId} may not have all acknowledged writes of volume ${volumeId}; ${who} surely has`,
    {
      hint: `Fail over to one of those; or accept the loss: sgw group failover ${volumeId} --accept-loss`,
      details: { volumeId, gatewayId, inSync },
    },
  );
}

function held(volumeId: VolumeId, holder: Holder & { since: string }): SgwError {
  return new SgwError(
    'conflict',
    'volume-held',
    `volume ${volumeId} is held by gateway ${holder.name} (${holder.gatewayId}) since ${holder.since}`,
    {
      hint: 'Detach it there, or use --take-over: what that gateway has not uploaded yet stays behind on it.',
      details: { volumeId, gatewayId: holder.gatewayId, gatewayName: holder.name, since: holder.since },
    },
  );
}

/** This writer's epoch is over. */
function fenced(volumeId: VolumeId, epoch: number, head?: Head): SgwError {
  const holder = head?.holder ?? head?.closedBy;
  const by = holder === undefined ? '' : ` by gateway ${holder.name} (${holder.gatewayId})`;
  return new SgwError('fenced', 'fenced', `volume ${volumeId} was taken over${by}; epoch ${String(epoch)} is over`, {
    hint: 'Nothing more is written to it from here. Run the command again to work on its newest state.',
    details: {
      volumeId,
      epoch,
      ...(holder === undefined ? {} : { gatewayId: holder.gatewayId, gatewayName: holder.name }),
    },
  });
}

/**
 * The head without a holder, as a writer leaves it that closes in order. The store has everything then, so it says nothing any
 * more who else has.
 */
export function closed(head: Head): Head {
  const { holder } = head;
  if (holder === null) return head;
  return { ...head, holder: null, closedBy: { gatewayId: holder.gatewayId, name: holder.name }, inSync: [] };
}

/** As `fenced`, naming who has taken over when the head can be read and tells. */
export async function fencedByOther(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  epoch: number,
  signal?: AbortSignal,
): Promise<SgwError> {
  const now = await readHead(options, volumeId, signal).catch(() => undefined);
  return fenced(volumeId, epoch, now?.value);
}

/**
 * The error that a writer of `epoch` is to be told. What looks like damage to one that was taken over may be what gc did for
 * the one after it: then it is `fenced`.
 */
export async function fencedOr(
  options: BlockStoreOptions,
  volumeId: VolumeId,
  epoch: number,
  error: unknown,
  signal?: AbortSignal,
): Promise<unknown> {
  if (toSgwError(error).kind !== 'corrupt') return error;
  try {
    const now = (await readHead(options, volumeId, signal)).value;
    return now.epoch > epoch ? fenced(volumeId, epoch, now) : error;
  } catch {
    return error;
  }
}
