/** Attaching: what a user names becomes an export of the running gateway. Settings of single volumes as well. */
import { resolve } from 'node:path';
import type { RecoveryPolicy, VolumeEntry } from '../blockstore/index.ts';
import { SgwError, toSgwError } from '../kit/index.ts';
import type {
  AckClass,
  AttachmentDocument,
  CallContext,
  Input,
  Tags,
  VolumeAttached,
  VolumeDetached,
  VolumeSettingsDocument,
} from '../localapi/index.ts';
import {
  openState,
  updateState,
  type AttachmentState,
  type IscsiState,
  type RecoveryPolicyState,
  type VolumeSettingsState,
} from '../state/index.ts';
import { requireOwnAck } from './groups/ungrouped.ts';
import { orMissing } from './missing.ts';
import { resolveSnapshot, resolveVolume } from './references.ts';
import { requireCachedMode, requireShadowingMode, timestamp, type Session } from './session.ts';
import type { Attachment } from './serving/attachment.ts';
import { attachmentDocument, configuredListening } from './serving/documents.ts';
import type { ChapSecrets } from './serving/chap-file.ts';
import { attachedRemarks } from './serving/portals.ts';
import { alreadyAttached } from './serving/refusals.ts';
import type { Serving } from './serving/serving.ts';
import { volumeSettings } from './serving/settings.ts';
import { targetNameOf } from './serving/target-names.ts';
import { namesSame } from './serving/wishes.ts';

/**
 * Serves a volume, a snapshot or a recovery point over NBD, iSCSI or both. It is served again after a restart, until it is
 * detached.
 * @throws unavailable `locked`, `address-in-use`; conflict `volume-attached`, `export-exists`, `target-exists`, `volume-held`,
 * `snapshot-not-completed`, `import-unfinished`; invalid `attach-options`; notFound
 */
export async function attachVolume(
  session: Session,
  serving: Serving,
  input: Input<'volume.attach'>,
  call: CallContext,
): Promise<VolumeAttached> {
  const { row, madeFor } = await newAttachment(session, input, call);
  try {
    return await attachRow(session, serving, row, input, call);
  } catch (error) {
    if (madeFor === undefined) throw error;
    const { removeUnused } = await import('./shadow-image.ts');
    throw await removeUnused(session, madeFor, toSgwError(error), call);
  }
}

async function attachRow(
  session: Session,
  serving: Serving,
  row: AttachmentState,
  input: Input<'volume.attach'>,
  call: CallContext,
): Promise<VolumeAttached> {
  const present = serving.named(row.exportName);
  const chap = chapOf(input);
  const document = ({ report }: Attachment): AttachmentDocument =>
    attachmentDocument(report, serving.listening ?? configuredListening(session.home, session.settings));
  const isSame = present !== undefined && namesSame(present.record, row) && serving.chap.has(row.exportName, chap);
  if (isSame && present.phase === 'serving' && input.ifNotExists === true) return withRemarks(document(present), false);
  const options = { takeOver: input.takeOver ?? false, ...(chap === undefined ? {} : { chap }) };
  const attach = async (): Promise<Attachment> => serving.attach(row, options, call);
  const { volumeId } = row;
  if (input.ack === undefined || volumeId === null) return withRemarks(document(await attach()), true);
  const attached = serving.ofVolume(volumeId);
  if (attached?.phase === 'serving' && attached.failure === undefined) throw alreadyAttached(attached);
  return withRemarks(document(await withAck(session, volumeId, input.ack, call, attach)), true);
}

/** Runs `attach` with this ack class set; what does not succeed leaves the one before. */
async function withAck(
  session: Session,
  volumeId: string,
  ack: AckClass,
  call: CallContext,
  attach: () => Promise<Attachment>,
): Promise<Attachment> {
  await requireOwnAck(session, await resolveVolume(session.catalog, volumeId, call.signal), ack, call);
  const { gateway } = await openState(session.home);
  const before = gateway?.volumeSettings[volumeId]?.ack;
  await changeSettings(session, volumeId, { ack }, call);
  try {
    return await attach();
  } catch (error) {
    await changeSettings(session, volumeId, { ack: before }, { ...call, signal: new AbortController().signal });
    throw error;
  }
}

