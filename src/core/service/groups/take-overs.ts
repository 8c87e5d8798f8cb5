/**
 * Whether a member may take a volume over (docs/adr/0025-groups.md, "Asking the service"). For fewer needless take-overs, and
 * for a record of them: that two never serve is the members' own promise, and the compare-and-set of the head.
 */
import { isVolumeId, SgwError, toSgwError, type VolumeId } from '../../kit/index.ts';
import type { Audit } from '../audit/audit.ts';
import { notFoundResource } from '../identity/authorization.ts';
import type { GatewayRecord } from '../identity/gateways.ts';
import type { Groups } from './groups.ts';
import { holderAlive } from './refusals.ts';

/** A holder that does not answer in this time does not hold a candidate up. */
const HOLDING_MS = 800;
const REASON_LENGTH_MAX = 500;

/** How the holder of a volume is asked: down the connection that it keeps, whichever server has that. */
export interface HoldingInquiry {
  /** Whether the gateway holds the volume now. @throws when it can't be asked in time */
  isHolding(
    gatewayId: string,
    volumeId: VolumeId,
    options: { readonly deadlineMs: number; readonly signal: AbortSignal },
  ): Promise<boolean>;
}

export class TakeOvers {
  readonly #groups: Groups;
  readonly #audit: Audit;
  #inquiry: HoldingInquiry | undefined;

  constructor(groups: Groups, audit: Audit) {
    this.#groups = groups;
    this.#audit = audit;
  }

  /** From now on holders are asked; where nobody says this, as in the embedded form, nobody can be. */
  askBy(inquiry: HoldingInquiry): void {
    this.#inquiry = inquiry;
  }

  /**
   * Permits it, and records that. Durable when it resolves.
   * @throws conflict `holder-alive`; notFound `group-not-found` of a gateway in none, `volume-not-found` of a volume that the
   * group does not look after
   */
  async permit(
    gateway: Pick<GatewayRecord, 'gatewayId' | 'accountId'>,
    { volumeId, epoch, reason }: { readonly volumeId: VolumeId; readonly epoch: number; readonly reason: string },
    signal: AbortSignal,
  ): Promise<void> {
    const { gatewayId, accountId } = gateway;
    const group = await this.#groups.ofGateway(gatewayId, signal);
    if (group === null) throw notInGroup(gatewayId);
    if (!isVolumeId(volumeId) || !group.volumes.some((volume) => volume.volumeId === volumeId))
      throw notFoundResource({ kind: 'volume', id: volumeId });
    const holder = await this.#groups.holderOf(volumeId, signal);
    if (holder !== null && holder !== gatewayId && (await this.#isHolding(holder, volumeId, signal)))
      throw holderAlive(volumeId, holder);
    const { groupId } = group;
    const record = { groupId, volumeId, epoch, fromGatewayId: holder, reason: reason.slice(0, REASON_LENGTH_MAX) };
    await this.#audit.record({ kind: 'take-over', gatewayId, accountId, ...record }, signal);
  }

  async #isHolding(gatewayId: string, volumeId: VolumeId, signal: AbortSignal): Promise<boolean> {
    try {
      return (await this.#inquiry?.isHolding(gatewayId, volumeId, { deadlineMs: HOLDING_MS, signal })) ?? false;
    } catch (error) {
      // Not connected, too slow, or too old to say it.
      if (toSgwError(error).kind === 'aborted') throw error;
      return false;
    }
  }
}

const notInGroup = (gatewayId: string): SgwError =>
  new SgwError('notFound', 'group-not-found', `gateway ${gatewayId} is in no group`, {
    hint: '`sgw group add` makes it a member of one.',
    details: { gatewayId },
  });
