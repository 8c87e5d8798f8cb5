/** What a gateway does with its volumes at the word of its group: serves one, leaves one, holds back its requests, uploads. */
import type { InSyncWriter } from '../../blockstore/index.ts';
import { SgwError, type Clock, type Logger, type VolumeId } from '../../kit/index.ts';
import type { CallContext } from '../../localapi/index.ts';
import type { GroupVolume } from '../../protocol/index.ts';
import type { FormerReign, HeadCondition, Replication, VolumeHost } from '../../replication/index.ts';
import { openState } from '../../state/index.ts';
import { EXPORT_OVER_NBD, type GroupExport } from '../serving/grouped-exports.ts';
import type { Serving } from '../serving/serving.ts';
import { textOfExport, type KeptExports } from './kept-exports.ts';
import type { HomeLogs } from './logs.ts';
import type { TakeoverProgram } from './takeover-program.ts';

const LOCK_TIMEOUT_MS = 5000;

interface HostParts {
  /** Absolute path of the home. */
  readonly home: string;
  readonly gatewayId: string;
  readonly accountId: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly serving: Serving;
  readonly logs: HomeLogs;
  readonly kept: KeptExports;
  readonly takeovers: TakeoverProgram;
  readonly secrets: CallContext['secrets'];
  readonly replication: () => Replication;
}

export class GatewayVolumeHost implements VolumeHost {
  readonly #parts: HostParts;
  /** Ends the operator's program with the group. */
  readonly #ended = new AbortController();

  constructor(parts: HostParts) {
    this.#parts = parts;
  }

  get logs(): HomeLogs {
    return this.#parts.logs;
  }

  async promote(volume: GroupVolume, condition: HeadCondition, from: FormerReign, signal: AbortSignal): Promise<void> {
    const { home, accountId, clock, serving, replication, kept, log } = this.#parts;
    const { volumeId, exportName } = volume;
    const { gateway } = await openState(home);
    if (gateway === null) throw new SgwError('aborted', 'gateway-stopped', 'the home is not activated any more');
    const { ack } = volume;
    const sink = replication().sinkOf(volumeId, ack);
    if (sink === undefined)
      throw new SgwError('conflict', 'not-in-group', `volume ${volumeId} is in no group any more`);
    let first: InSyncWriter | undefined;
    const onWriter = (writer: InSyncWriter): void => {
      first ??= writer;
      replication().opened(volumeId, writer);
    };
    const before = await this.#servedBefore(volumeId, from);
    const inTheWay = await serving.grouped.serve(
      {
        ...{ exportName, volumeId, snapshotId: null, recoveryPointSeq: null, readOnly: false, accountId },
        ...{ protocols: ['nbd'], iscsi: null, scratchToken: null, scratchVolumeId: null, grouped: true },
        attachedAt: new Date(clock.nowMs()).toISOString(),
      },
      before,
      { condition, sink, ack, onWriter },
      this.#call(signal),
    );
    this.#runProgram(volume, first?.epoch ?? 0);
    if (inTheWay !== undefined) log.warn({ volumeId, err: inTheWay }, 'the volume is served over NBD alone');
    // From now on the state has it, and what is changed is changed there.
    else if (before !== undefined && before !== EXPORT_OVER_NBD) await kept.forget(volumeId).catch(() => undefined);
  }

  /**
   * How the holder before this one served it, as far as it told while this one was in the set: what a member was told that has left it
   * may be of an earlier time, and so may this one's own row. Undefined: by that row all the same, since nobody held it since.
   */
  async #servedBefore(volumeId: VolumeId, { holder, inSync }: FormerReign): Promise<GroupExport | undefined> {
    const { gatewayId, kept, log } = this.#parts;
    if (holder === null || holder === gatewayId) return undefined;
    const told = inSync.includes(gatewayId) ? await kept.of(volumeId, holder) : undefined;
    if (told === undefined) log.warn({ volumeId, holder }, 'how the holder before served the volume is not known');
    return told ?? EXPORT_OVER_NBD;
  }

  exportedAs(volumeId: VolumeId): string | undefined {
    const exported = this.#parts.serving.grouped.exportOf(volumeId);
    return exported === undefined ? undefined : textOfExport(exported);
  }

  async keepExport(volumeId: VolumeId, holder: string, exportedAs: string): Promise<void> {
    await this.#parts.kept.keep(volumeId, holder, exportedAs);
  }

  async keepEpoch(volumeId: VolumeId, epoch: number): Promise<void> {
    await this.#parts.kept.keepEpoch(volumeId, epoch);
  }

  async keptEpoch(volumeId: VolumeId): Promise<number> {
    return await this.#parts.kept.epochOf(volumeId);
  }

  /** Behind the back of clients, who can use the volume already. */
  #runProgram({ volumeId, exportName }: GroupVolume, epoch: number): void {
    const { takeovers, gatewayId: holder, log } = this.#parts;
    // It never fails.
    void takeovers.run({ volumeId, exportName, epoch, holder }, { log, signal: this.#ended.signal });
  }

  /** Has the volume, if it is served here, acknowledge as its group says now. */
  async configure(volume: GroupVolume): Promise<void> {
    const attachment = this.#parts.serving.ofVolume(volume.volumeId);
    const opened = attachment?.record.grouped === true ? attachment.opened?.volume : undefined;
    if (opened !== undefined && volume.ack !== opened.stats.ack) await opened.configure({ ack: volume.ack });
  }

  async demote(volumeId: VolumeId, reason: SgwError): Promise<void> {
    const { serving, replication, log } = this.#parts;
    const attachment = serving.ofVolume(volumeId);
    if (attachment?.record.grouped !== true) return;
    log.warn({ volumeId, reason: reason.message }, 'another gateway of the group serves the volume from now on');
    try {
      await serving.grouped.leave(attachment, reason, this.#call(new AbortController().signal));
    } finally {
      replication().closed(volumeId);
    }
  }

  async gate(volumeId: VolumeId, signal: AbortSignal): Promise<() => void> {
    const gated = this.#parts.serving.ofVolume(volumeId)?.opened?.gated;
    if (gated === undefined) throw notServed(volumeId);
    await gated.closeGate(signal);
    return () => {
      gated.openGate();
    };
  }

  failure(volumeId: VolumeId): SgwError | undefined {
    return this.#parts.serving.ofVolume(volumeId)?.failure;
  }

  async drain(volumeId: VolumeId, signal: AbortSignal): Promise<void> {
    const volume = this.#parts.serving.ofVolume(volumeId)?.volume;
    if (volume === undefined) throw notServed(volumeId);
    await volume.drain({ signal });
  }

  end(): void {
    this.#ended.abort();
  }

  #call(signal: AbortSignal): CallContext {
    const { secrets } = this.#parts;
    return {
      signal,
      onProgress: () => undefined,
      lockTimeoutMs: LOCK_TIMEOUT_MS,
      ...(secrets === undefined ? {} : { secrets }),
    };
  }
}

const notServed = (volumeId: VolumeId): SgwError =>
  new SgwError('conflict', 'volume-not-served', `volume ${volumeId} is not served here`, { details: { volumeId } });