const withRemarks = (document: AttachmentDocument, created: boolean): VolumeAttached => ({
  ...document,
  created,
  remarks: attachedRemarks(document),
});

const chapOf = ({ iscsi }: Input<'volume.attach'>): ChapSecrets | undefined =>
  iscsi?.chap === undefined ? undefined : { initiator: iscsi.chap.secret, target: iscsi.chapTarget?.secret ?? null };

async function newAttachment(
  session: Session,
  input: Input<'volume.attach'>,
  call: CallContext,
): Promise<{ readonly row: AttachmentState; readonly madeFor: VolumeEntry | undefined }> {
  const image = input.image === undefined ? undefined : resolve(input.image);
  const target =
    image === undefined ? await resolveTarget(session, input, call) : await shadowTarget(session, input, image, call);
  const isVolume = target.snapshotId === null && target.recoveryPointSeq === null;
  const isScratch = input.scratch === true;
  requireOptions(session, input, isVolume);
  const scratchToken = isScratch ? `scratch-${session.blocks.random.bytes(8).toString('hex')}` : null;
  const exportName = input.exportName ?? target.name;
  const protocols = [...new Set(input.protocols ?? ['nbd' as const])];
  const id = scratchToken ?? target.volumeId ?? target.snapshotId ?? '';
  const row: AttachmentState = {
    exportName,
    volumeId: target.volumeId,
    snapshotId: target.snapshotId,
    recoveryPointSeq: target.recoveryPointSeq,
    readOnly: isVolume ? (input.readOnly ?? false) : !isScratch,
    protocols,
    iscsi: protocols.includes('iscsi') ? iscsiOf(input, targetNameOf(id, exportName, target.tags)) : null,
    scratchToken,
    scratchVolumeId: null,
    ...(image === undefined ? {} : { imagePath: image }),
    accountId: session.identity.accountId,
    attachedAt: timestamp(session),
  };
  return { row, madeFor: target.madeFor };
}

/** @throws invalid `attach-options`; unsupported `wrong-mode` */
function requireOptions(session: Session, input: Input<'volume.attach'>, isVolume: boolean): void {
  if (input.scratch === true && isVolume)
    throw badOptions(
      'a volume is not attached as a throw-away clone',
      'Name a snapshot, or add --recovery-point TIME.',
    );
  if (input.scratch === true && input.readOnly === true)
    throw badOptions('a throw-away clone is there to be written', 'Leave out --read-only or --scratch.');
  if (isVolume && input.image === undefined) requireCachedMode(session, 'attaching a volume without its image');
  if (input.ack !== undefined && !isVolume) throw badOptions('only a volume has an ack class', 'Leave out --ack.');
}

const iscsiOf = ({ iscsi = {} }: Input<'volume.attach'>, defaultName: string): IscsiState => ({
  targetName: iscsi.targetName?.toLowerCase() ?? defaultName,
  chapUser: iscsi.chap?.user ?? null,
  chapTargetUser: iscsi.chapTarget?.user ?? null,
  initiators: [...new Set((iscsi.initiators ?? []).map((name) => name.toLowerCase()))],
});

interface Target {
  readonly name: string;
  readonly volumeId: string | null;
  readonly snapshotId: string | null;
  readonly recoveryPointSeq: number | null;
  readonly tags?: Tags;
  /** The volume, when it was made just now. */
  readonly madeFor?: VolumeEntry;
}

/**
 * The volume that shadows an image: the one that is named, or a new one of that name.
 * @throws unsupported `wrong-mode`; invalid `attach-options`, `not-an-image`, `image-format`; conflict `image-in-use`
 */
