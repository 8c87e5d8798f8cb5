/** Exports of volumes that a group of gateways looks after: which gateway serves one, and when, is the group's to say (docs/adr/0025-groups.md). */
import { Semaphore, toSgwError, type SgwError } from '../../kit/index.ts';
import type { CallContext } from '../../localapi/index.ts';
import type { AttachmentState, ServedAs } from '../../state/index.ts';
import type { Attachment } from './attachment.ts';
import { NO_SECRETS, type ChapBook, type ExportSecrets } from './chap-file.ts';
import type { GroupOpening } from './group-opening.ts';
import type { Attempt } from './options.ts';
import { exportExists, inGroup, stopped, takenTarget } from './refusals.ts';
import type { StateBook } from './state-book.ts';

/** What the registry of exports does for it. */
interface Registry {
  readonly attachments: ReadonlyMap<string, Attachment>;
  readonly state: StateBook;
  readonly chap: ChapBook;
  readonly isServing: () => boolean;
  readonly ofVolume: (volumeId: string) => Attachment | undefined;
  readonly add: (row: AttachmentState) => Attachment;
  readonly stopTrying: (attachment: Attachment) => Promise<void>;
  readonly open: (attachment: Attachment, attempt: Attempt) => Promise<void>;
  /** Lets go of its clients, and closes it without uploading. */
  readonly close: (attachment: Attachment, signal: AbortSignal) => Promise<void>;
  readonly forget: (attachment: Attachment, call: CallContext) => Promise<void>;
  /** Has portals for iSCSI where there are targets, or waits for them in the background. */
  readonly listenIscsi: () => Promise<void>;
}

/** How a holder serves a volume, for who serves it next. */
export interface GroupExport {
  readonly as: ServedAs;
  readonly secrets: ExportSecrets;
}

const OVER_NBD: ServedAs = { protocols: ['nbd'], readOnly: false, iscsi: null };

/** What is served when it is not known how it was. */
export const EXPORT_OVER_NBD: GroupExport = { as: OVER_NBD, secrets: NO_SECRETS };

export class GroupedExports {
  readonly #registry: Registry;
  /** Names are taken one after the other. */
  readonly #turn = new Semaphore(1);

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** That the volume of `row` may be attached and detached by hand. @throws conflict `volume-in-group` */
  requireUngrouped(row: AttachmentState): void {
    if (row.scratchToken !== null || row.recoveryPointSeq !== null || row.volumeId === null) return;
    const attachment = this.#registry.ofVolume(row.volumeId);
    if (attachment?.record.grouped === true) throw inGroup(attachment);
  }

  /** How the volume is served here, with what that needs; undefined while it is not attached, or a secret of it is missing. */
  exportOf(volumeId: string): GroupExport | undefined {
    const { ofVolume, chap } = this.#registry;
    const attachment = ofVolume(volumeId);
    if (attachment === undefined) return undefined;
    const { protocols, readOnly, iscsi } = attachment.record;
    const secrets = chap.allOf(attachment.name, iscsi);
    return secrets === undefined ? undefined : { as: { protocols, readOnly, iscsi }, secrets };
  }

  /**
   * Serves a volume of a group as the holder before served it (`before`), else under the row that it has, else under `row`; what
   * served it here before ends without uploading. When it resolves, clients can use it. When it can't be opened it waits, and nobody
   * tries again but the group. What is in the way of iSCSI does not keep it from being served over NBD.
   * @returns what that was; undefined: nothing
   * @throws conflict `export-exists`; what opening throws, such as `not-in-sync`
   */
  async serve(
    row: AttachmentState,
    before: GroupExport | undefined,
    group: GroupOpening,
    call: CallContext,
  ): Promise<SgwError | undefined> {
    const { isServing, open, listenIscsi } = this.#registry;
    if (!isServing()) throw stopped();
    const { attachment, inTheWay } = await this.#turn.run(async () => this.#attach(row, before, call), call.signal);
    // The address may be the one that the operator's program brings here.
    if (attachment.record.iscsi !== null) await listenIscsi();
    try {
      await open(attachment, { takeOver: false, group, call });
      return inTheWay;
    } catch (error) {
      attachment.wait(toSgwError(error), null);
      throw error;
    }
  }

  /** In the state when it resolves, and not open. */
  async #attach(
    row: AttachmentState,
    before: GroupExport | undefined,
    call: CallContext,
  ): Promise<{ readonly attachment: Attachment; readonly inTheWay: SgwError | undefined }> {
    const { attachments, state, chap, ofVolume, add, stopTrying } = this.#registry;
    const known = ofVolume(row.volumeId ?? '');
    const named = attachments.get(row.exportName);
    if (known === undefined && named !== undefined) throw exportExists(named);
    if (known !== undefined) {
      await stopTrying(known);
      await this.#close(known, call.signal);
    }
    const asBefore: AttachmentState = { ...(known?.record ?? row), ...before?.as, grouped: true };
    // The secrets of an export are there before the state has it. Where they can't be, those of an earlier time let nobody in either.
    const unset =
      before === undefined
        ? undefined
        : await chap.setAll(asBefore.exportName, before.secrets, call).then(() => undefined, toSgwError);
    const others = [...attachments.values()].filter((one) => one !== known);
    const inTheWay = unset ?? takenTarget(asBefore.iscsi, others);
    const wanted = inTheWay === undefined ? asBefore : { ...asBefore, ...OVER_NBD };
    if (known === undefined) {
      const attachment = add(wanted);
      await state.add(wanted, call);
      return { attachment, inTheWay };
    }
    const last = known.record;
    // From here on its target's name is taken.
    known.record = wanted;
    try {
      if (JSON.stringify(wanted) !== JSON.stringify(last)) await state.replace(wanted, call);
    } catch (error) {
      known.record = last;
      throw error;
    }
    return { attachment: known, inTheWay };
  }

  /**
   * Ends serving a volume without uploading: its log is synced and stays. Who waits for an answer gets `reason`. It stays
   * attached, for when the group chooses this gateway again; an image that it shadowed does not.
   */
  async leave(attachment: Attachment, reason: SgwError, call: CallContext): Promise<void> {
    attachment.volume?.fence(reason);
    await this.#close(attachment, call.signal);
    attachment.wait(reason, null);
    const { imagePath: _, ...row } = attachment.record;
    await this.#change(attachment, row, call);
  }

  /**
   * The group does not look after the volume any more: it is attached here as any other is, if this gateway serves it, and has its
   * own settings from the next `reload` on.
   */
  async ungroup(attachment: Attachment, call: CallContext): Promise<void> {
    const { grouped: _, ...row } = attachment.record;
    attachment.wishes = '';
    if (attachment.opened === undefined) await this.#registry.forget(attachment, call);
    else await this.#change(attachment, row, call);
  }

  async #close(attachment: Attachment, signal: AbortSignal): Promise<void> {
    if (attachment.opened === undefined) return;
    attachment.detach();
    await this.#registry.close(attachment, signal);
  }

  async #change(attachment: Attachment, row: AttachmentState, call: CallContext): Promise<void> {
    if (JSON.stringify(row) === JSON.stringify(attachment.record)) return;
    await this.#registry.state.replace(row, call);
    attachment.record = row;
  }
}
