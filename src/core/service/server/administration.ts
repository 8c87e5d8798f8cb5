/** Which messages of users change who may do what, and what the audit says of each: never a secret. */
import type { MessageInput, MessageName } from '../../protocol/index.ts';
import type { Audit, AuditRecord } from '../audit/audit.ts';
import type { User } from '../identity/principal.ts';

type Subject = Extract<AuditRecord, { kind: 'administer' }>['subject'];

const SUBJECTS: { readonly [N in MessageName]?: (input: MessageInput<N>) => Subject } = {
  'account.create': ({ name, accountId }) => ({ name, ...(accountId === null ? {} : { accountId }) }),
  'account.limit': ({ accountId }) => ({ accountId }),
  'key.create': ({ accountId, userName }) => ({ accountId, name: userName }),
  'key.revoke': ({ accessKeyId }) => ({ accessKeyId }),
  'activation.claim': ({ accountId, gatewayName }) => ({ accountId, name: gatewayName }),
  'gateway.configure': ({ gatewayId }) => ({ gatewayId }),
  'gateway.remove': ({ gatewayId }) => ({ gatewayId }),
  'alert.set': ({ accountId, name }) => ({ accountId, name }),
  'alert.remove': ({ accountId, name }) => ({ accountId, name }),
};

/** Records that a user may, or may not, do what a message asks; nothing for messages that only look. Durable when it resolves. */
export async function recordAdministration<N extends MessageName>(
  audit: Pick<Audit, 'record'>,
  user: User,
  asked: { readonly name: N; readonly input: MessageInput<N>; readonly granted: boolean },
  signal: AbortSignal,
): Promise<void> {
  const { name: message, input, granted } = asked;
  const subject = SUBJECTS[message]?.(input);
  if (subject === undefined) return;
  const { accountId, accessKeyId } = user;
  const who = { gatewayId: null, accountId, accessKeyId };
  await audit.record({ kind: 'administer', ...who, message, subject, granted }, signal);
}