async function shadowTarget(
  session: Session,
  input: Input<'volume.attach'>,
  image: string,
  call: CallContext,
): Promise<Target> {
  requireShadowingMode(session, 'volume attach --image');
  if (input.scratch === true || input.recoveryPoint !== undefined || input.readOnly === true)
    throw badOptions(
      'an image is attached as it is, for reading and writing',
      'Leave out --scratch, --recovery-point and --read-only, or leave out --image.',
    );
  const { inspectShadowImage, requireUsable } = await import('./shadow-image.ts');
  const { sizeBytes } = await inspectShadowImage(image);
  const { requireRestored } = await import('./restoring/begin.ts');
  await requireRestored(session, image, call.signal);
  const { catalog, identity, locks } = session;
  return await locks.withNames('volumes', call, async () => {
    const existing = await resolveVolume(catalog, input.volume, call.signal).catch((error: unknown) => {
      if (toSgwError(error).code === 'volume-not-found') return undefined;
      throw error;
    });
    // A volume is not made for an image that can not be attached.
    if (existing === undefined) await requireUsable(image);
    const wanted = { name: input.volume, sizeBytes, accountId: identity.accountId };
    const volume = existing ?? (await catalog.createVolume(wanted, call.signal));
    const { name, volumeId, tags } = volume;
    const target = { name, volumeId, snapshotId: null, recoveryPointSeq: null, tags };
    return existing === undefined ? { ...target, madeFor: volume } : target;
  });
}

/** A volume of that name goes before a snapshot. */
async function resolveTarget(session: Session, input: Input<'volume.attach'>, call: CallContext): Promise<Target> {
  const { catalog } = session;
  const volume = await resolveVolume(catalog, input.volume, call.signal).catch((error: unknown) => {
    const failure = toSgwError(error);
    if (failure.code !== 'volume-not-found' || input.recoveryPoint !== undefined) throw failure;
    return failure;
  });
  if (!(volume instanceof SgwError)) {
    const { volumeId, name, tags } = volume;
    const { recoveryPoint } = input;
    if (recoveryPoint === undefined) return { name, volumeId, snapshotId: null, recoveryPointSeq: null, tags };
    const { makeHelperSnapshot } = await import('./helper-snapshots.ts');
    const of = await makeHelperSnapshot(session, volume, { purpose: `export of ${name}`, recoveryPoint }, call);
    return { name: of.name, volumeId: null, snapshotId: of.snapshotId, recoveryPointSeq: null };
  }
  const snapshot = await resolveSnapshot(catalog, input.volume, call.signal).catch((error: unknown) => {
    throw toSgwError(error).code === 'snapshot-not-found' ? volume : error;
  });
  const { snapshotId, name } = snapshot;
  if (!catalog.owns(snapshot)) {
    // Serving another account's snapshot is a way out of that account.
    const { accountId } = session.identity;
    await session.service.ask('export.decide', { accountId, snapshotId, purpose: 'export' }, call);
  }
  return { name, volumeId: null, snapshotId, recoveryPointSeq: null };
}

const badOptions = (message: string, hint: string): SgwError =>
  new SgwError('invalid', 'attach-options', message, { hint });

/**
 * Ends an export, named by itself or by what it serves. By default everything acknowledged is in the store first.
 * @throws what uploading throws; conflict `clients-connected`; notFound `not-attached`
 */
export async function detachVolume(
  session: Session,
  serving: Serving,
  input: Input<'volume.detach'>,
  call: CallContext,
): Promise<VolumeDetached> {
  const attachment = await findAttachment(session, serving, input.volume, call);
  if (attachment === undefined) {
    if (input.ifExists === true) return NOTHING_DETACHED;
    throw new SgwError('notFound', 'not-attached', `"${input.volume}" is not attached`, {
      hint: '`sgw status` shows what is.',
      details: { ref: input.volume },
    });
  }
  const { record } = attachment;
  const options = { drain: input.drain ?? true, force: input.force ?? false };
  const { drained, dirtyBytes } = await serving.detach(attachment, options, call);
  return {
    exportName: record.exportName,
    volumeId: record.volumeId,
    snapshotId: record.snapshotId,
    detached: true,
    drained,
    dirtyBytes,
    deletedVolumeId: attachment.record.scratchVolumeId,
  };
}

