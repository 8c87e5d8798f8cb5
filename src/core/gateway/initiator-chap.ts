/** CHAP of single initiators, changed while an export is served. */
import { SgwError } from '../kit/index.ts';
import type { AttachmentDocument, CallContext, Input } from '../localapi/index.ts';
import type { AttachmentState } from '../state/index.ts';
import { findAttachment } from './attaching.ts';
import type { Attachment } from './serving/attachment.ts';
import { attachmentDocument, configuredListening } from './serving/documents.ts';
import type { Serving } from './serving/serving.ts';
import type { Session } from './session.ts';

/** As many as initiators that an export can be restricted to. */
const INITIATORS_MAX = 64;

/**
 * Gives one initiator secrets, or takes them away; with neither, tells. Who is logged in has to log in again. Durable when it
 * resolves, of a volume of a group also at each member that may take it over: `told` resolves when they have it.
 * @throws notFound `not-attached`, `initiator-not-found`; conflict `not-over-iscsi`, `not-the-holder`; exhausted
 * `too-many-initiators`; timeout `replicas-not-told`: it is so here
 */
export async function changeChap(
  session: Session,
  { serving, told }: { readonly serving: Serving; readonly told: (volumeId: string) => Promise<void> },
  input: Input<'volume.chap'>,
  call: CallContext,
): Promise<AttachmentDocument> {
  const attachment = await findAttachment(session, serving, input.volume, call);
  if (attachment === undefined)
    throw new SgwError('notFound', 'not-attached', `"${input.volume}" is not attached`, {
      hint: '`sgw status` shows what is.',
      details: { ref: input.volume },
    });
  const isChange = input.set !== undefined || input.remove !== undefined;
  if (isChange && attachment.record.grouped === true && attachment.opened === undefined) throw notHolder(attachment);
  if (input.set !== undefined) await set(serving, attachment, input.set, call);
  if (input.remove !== undefined) await remove(serving, attachment, input.remove.toLowerCase(), call);
  if (isChange && attachment.volumeId !== null) await told(attachment.volumeId);
  return attachmentDocument(
    attachment.report,
    serving.listening ?? configuredListening(session.home, session.settings),
  );
}

const notHolder = ({ name }: Attachment): SgwError =>
  new SgwError('conflict', 'not-the-holder', `export ${name} is served by another gateway of its group`, {
    hint: 'Change it there: sgw group show tells which.',
    details: { exportName: name },
  });

async function set(
  serving: Serving,
  attachment: Attachment,
  { initiator, secret, targetSecret }: NonNullable<Input<'volume.chap'>['set']>,
  call: CallContext,
): Promise<void> {
  const name = initiator.toLowerCase();
  const known = initiatorsOf(attachment);
  if (!known.includes(name) && known.length >= INITIATORS_MAX)
    throw new SgwError(
      'exhausted',
      'too-many-initiators',
      `an export has ${String(INITIATORS_MAX)} initiators at most`,
    );
  // First the secret: a name without one lets nobody in.
  await serving.chap.setInitiator(attachment.name, name, { initiator: secret, target: targetSecret ?? null }, call);
  await serving.rule(attachment, withInitiators(attachment, [...new Set([...known, name])]), call);
}

async function remove(serving: Serving, attachment: Attachment, name: string, call: CallContext): Promise<void> {
  const known = initiatorsOf(attachment);
  if (!known.includes(name))
    throw new SgwError('notFound', 'initiator-not-found', `export ${attachment.name} has no CHAP of ${name}`, {
      details: { exportName: attachment.name, initiator: name },
    });
  await serving.rule(
    attachment,
    withInitiators(
      attachment,
      known.filter((other) => other !== name),
    ),
    call,
  );
  await serving.chap.setInitiator(attachment.name, name, undefined, call);
}

function initiatorsOf({ name, record }: Attachment): readonly string[] {
  if (record.iscsi !== null) return record.iscsi.chapInitiators ?? [];
  throw new SgwError('conflict', 'not-over-iscsi', `export ${name} is not served over iSCSI`, {
    hint: 'Detach it, and attach it again with --protocol iscsi.',
    details: { exportName: name },
  });
}

function withInitiators({ record }: Attachment, chapInitiators: string[]): AttachmentState {
  if (record.iscsi === null) return record;
  const { chapInitiators: _, ...iscsi } = record.iscsi;
  return { ...record, iscsi: chapInitiators.length === 0 ? iscsi : { ...iscsi, chapInitiators } };
}
