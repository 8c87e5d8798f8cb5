/**
 * What initiators may log in to: each export that is served over iSCSI is a target of its own, with one logical unit. Who may is
 * said by the export's record, and proved by the secrets in the book.
 */
import { SgwError } from '../../kit/index.ts';
import type {
  ChapRules,
  OpenedTarget,
  SessionRequest,
  TargetAccess,
  TargetDirectory,
  TargetEntry,
  TargetMoved,
} from '../../iscsi/index.ts';
import type { AttachmentState, IscsiState, ServingSettings } from '../../state/index.ts';
import type { Attachment } from './attachment.ts';
import type { ChapBook } from './chap-file.ts';
import { listenedPortals } from './portals.ts';
import { unitIdentity } from './unit-identity.ts';

interface IscsiSources {
  readonly attachments: () => Iterable<Attachment>;
  /** Undefined before they were read. */
  readonly settings: () => ServingSettings | undefined;
  readonly book: ChapBook;
  /** Of sgw. */
  readonly version: string;
}

type OverIscsi = Attachment & { readonly record: AttachmentState & { readonly iscsi: IscsiState } };

export class IscsiTargets implements TargetDirectory {
  readonly #sources: IscsiSources;
  /** Where a target is served, when that is not here. Set by who knows of other gateways. */
  elsewhere: (target: string) => TargetMoved | undefined = () => undefined;

  constructor(sources: IscsiSources) {
    this.#sources = sources;
  }

  /** `HOST:PORT` of the portals to have now, and of those that initiators are told of; of the latter none: those that there are. */
  get portals(): { readonly listen: readonly string[]; readonly told: readonly string[] } {
    const settings = this.#sources.settings();
    if (settings === undefined) return { listen: [], told: [] };
    return { listen: listenedPortals(settings, this.#all.length > 0), told: settings.iscsiPortals };
  }

  async list(initiator: string): Promise<readonly TargetEntry[]> {
    const entries = this.#all.filter(({ phase, record }) => phase === 'serving' && mayUse(record.iscsi, initiator));
    return Promise.resolve(entries.map(({ record }) => ({ name: record.iscsi.targetName })));
  }

  discoveryChap(): ChapRules | undefined {
    const { settings, book } = this.#sources;
    const user = settings()?.iscsiDiscoveryUser ?? null;
    if (user === null) return undefined;
    const { discovery } = book;
    // Without its secret nobody can prove to be that user.
    return { initiators: discovery === null ? [] : [{ user, secret: Buffer.from(discovery) }], target: undefined };
  }

  /** @throws notFound `target-not-found`; denied `initiator-denied`; unavailable `chap-secret-missing`; corrupt `chap-damaged` */
  async find(target: string, initiator: string): Promise<TargetAccess | TargetMoved> {
    const moved = this.elsewhere(target);
    if (moved !== undefined) return moved;
    const { name, record } = this.#find(target, initiator);
    return Promise.resolve({ kind: 'here', name: record.iscsi.targetName, alias: name, chap: this.#chapOf(record) });
  }

  /** @throws as `find`; unavailable `export-not-ready` */
  async open(target: string, { initiator }: SessionRequest): Promise<OpenedTarget> {
    const attachment = this.#find(target, initiator);
    const { opened, leave } = attachment.enter();
    const { scratchVolumeId, volumeId, snapshotId } = attachment.record;
    return Promise.resolve({
      device: opened.device,
      isReadOnly: opened.device.isReadOnly,
      unit: unitIdentity(scratchVolumeId ?? volumeId ?? snapshotId ?? '', this.#sources.version),
      release: async (commands) => {
        leave(commands);
        return Promise.resolve();
      },
    });
  }

  get #all(): OverIscsi[] {
    return [...this.#sources.attachments()].filter((one): one is OverIscsi => one.record.iscsi !== null);
  }

  #find(target: string, initiator: string): OverIscsi {
    const name = target.toLowerCase();
    const attachment = this.#all.find(({ record }) => record.iscsi.targetName === name);
    if (attachment === undefined)
      throw new SgwError('notFound', 'target-not-found', `there is no target ${name}`, { details: { target: name } });
    if (!mayUse(attachment.record.iscsi, initiator))
      throw new SgwError('denied', 'initiator-denied', `${initiator} may not use export ${attachment.name}`, {
        details: { exportName: attachment.name, initiator },
      });
    return attachment;
  }

  #chapOf({ exportName, iscsi }: OverIscsi['record']): ChapRules | undefined {
    const { chapUser, chapTargetUser, targetName, chapInitiators = [] } = iscsi;
    const { book } = this.#sources;
    const own = chapInitiators.length === 0 ? {} : book.initiatorsOf(exportName);
    // Who has no secret in the book can't prove anything, and is not let in for that.
    const initiators = Object.entries(own).map(([user, { initiator, target }]) => ({
      user,
      secret: Buffer.from(initiator),
      target: target === null ? undefined : { user: targetName, secret: Buffer.from(target) },
    }));
    if (chapUser === null) return chapInitiators.length === 0 ? undefined : { initiators, target: undefined };
    const secrets = book.of(exportName);
    const target =
      chapTargetUser === null || secrets.target === null
        ? undefined
        : { user: chapTargetUser, secret: Buffer.from(secrets.target) };
    return { initiators: [...initiators, { user: chapUser, secret: Buffer.from(secrets.initiator) }], target };
  }
}

const mayUse = ({ initiators }: IscsiState, initiator: string): boolean =>
  initiators.length === 0 || initiators.includes(initiator.toLowerCase());