const NOTHING_DETACHED: VolumeDetached = {
  exportName: null,
  volumeId: null,
  snapshotId: null,
  detached: false,
  drained: true,
  dirtyBytes: 0,
  deletedVolumeId: null,
};

/** By the export's name, also when the store is out of reach; else by the volume's, or a snapshot's that is served once. */
export async function findAttachment(
  session: Session,
  serving: Serving,
  ref: string,
  call: CallContext,
): Promise<Attachment | undefined> {
  const named = serving.named(ref) ?? serving.ofVolume(ref);
  if (named !== undefined) return named;
  const volume = await orMissing(true, async () => resolveVolume(session.catalog, ref, call.signal));
  const ofVolume = volume === undefined ? undefined : serving.ofVolume(volume.volumeId);
  if (ofVolume !== undefined) return ofVolume;
  const snapshot = await orMissing(true, async () => resolveSnapshot(session.catalog, ref, call.signal));
  const exports = snapshot === undefined ? [] : serving.ofSnapshot(snapshot.snapshotId);
  if (exports.length > 1) {
    const names = exports.map(({ name }) => name);
    throw new SgwError('conflict', 'ambiguous-name', `"${ref}" is attached as ${names.join(', ')}`, {
      hint: 'Give the name of the export.',
      details: { ref, names },
    });
  }
  return exports[0];
}

/**
 * Changes settings of one volume, now when it is attached; with `reset`, those that are not given are the gateway's again.
 * With nothing given, reads them. Durable when it resolves.
 */
export async function configureVolume(
  session: Session,
  input: Input<'volume.configure'>,
  call: CallContext,
): Promise<VolumeSettingsDocument> {
  const { volumeId, name } = await resolveVolume(session.catalog, input.volume, call.signal);
  const { volume: _, reset = false, recovery, ...given } = input;
  if (given.ack !== undefined) await requireOwnAck(session, { volumeId, name }, given.ack, call);
  const wanted = { ...given, ...(recovery === undefined ? {} : { recovery: copyOf(recovery) }) };
  const changed = await changeSettings(session, volumeId, wanted, call, reset);
  if (changed.length > 0) await session.serving?.reload();
  const record = (await openState(session.home)).gateway ?? session.settings;
  const own = record.volumeSettings[volumeId] ?? {};
  const { recovery: policy, ...settings } = await volumeSettings(session.home, record, volumeId);
  const served = session.serving?.ofVolume(volumeId)?.volume;
  return {
    volumeId,
    name,
    ...settings,
    ack: served?.stats.ack ?? settings.ack,
    recovery: copyOf(policy),
    own: SETTING_NAMES.filter((setting) => setting in own),
    changed,
  };
}

const copyOf = ({ allForMs, allMax, tiers }: RecoveryPolicy): RecoveryPolicyState => ({
  allForMs,
  allMax,
  tiers: tiers.map((tier) => ({ ...tier })),
});

const SETTING_NAMES = ['ack', 'bufferBytes', 'sealIntervalMs', 'readAheadBytes', 'recovery'] as const;

/** One that is wanted as undefined is forgotten. Returns the names of those that are other ones now. */
async function changeSettings(
  session: Session,
  volumeId: string,
  wanted: { readonly [Name in keyof VolumeSettingsState]: VolumeSettingsState[Name] | undefined },
  call: CallContext,
  reset = false,
): Promise<string[]> {
  return await updateState(
    session.home,
    ({ gateway }) => {
      const before = gateway?.volumeSettings[volumeId] ?? {};
      const all = Object.entries({ ...(reset ? {} : before), ...wanted });
      const after: VolumeSettingsState = Object.fromEntries(all.filter(([, value]) => value !== undefined));
      const changed = SETTING_NAMES.filter((name) => JSON.stringify(before[name]) !== JSON.stringify(after[name]));
      if (gateway === null || changed.length === 0) return [];
      if (Object.keys(after).length === 0) Reflect.deleteProperty(gateway.volumeSettings, volumeId);
      else gateway.volumeSettings[volumeId] = after;
      return [...changed];
    },
    { lockTimeoutMs: call.lockTimeoutMs, signal: call.signal },
  );
}
