/** CHAP of single initiators. Secrets go to the gateway and are kept there; no answer has them, unlike at AWS. */
import type * as Sdk from '@aws-sdk/client-storage-gateway';
import { callGateway, type Caller } from './caller.ts';
import { RequestRefused } from './errors.ts';
import type { Checked } from './types.ts';
import { findTarget } from './volume-directory.ts';

const SECRET_BYTES_MIN = 12;
const SECRET_BYTES_MAX = 16;

/** Initiators, those that prove themselves; the secrets are left out. */
export async function describeChap(
  { TargetARN }: Checked<Sdk.DescribeChapCredentialsInput>,
  caller: Caller,
): Promise<Sdk.DescribeChapCredentialsOutput> {
  const { attachment } = await findTarget(caller, TargetARN);
  const { chapInitiators = [], chapUser = null } = attachment.iscsi ?? {};
  const names = [...(chapUser === null ? [] : [chapUser]), ...chapInitiators];
  return { ChapCredentials: names.map((InitiatorName) => ({ TargetARN, InitiatorName })) };
}

export async function updateChap(
  input: Checked<Sdk.UpdateChapCredentialsInput>,
  caller: Caller,
): Promise<Sdk.UpdateChapCredentialsOutput> {
  const { TargetARN, InitiatorName, SecretToAuthenticateInitiator: secret, SecretToAuthenticateTarget } = input;
  requireSecret(secret, 'SecretToAuthenticateInitiator');
  if (SecretToAuthenticateTarget !== undefined) requireSecret(SecretToAuthenticateTarget, 'SecretToAuthenticateTarget');
  const { gateway, attachment } = await findTarget(caller, TargetARN);
  const mutual = SecretToAuthenticateTarget === undefined ? {} : { targetSecret: SecretToAuthenticateTarget };
  await callGateway(caller, gateway.gatewayId, 'volume.chap', {
    volume: attachment.exportName,
    set: { initiator: InitiatorName, secret, ...mutual },
  });
  return { TargetARN, InitiatorName };
}

export async function deleteChap(
  { TargetARN, InitiatorName }: Checked<Sdk.DeleteChapCredentialsInput>,
  caller: Caller,
): Promise<Sdk.DeleteChapCredentialsOutput> {
  const { gateway, attachment } = await findTarget(caller, TargetARN);
  const input = { volume: attachment.exportName, remove: InitiatorName };
  await callGateway(caller, gateway.gatewayId, 'volume.chap', input);
  return { TargetARN, InitiatorName };
}

function requireSecret(secret: string, name: string): void {
  const bytes = Buffer.byteLength(secret);
  if (bytes >= SECRET_BYTES_MIN && bytes <= SECRET_BYTES_MAX) return;
  const range = `${String(SECRET_BYTES_MIN)} to ${String(SECRET_BYTES_MAX)}`;
  throw new RequestRefused('InvalidParameters', `${name} has ${String(bytes)} bytes, and needs ${range}`);
}
